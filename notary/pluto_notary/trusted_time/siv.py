"""AEAD_AES_SIV_CMAC_256 with a nonce, as NTS uses it. RFC 5297, sections 2 and 3; RFC 8915, section 5.6. Pure.

The library's AES-SIV refuses an empty plaintext in Debian 13's version (43), and a client's request has one: then the
output is the synthetic IV alone, a MAC over associated data and nonce, which the library's CMAC gives.
"""

from __future__ import annotations

import hmac
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

from pluto_measure.errors import VerificationError

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 16
_BLOCK: Final = 16
_POLYNOMIAL: Final = 0x87  # of GF(2^128), RFC 5297, 2.3


def seal(key: bytes, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """Synthetic IV (16 bytes) and ciphertext. `associated` must not be empty."""
    assert associated
    if not plaintext:
        return _vector_of_nothing(key, (associated, nonce))
    return AESSIV(key).encrypt(plaintext, [associated, nonce])


def unseal(key: bytes, nonce: bytes, sealed: bytes, associated: bytes) -> bytes:
    """The plaintext. VerificationError if key, nonce, associated data or one bit of `sealed` is another."""
    assert associated
    if len(sealed) > _BLOCK:
        try:
            return AESSIV(key).decrypt(sealed, [associated, nonce])
        except InvalidTag as error:
            raise VerificationError("an NTS authenticator does not hold") from error
    if not hmac.compare_digest(sealed, _vector_of_nothing(key, (associated, nonce))):
        raise VerificationError("an NTS authenticator does not hold")
    return b""


def _vector_of_nothing(key: bytes, strings: tuple[bytes, ...]) -> bytes:
    """S2V over `strings` and an empty last string, by the first half of the key."""
    half = AES(key[: len(key) // 2])
    state = _mac(half, bytes(_BLOCK))
    for text in strings:
        state = _xor(_double(state), _mac(half, text))
    return _mac(half, _xor(_double(state), b"\x80" + bytes(_BLOCK - 1)))


def _mac(key: AES, data: bytes) -> bytes:
    mac = CMAC(key)
    mac.update(data)
    return mac.finalize()


def _double(block: bytes) -> bytes:
    value = int.from_bytes(block, "big") << 1
    if value >> 128:
        value = (value & (1 << 128) - 1) ^ _POLYNOMIAL
    return value.to_bytes(_BLOCK, "big")


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))
