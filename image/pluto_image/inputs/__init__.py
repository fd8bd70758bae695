"""Locked files on their way into a build: bundle, mirror, project store or index; SHA-256 decides, the store keeps."""
