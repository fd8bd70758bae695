"""Byte formats of an image and its packages, one file each: strict readers, deterministic writers. No IO."""
