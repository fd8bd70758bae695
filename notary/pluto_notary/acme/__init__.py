"""The outer certificate from a certification authority: ACME (RFC 8555) with TLS-ALPN-01 (RFC 8737).

Loaded only where a run-time configuration names an authority. It changes what a browser thinks of the notary, never
what a verifier does: evidence binds the outer key, whatever certificate is shown with it.
"""
