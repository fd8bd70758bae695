"""secp256k1: libsecp256k1 through coincurve where that is to be had, else OpenSSL. Pure.

The trust domain has the former, which is quicker by far. A computer whose Python has no wheel of it (3.14 and later)
verifies by the latter. Both give the same bytes; a test compares them.
"""

from __future__ import annotations

from pluto_notary.statement import curve_openssl
from pluto_notary.statement.curve_openssl import ORDER, NoKeyError

try:
    import coincurve
except ImportError:
    coincurve = None  # type: ignore[assignment]

__all__ = ["ORDER", "NoKeyError", "public_of", "recover", "sign", "uncompressed"]


def public_of(secret: bytes) -> bytes:
    """The public key (SEC1, compressed, 33 bytes) of a private key that is in range."""
    if coincurve is None:
        return curve_openssl.public_of(secret)
    key: bytes = coincurve.PrivateKey(secret).public_key.format(compressed=True)
    return key


def sign(secret: bytes, digest: bytes) -> tuple[bytes, bytes, int]:
    """r, s (32 bytes each, s low) and the parity of R's y, for a digest of 32 bytes. RFC 6979."""
    if coincurve is None:
        return curve_openssl.sign(secret, digest)
    signed = coincurve.PrivateKey(secret).sign_recoverable(digest, hasher=None)
    return signed[:32], signed[32:64], signed[64]


def recover(r: bytes, s: bytes, parity: int, digest: bytes) -> bytes:
    """The public key (33 bytes) whose signature this is. NoKeyError where there is none."""
    if coincurve is None:
        return curve_openssl.recover(r, s, parity, digest)
    try:
        found = coincurve.PublicKey.from_signature_and_message(r + s + bytes([parity]), digest, hasher=None)
    except Exception as error:  # coincurve raises the class itself
        raise NoKeyError from error
    key: bytes = found.format(compressed=True)
    return key


def uncompressed(public: bytes) -> bytes:
    """A public key with both coordinates: 65 bytes. NoKeyError where it is no point of the curve."""
    if coincurve is None:
        return curve_openssl.uncompressed(public)
    try:
        whole: bytes = coincurve.PublicKey(public).format(compressed=False)
    except ValueError as error:
        raise NoKeyError from error
    return whole
