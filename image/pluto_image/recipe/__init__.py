"""From locked packages and recipe tables to the root file system as data. Pure: bytes in, entries out, no IO."""
