"""Pretended clouds for uploads: page blobs, buckets, a registry. Real HTTP on loopback; strict. For tests alone."""
