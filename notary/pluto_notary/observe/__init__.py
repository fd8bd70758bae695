"""What a client's own TLS session with a web site says, from both directions' bytes and the one secret it reveals."""
