"""Keys of TLS 1.2 from its master secret, and records opened with them. Pure.

PRF(secret, label, seed)  = HMAC(secret, A(1) + label + seed) + HMAC(secret, A(2) + label + seed) + ...
A(0), A(i)                = label + seed, HMAC(secret, A(i-1))                                 RFC 5246, section 5
key block                 = PRF(master secret, "key expansion", server random + client random)              6.3
                          = client's key, site's key, client's fixed IV, site's fixed IV
verify_data               = PRF(master secret, "client finished" | "server finished", Hash(messages))     7.4.9

GCM (RFC 5288, 5289)      body = explicit nonce (8), ciphertext, tag (16)   nonce = fixed IV (4) + explicit nonce
ChaCha20-Poly1305 (7905)  body = ciphertext, tag (16)                       nonce = fixed IV (12) xor sequence
additional data           = sequence (8), type (1), version (2), length of the plaintext (2)            6.2.3.3
"""

from __future__ import annotations

import hashlib
import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from pluto_measure.record import record
from pluto_notary.observe.errors import ObserveError
from pluto_notary.observe.records import LARGEST_PLAIN

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Final

    from pluto_notary.observe.records import Record

MASTER_SECRET_BYTES: Final = 48
_VERIFY_DATA_BYTES: Final = 12
_TAG_BYTES: Final = 16


@record
class Suite:
    """A cipher suite of ephemeral keys: whose certificate signs them, the PRF's hash, the cipher, and its sizes."""

    ecdsa: bool  # a certificate for ECDSA, or for RSA
    hash: str
    aead: type[AESGCM] | type[ChaCha20Poly1305]
    key_bytes: int
    fixed_bytes: int  # of the IV, from the key block
    explicit_bytes: int  # of the nonce, in each record


SUITES: Final = {
    0xC02B: Suite(True, "sha256", AESGCM, 16, 4, 8),
    0xC02C: Suite(True, "sha384", AESGCM, 32, 4, 8),
    0xC02F: Suite(False, "sha256", AESGCM, 16, 4, 8),
    0xC030: Suite(False, "sha384", AESGCM, 32, 4, 8),
    0xCCA8: Suite(False, "sha256", ChaCha20Poly1305, 32, 12, 0),
    0xCCA9: Suite(True, "sha256", ChaCha20Poly1305, 32, 12, 0),
}


def prf(algorithm: str, secret: bytes, label: bytes, seed: bytes, size: int) -> bytes:
    """The first bytes of the pseudorandom function."""
    seed = label + seed
    chained, found = seed, b""
    while len(found) < size:
        chained = hmac.digest(secret, chained, algorithm)
        found += hmac.digest(secret, chained + seed, algorithm)
    return found[:size]


def finished(suite: Suite, master: bytes, label: bytes, messages: bytes) -> bytes:
    """What a Finished says after these messages."""
    return prf(suite.hash, master, label, hashlib.new(suite.hash, messages).digest(), _VERIFY_DATA_BYTES)


def openers(suite: Suite, master: bytes, client_random: bytes, server_random: bytes) -> tuple[Opener, Opener]:
    """What opens the client's records, of which the first proves the secret, and the site's."""
    key, fixed = suite.key_bytes, suite.fixed_bytes
    block = prf(suite.hash, master, b"key expansion", server_random + client_random, 2 * (key + fixed))
    ivs = block[2 * key :]
    ours = Opener(suite, block[:key], ivs[:fixed], proven=False)
    return ours, Opener(suite, block[key : 2 * key], ivs[fixed:], proven=True)


class Opener:
    """Opens the protected records of one direction in their order.

    Where the secret is not `proven`, a failure with the first record says that it is not this connection's. A nonce
    under which two records were sealed would let anybody forge a third, so it is refused.
    """

    __slots__ = ("_aead", "_explicit", "_iv", "_nonces", "_proven", "_sequence", "largest")

    def __init__(self, suite: Suite, key: bytes, iv: bytes, *, proven: bool) -> None:
        self._aead, self._iv, self._explicit, self._proven = suite.aead(key), iv, suite.explicit_bytes, proven
        self._nonces: set[bytes] = set()
        self._sequence = 0
        self.largest = 0  # plaintext that was opened, in bytes: what record_size_limit bounds

    def open(self, one: Record) -> bytes:
        """The content of a record. Raises ObserveError (secret, tls)."""
        size = len(one.body) - self._explicit - _TAG_BYTES
        if not 0 <= size <= LARGEST_PLAIN:
            raise ObserveError("tls", "a protected record is too short, or holds more than may be")
        sequence = self._sequence.to_bytes(8, "big")
        if self._explicit:
            nonce = self._iv + bytes(one.body[: self._explicit])
        else:
            nonce = (int.from_bytes(self._iv, "big") ^ self._sequence).to_bytes(len(self._iv), "big")
        try:
            content = self._aead.decrypt(
                nonce, one.body[self._explicit :], sequence + one.head[:3] + size.to_bytes(2, "big")
            )
        except InvalidTag as error:
            if not self._proven:
                raise ObserveError("secret", "the secret does not open what was sent") from error
            raise ObserveError("tls", "a record does not open with its key") from error
        if nonce in self._nonces:
            raise ObserveError("tls", "two records have the same nonce")
        self._nonces.add(nonce)
        self._sequence, self._proven = self._sequence + 1, True
        self.largest = max(self.largest, size)
        return content
