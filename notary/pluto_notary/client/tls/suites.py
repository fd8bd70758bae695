"""The cipher suites that are offered, most wanted first: forward secrecy and AEAD, nothing else.

RFC 8446, B.4; RFC 5289; RFC 7905.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

Aead = AESGCM | ChaCha20Poly1305
RSA: Final = "rsa"
ECDSA: Final = "ecdsa"  # Ed25519 goes by the same suites: RFC 8422, 2.2


@dataclass(frozen=True, slots=True)
class Suite:
    """One cipher suite. `key`: kind of the site's key, in TLS 1.2; None in TLS 1.3, where suites do not say."""

    number: int
    hash: str  # as hashlib calls it
    cipher: type[Aead]
    key_bytes: int
    key: str | None = None

    def aead(self, key: bytes) -> Aead:
        """The cipher with a key."""
        assert len(key) == self.key_bytes
        return self.cipher(key)

    @property
    def explicit_nonce(self) -> int:
        """Bytes of the nonce that stand in each record of TLS 1.2: RFC 5288, 3; none with ChaCha20, RFC 7905, 2."""
        return 8 if self.cipher is AESGCM else 0


SUITES_13: Final = (
    Suite(0x1301, "sha256", AESGCM, 16),
    Suite(0x1302, "sha384", AESGCM, 32),
    Suite(0x1303, "sha256", ChaCha20Poly1305, 32),
)
SUITES_12: Final = (
    Suite(0xC02B, "sha256", AESGCM, 16, ECDSA),
    Suite(0xC02F, "sha256", AESGCM, 16, RSA),
    Suite(0xC02C, "sha384", AESGCM, 32, ECDSA),
    Suite(0xC030, "sha384", AESGCM, 32, RSA),
    Suite(0xCCA9, "sha256", ChaCha20Poly1305, 32, ECDSA),
    Suite(0xCCA8, "sha256", ChaCha20Poly1305, 32, RSA),
)
SUITES: Final = {suite.number: suite for suite in (*SUITES_13, *SUITES_12)}
