"""Byte formats of other people, one file per specification: bytes to frozen values and back. No IO."""
