"""The client's own TLS to a web site: 1.3 and 1.2, without a socket, and with the one secret that it can hand out.

TLS libraries do not give out the handshake secret of TLS 1.3, which an observing notary needs. So the reference client
has a TLS of its own, on `cryptography`'s primitives. It verifies the site in full: chain and name (by a judge that is
given), signature, Finished.

What the notary opens recordings with (`pluto_notary.observe`) is another reading of the same RFCs. The two share no
code: an error in one of them shows as a disagreement, and would hide if they did.
"""
