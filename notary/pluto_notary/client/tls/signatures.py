"""Signatures of handshakes: what is offered, and whether one holds. RFC 8446, 4.2.3 and 4.4.3; RFC 5246, 7.4.3.

Certificates' own signatures are for the judge of the chain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from pluto_notary.client.tls.errors import DECRYPT_ERROR, TlsError
from pluto_notary.client.tls.suites import ECDSA, RSA

PublicKey = RSAPublicKey | ec.EllipticCurvePublicKey | Ed25519PublicKey

# RFC 8446, 4.4.3: 64 spaces, the context, a zero.
_CONTEXT: Final = b" " * 64 + b"TLS 1.3, server CertificateVerify" + b"\0"


@dataclass(frozen=True, slots=True)
class Scheme:
    """A signature scheme. `curve`: of the key, which TLS 1.3 fixes and TLS 1.2 does not."""

    number: int
    kind: str  # ecdsa | ed25519 | pss | pkcs1
    hash: hashes.HashAlgorithm | None = None
    curve: str = ""


SCHEMES: Final = (
    Scheme(0x0403, "ecdsa", hashes.SHA256(), "secp256r1"),
    Scheme(0x0807, "ed25519"),
    Scheme(0x0804, "pss", hashes.SHA256()),
    Scheme(0x0503, "ecdsa", hashes.SHA384(), "secp384r1"),
    Scheme(0x0805, "pss", hashes.SHA384()),
    Scheme(0x0806, "pss", hashes.SHA512()),
    Scheme(0x0603, "ecdsa", hashes.SHA512(), "secp521r1"),
    # In certificates, and in handshakes of TLS 1.2 alone.
    Scheme(0x0401, "pkcs1", hashes.SHA256()),
    Scheme(0x0501, "pkcs1", hashes.SHA384()),
    Scheme(0x0601, "pkcs1", hashes.SHA512()),
)
_BY_NUMBER: Final = {scheme.number: scheme for scheme in SCHEMES}


def verify_13(key: PublicKey, number: int, signature: bytes, transcript: bytes) -> None:
    """CertificateVerify over the hash of a transcript. TlsError."""
    scheme = _offered(number)
    if scheme.kind == "pkcs1":
        raise TlsError("the site signs in a way that TLS 1.3 does not know")
    if scheme.curve and isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name != scheme.curve:
        raise TlsError("the site's signature scheme is not for its key")
    _verify(key, scheme, signature, _CONTEXT + transcript)


def verify_12(key: PublicKey, number: int, signature: bytes, signed: bytes) -> None:
    """ServerKeyExchange: randoms and parameters. TlsError."""
    _verify(key, _offered(number), signature, signed)


def kind_of(key: PublicKey) -> str:
    """What suites of TLS 1.2 call the key."""
    return RSA if isinstance(key, RSAPublicKey) else ECDSA


def _offered(number: int) -> Scheme:
    if (scheme := _BY_NUMBER.get(number)) is None:
        raise TlsError("the site signs in a way that was not offered")
    return scheme


def _verify(key: PublicKey, scheme: Scheme, signature: bytes, data: bytes) -> None:
    try:
        if isinstance(key, Ed25519PublicKey) and scheme.kind == "ed25519":
            key.verify(signature, data)
        elif isinstance(key, ec.EllipticCurvePublicKey) and scheme.kind == "ecdsa" and scheme.hash is not None:
            key.verify(signature, data, ec.ECDSA(scheme.hash))
        elif isinstance(key, RSAPublicKey) and scheme.kind in ("pss", "pkcs1") and scheme.hash is not None:
            pss = padding.PSS(mgf=padding.MGF1(scheme.hash), salt_length=scheme.hash.digest_size)
            key.verify(signature, data, pss if scheme.kind == "pss" else padding.PKCS1v15(), scheme.hash)
        else:
            raise TlsError("the site's signature scheme is not for its key")
    except (InvalidSignature, UnsupportedAlgorithm, ValueError) as error:
        raise TlsError("the site did not sign this handshake", alert=DECRYPT_ERROR) from error
