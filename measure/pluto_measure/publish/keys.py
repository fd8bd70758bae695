"""Plain signing keys: ed25519, and ECDSA with SHA-256 on P-256 or secp256k1. Pure but for the signing's randomness.

A key is named by the SHA-256 of its SubjectPublicKeyInfo (RFC 5280 §4.1) in DER, in hex. Signatures: RFC 8032 for
ed25519 (64 bytes); ECDSA as DER (RFC 3279 §2.2.3).
"""

from __future__ import annotations

import hashlib

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from pluto_measure.errors import FormatError, UsageError

PublicKey = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey
PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey
_CURVES = (ec.SECP256R1, ec.SECP256K1)
_KINDS = "neither ed25519 nor ECDSA on P-256 or secp256k1"


def public_key(pem: str | bytes, *, what: str) -> PublicKey:
    """One public key from PEM. FormatError for anything else, for several, and for keys of another kind."""
    try:
        data = pem.encode() if isinstance(pem, str) else pem
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise FormatError(what, "is no public key in PEM") from error
    if (several := data.count(b"-----BEGIN ")) > 1:
        raise FormatError(what, f"holds {several} PEM blocks, and only the first would count")
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, _CURVES):
        return key
    raise FormatError(what, f"is {_KINDS}")


def private_key(pem: bytes, password: bytes | None, *, what: str) -> PrivateKey:
    """A private key from PEM (PKCS #8 or SEC 1). FormatError; UsageError where a password is missing or wrong."""
    try:
        key = load_pem_private_key(pem, password)
    except TypeError as error:  # encrypted and no password, or a password and not encrypted
        problem = "is encrypted, and no password was given" if b"ENCRYPTED" in pem else "is not encrypted"
        raise UsageError(f"{what} {problem}", hint="see 'pluto-measure sign --help'") from error
    except UnsupportedAlgorithm as error:
        raise FormatError(what, f"is {_KINDS}") from error
    except ValueError as error:
        if b"-----BEGIN PUBLIC KEY-----" in pem:
            raise FormatError(what, "is a public key, and signing needs the private one") from error
        if password is not None and b"ENCRYPTED" in pem:
            raise UsageError(f"the password does not open {what}") from error
        raise FormatError(what, "is no private key in PEM") from error
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, _CURVES):
        return key
    raise FormatError(what, f"is {_KINDS}")


def pem_of(key: PublicKey) -> str:
    """The one PEM spelling of a public key."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def key_id(key: PublicKey) -> str:
    """Its name: SHA-256 of the SubjectPublicKeyInfo, in hex."""
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def sign(key: PrivateKey, message: bytes) -> bytes:
    """A signature over `message`."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(message)
    return key.sign(message, ec.ECDSA(hashes.SHA256()))


def verifies(key: PublicKey, signature: bytes, message: bytes) -> bool:
    """Whether `signature` is this key's over `message`."""
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, message)
        else:
            key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True
