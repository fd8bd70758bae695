"""The notary's own client: one request to one web site, over a connection whose every lie is an error.

egress, outgoing, head, decode, http1, frames, http2 and validity are pure; resolve and target do IO; run joins them.
"""
