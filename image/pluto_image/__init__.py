"""The image: lock its inputs, build it byte for byte the same everywhere, say what is in it."""
