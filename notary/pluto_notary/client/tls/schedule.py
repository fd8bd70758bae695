"""Secrets and keys of both versions. Pure arithmetic: RFC 8446, section 7; RFC 5246, section 5; RFC 7627, section 4.

             0
             |
     0 -> Extract = early secret
             |
          Derive "derived"
             |
shared -> Extract = handshake secret ---> "c hs traffic", "s hs traffic"  (hellos)
             |
          Derive "derived"
             |
     0 -> Extract = master secret ------> "c ap traffic", "s ap traffic"  (hellos … server's Finished)
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Final

IV_BYTES: Final = 12
MASTER_BYTES: Final = 48
VERIFY_DATA_12: Final = 12


@dataclass(frozen=True, slots=True)
class Schedule13:
    """The key schedule of TLS 1.3 with one hash, by its name in hashlib."""

    hash: str

    @property
    def size(self) -> int:
        """Bytes of the hash, and of every secret."""
        return hashlib.new(self.hash).digest_size

    def handshake_secret(self, shared: bytes) -> bytes:
        """From what the key exchange agreed on; there is never a pre-shared key."""
        early = self._extract(bytes(self.size), bytes(self.size))
        return self._extract(self._derived(early), shared)

    def master_secret(self, handshake_secret: bytes) -> bytes:
        return self._extract(self._derived(handshake_secret), bytes(self.size))

    def traffic_secret(self, secret: bytes, label: str, transcript: bytes) -> bytes:
        """Derive-Secret with the hash of a transcript."""
        return self.expand_label(secret, label, transcript, self.size)

    def next_traffic_secret(self, secret: bytes) -> bytes:
        """After a KeyUpdate: section 7.2."""
        return self.expand_label(secret, "traffic upd", b"", self.size)

    def key_and_iv(self, traffic_secret: bytes, key_bytes: int) -> tuple[bytes, bytes]:
        """What protects records: section 7.3."""
        key = self.expand_label(traffic_secret, "key", b"", key_bytes)
        return key, self.expand_label(traffic_secret, "iv", b"", IV_BYTES)

    def finished(self, traffic_secret: bytes, transcript: bytes) -> bytes:
        """The content of Finished: section 4.4.4."""
        key = self.expand_label(traffic_secret, "finished", b"", self.size)
        return hmac.digest(key, transcript, self.hash)

    def expand_label(self, secret: bytes, label: str, context: bytes, size: int) -> bytes:
        """HKDF-Expand-Label: section 7.1."""
        name = b"tls13 " + label.encode()
        info = size.to_bytes(2, "big") + bytes([len(name)]) + name + bytes([len(context)]) + context
        out, block = b"", b""
        while len(out) < size:
            block = hmac.digest(secret, block + info + bytes([len(out) // self.size + 1]), self.hash)
            out += block
        return out[:size]

    def _extract(self, salt: bytes, material: bytes) -> bytes:
        return hmac.digest(salt, material, self.hash)

    def _derived(self, secret: bytes) -> bytes:
        return self.traffic_secret(secret, "derived", hashlib.new(self.hash, b"").digest())


@dataclass(frozen=True, slots=True)
class Schedule12:
    """The pseudorandom function of TLS 1.2 with one hash, and what is made by it."""

    hash: str

    def master_secret(self, premaster: bytes, session_hash: bytes) -> bytes:
        """The extended one: it depends on the whole handshake. RFC 7627, section 4."""
        return self.prf(premaster, "extended master secret", session_hash, MASTER_BYTES)

    def key_block(self, master: bytes, client_random: bytes, server_random: bytes, size: int) -> bytes:
        """What keys and IVs are cut from: RFC 5246, 6.3."""
        return self.prf(master, "key expansion", server_random + client_random, size)

    def finished(self, master: bytes, side: str, transcript: bytes) -> bytes:
        """The content of Finished; `side` is client or server. RFC 5246, 7.4.9."""
        return self.prf(master, f"{side} finished", transcript, VERIFY_DATA_12)

    def prf(self, secret: bytes, label: str, seed: bytes, size: int) -> bytes:
        """RFC 5246, section 5."""
        seed = label.encode() + seed
        out, link = b"", seed
        while len(out) < size:
            link = hmac.digest(secret, link, self.hash)
            out += hmac.digest(secret, link + seed, self.hash)
        return out[:size]
