"""Keys of TLS 1.3 from its handshake secret down, and records opened with them. RFC 8446, sections 5.2, 5.3, 7. Pure.

    handshake secret ─┬─ Derive-Secret(., "c hs traffic", ClientHello...ServerHello)    client handshake traffic
                      ├─ Derive-Secret(., "s hs traffic", ClientHello...ServerHello)    server handshake traffic
                      └─ Derive-Secret(., "derived", "") ─ HKDF-Extract(., 0) = master secret
                                 ├─ Derive-Secret(., "c ap traffic", ClientHello...server Finished)
                                 └─ Derive-Secret(., "s ap traffic", ClientHello...server Finished)

What stands above the handshake secret, key exchange and early secret, is not asked for: whoever revealed another secret
than the session's finds that no record opens with it.
"""

from __future__ import annotations

import hashlib
import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from pluto_measure.record import record
from pluto_notary.observe.errors import ObserveError
from pluto_notary.observe.records import APPLICATION_DATA, LARGEST_PLAIN

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Final

    from pluto_notary.observe.records import Record

IV_BYTES: Final = 12
TAG_BYTES: Final = 16
_LARGEST_INNER: Final = LARGEST_PLAIN + 1  # content, its type, padding


@record
class Suite:
    """A cipher suite: its hash by name, that one's size, its cipher and the size of a key."""

    hash: str
    hash_bytes: int
    aead: type[AESGCM] | type[ChaCha20Poly1305]
    key_bytes: int


SUITES: Final = {
    0x1301: Suite("sha256", 32, AESGCM, 16),
    0x1302: Suite("sha384", 48, AESGCM, 32),
    0x1303: Suite("sha256", 32, ChaCha20Poly1305, 32),
}


def expand_label(suite: Suite, secret: bytes, label: bytes, context: bytes, size: int) -> bytes:
    """HKDF-Expand-Label, 7.1. Nothing here is longer than the hash, so that one block of HKDF-Expand is all of it."""
    assert size <= suite.hash_bytes
    label = b"tls13 " + label
    info = size.to_bytes(2, "big") + bytes([len(label)]) + label + bytes([len(context)]) + context
    return hmac.digest(secret, info + b"\x01", suite.hash)[:size]


def derive(suite: Suite, secret: bytes, label: bytes, transcript_hash: bytes) -> bytes:
    """Derive-Secret, 7.1, with the hash of the messages already taken."""
    return expand_label(suite, secret, label, transcript_hash, suite.hash_bytes)


def master_secret(suite: Suite, handshake_secret: bytes) -> bytes:
    """What the application's secrets come from."""
    derived = derive(suite, handshake_secret, b"derived", hashlib.new(suite.hash).digest())
    return hmac.digest(derived, bytes(suite.hash_bytes), suite.hash)


def finished(suite: Suite, traffic_secret: bytes, transcript_hash: bytes) -> bytes:
    """What a Finished of the side with this secret says, 4.4.4."""
    key = expand_label(suite, traffic_secret, b"finished", b"", suite.hash_bytes)
    return hmac.digest(key, transcript_hash, suite.hash)


class Opener:
    """Opens the protected records of one direction in their order, under a traffic secret and those that follow it.

    Where a secret is not `proven`, its failure with the first record says that it is not this connection's.
    """

    __slots__ = ("_aead", "_iv", "_proven", "_secret", "_sequence", "_suite", "largest")

    def __init__(self, suite: Suite, secret: bytes, *, proven: bool) -> None:
        self._suite, self._proven = suite, proven
        self.largest = 0  # inner plaintext that was opened, in bytes: what record_size_limit bounds
        self.use(secret)

    def use(self, secret: bytes) -> None:
        """Open with this traffic secret from now on."""
        self._secret = secret
        self._aead = self._suite.aead(expand_label(self._suite, secret, b"key", b"", self._suite.key_bytes))
        self._iv = int.from_bytes(expand_label(self._suite, secret, b"iv", b"", IV_BYTES), "big")
        self._sequence = 0

    def update(self) -> None:
        """The next generation of the traffic secret, 7.2."""
        self.use(derive(self._suite, self._secret, b"traffic upd", b""))

    def open(self, one: Record) -> tuple[int, bytes]:
        """The type and the content of a record. Raises ObserveError (secret, tls)."""
        if one.kind != APPLICATION_DATA:
            raise ObserveError("tls", "a record is not protected where it has to be")
        nonce = (self._iv ^ self._sequence).to_bytes(IV_BYTES, "big")
        try:
            inner = self._aead.decrypt(nonce, one.body, one.head)
        except (InvalidTag, ValueError) as error:
            if not self._proven:
                raise ObserveError("secret", "the secret does not open what the site sent") from error
            raise ObserveError("tls", "a record does not open with its key") from error
        self._sequence, self._proven = self._sequence + 1, True
        if len(inner) > _LARGEST_INNER:
            raise ObserveError("tls", "a record holds more than may be")
        self.largest = max(self.largest, len(inner))
        content = inner.rstrip(b"\0") if inner[-1:] == b"\0" else inner
        if not content:
            raise ObserveError("tls", "a record has no type inside")
        return content[-1], content[:-1]
