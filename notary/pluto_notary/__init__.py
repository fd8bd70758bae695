"""The notary: what runs inside the trust domain, and the client that talks to it."""
