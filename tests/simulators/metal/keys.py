"""Ed25519 keys for OpenSSH, made by the test and thrown away with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class SshKey:
    """A key pair in OpenSSH's own formats. `public` is one line without an end."""

    private: bytes
    public: str

    @classmethod
    def new(cls) -> SshKey:
        key = Ed25519PrivateKey.generate()
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
        public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        return cls(private, public.decode())

    def save(self, path: Path) -> Path:
        """Write the private half for `ssh -i`, and the public one beside it. Returns `path`."""
        path.touch(mode=0o600)
        path.write_bytes(self.private)
        path.with_name(f"{path.name}.pub").write_text(f"{self.public}\n")
        return path
