"""The attested channel between a client and the notary, without a socket: bytes in, values out. docs/protocol.md."""
