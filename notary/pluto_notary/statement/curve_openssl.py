"""secp256k1 by OpenSSL, which knows no recovery: all multiplications of points are its own. Pure.

What is done here is arithmetic of public numbers alone: square roots, and additions of points that a signature and its
key show to everybody. RFC 6979 for nonces; SEC 1, 4.1.6 for recovery. `curve` says when it is used.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Final

    Point = tuple[int, int]

ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141  # SEC 2, section 2.4.1
PRIME: Final = 2**256 - 2**32 - 977
_SIZE: Final = 32
_CURVE: Final = ec.SECP256K1()
_DIGEST: Final = Prehashed(SHA256())


class NoKeyError(Exception):
    """No key of the curve fits."""


def public_of(secret: bytes) -> bytes:
    """The public key (SEC1, compressed, 33 bytes) of a private key that is in range."""
    return (
        _private(int.from_bytes(secret, "big")).public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    )


def sign(secret: bytes, digest: bytes) -> tuple[bytes, bytes, int]:
    """r, s (32 bytes each, s low) and the parity of R's y, for a digest of 32 bytes. RFC 6979."""
    key = _private(int.from_bytes(secret, "big"))
    r, s = decode_dss_signature(key.sign(digest, ec.ECDSA(_DIGEST, deterministic_signing=True)))
    s = min(s, ORDER - s)
    numbers = key.public_key().public_numbers()
    words = r.to_bytes(_SIZE, "big"), s.to_bytes(_SIZE, "big")
    for parity in (0, 1):
        if _recovered(r, s, parity, digest) == (numbers.x, numbers.y):
            return *words, parity
    raise NoKeyError  # r was above the order, which happens once in 2^127 signatures


def recover(r: bytes, s: bytes, parity: int, digest: bytes) -> bytes:
    """The public key (33 bytes) whose signature this is. NoKeyError where there is none."""
    x, y = _recovered(int.from_bytes(r, "big"), int.from_bytes(s, "big"), parity, digest)
    point = ec.EllipticCurvePublicNumbers(x, y, _CURVE).public_key()
    try:
        point.verify(
            encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big")), digest, ec.ECDSA(_DIGEST)
        )
    except InvalidSignature as error:
        raise NoKeyError from error
    return point.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)


def uncompressed(public: bytes) -> bytes:
    """A public key with both coordinates: 65 bytes. NoKeyError where it is no point of the curve."""
    try:
        point = ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, public)
    except ValueError as error:
        raise NoKeyError from error
    return point.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _recovered(r: int, s: int, parity: int, digest: bytes) -> Point:
    """Q = (s/r)·R - (z/r)·G. All of it is public. NoKeyError."""
    square = (pow(r, 3, PRIME) + 7) % PRIME
    y = pow(square, (PRIME + 1) // 4, PRIME)
    if r >= PRIME or y * y % PRIME != square:
        raise NoKeyError
    point = r, y if y % 2 == parity else PRIME - y
    inverse = pow(r, -1, ORDER)
    other = -int.from_bytes(digest, "big") * inverse % ORDER
    found = _multiplied(s * inverse % ORDER, point)
    if other:
        numbers = _private(other).public_key().public_numbers()
        found = _sum(found, (numbers.x, numbers.y))
    return found


def _multiplied(scalar: int, point: Point) -> Point:
    """scalar·point. OpenSSL gives x alone (ECDH); which of the two y it is shows in (scalar + 1)·point."""
    x = _shared(scalar, point)
    y = pow(pow(x, 3, PRIME) + 7, (PRIME + 1) // 4, PRIME)
    if scalar == ORDER - 1:
        return point[0], PRIME - point[1]
    if scalar == 1:
        return point
    return (x, y) if _sum((x, y), point)[0] == _shared(scalar + 1, point) else (x, PRIME - y)


def _shared(scalar: int, point: Point) -> int:
    peer = ec.EllipticCurvePublicNumbers(*point, _CURVE).public_key()
    return int.from_bytes(_private(scalar).exchange(ec.ECDH(), peer), "big")


def _sum(one: Point, other: Point) -> Point:
    """The sum of two points. NoKeyError where it is the point at infinity."""
    if one == other:
        slope = 3 * one[0] * one[0] * pow(2 * one[1], -1, PRIME)
    elif one[0] == other[0]:
        raise NoKeyError
    else:
        slope = (other[1] - one[1]) * pow(other[0] - one[0], -1, PRIME)
    x = (slope * slope - one[0] - other[0]) % PRIME
    return x, (slope * (one[0] - x) - one[1]) % PRIME


def _private(scalar: int) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(scalar, _CURVE)
