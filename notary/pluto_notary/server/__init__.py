"""What answers the network inside the trust domain: HTTPS, nothing else listens.

    socket -> edge (asyncio, TLS) -> session (h11, no socket) -> routes (pure) -> provider (evidence)

This package's import closure is what an attacker meets; tests/notary/test_import_closure.py lists all of it.
"""
