"""One certificate of Intel's PKI: read to its end, issued and signed by another, and what it may be used for. Pure.

Whether a signature holds does not depend on the time, so the answers are remembered by the exact bytes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.x509.oid import SignatureAlgorithmOID

from pluto_measure.errors import FormatError
from pluto_measure.formats.pck import EXTENSION
from pluto_measure.formats.signed_der import SignedDer
from pluto_measure.verify.certificate import UNREADABLE, constraints

ECDSA_SHA256: Final = ec.ECDSA(hashes.SHA256())
_REMEMBERED: Final = 1024


def load(der: bytes, what: str) -> x509.Certificate:
    """A certificate. FormatError for bytes that are none, or that have more than one reading."""
    try:
        return read(der).certificate
    except UNREADABLE as error:
        raise FormatError(what, f"hold what is no certificate: {error}") from error


class Read(NamedTuple):
    """A certificate, read to the end: nothing of it raises any more."""

    certificate: x509.Certificate
    parts: SignedDer
    key: ec.EllipticCurvePublicKey | None  # where it is one on P-256


_KEPT: Final[dict[bytes, Read]] = {}


@lru_cache(_REMEMBERED)
def read(der: bytes) -> Read:
    """Root and CA stand in several chains. Raises one of UNREADABLE."""
    if (known := _KEPT.get(der)) is not None:
        return known
    certificate = x509.load_der_x509_certificate(der)
    certificate.extensions  # noqa: B018
    certificate.not_valid_before_utc, certificate.not_valid_after_utc  # noqa: B018
    if not ends_in(der, certificate.signature):
        raise ValueError("it does not end in its signature")
    if certificate.serial_number <= 0:  # RFC 5280 section 4.1.2.2; no list can be asked for one below
        raise ValueError(f"the serial number is {certificate.serial_number}")
    return Read(certificate, SignedDer.certificate(der), p256_key(certificate))


def keep(der: bytes) -> None:
    """Read it once and for all. For certificates that are constants of this program: nobody can make it keep more."""
    _KEPT.setdefault(der, read(der))


def signs(key: ec.EllipticCurvePublicKey, signature: bytes, data: bytes) -> bool:
    """Whether `signature` (r and s, 32 bytes each) is `key`'s over SHA-256 of `data`."""
    encoded = encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    try:
        key.verify(encoded, data, ECDSA_SHA256)
    except InvalidSignature:
        return False
    return True


@lru_cache(_REMEMBERED)
def p256_key(certificate: x509.Certificate) -> ec.EllipticCurvePublicKey | None:
    """The certificate's key where it is one on P-256."""
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp256r1" else None


@lru_cache(_REMEMBERED)
def issued(subject_der: bytes, issuer_der: bytes) -> bool:
    """Whether names fit and the issuer's P-256 key signed the subject, by ECDSA with SHA-256."""
    subject, issuer = read(subject_der), read(issuer_der)
    try:
        if issuer.key is None or is_other_algorithm(subject.certificate, subject.parts):
            return False
        if subject.parts.issuer != issuer.parts.subject:
            return False
        issuer.key.verify(subject.certificate.signature, subject.parts.signed, ECDSA_SHA256)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True


def is_other_algorithm(item: x509.Certificate | x509.CertificateRevocationList, parts: SignedDer) -> bool:
    """Whether it says of itself that it is signed otherwise than by ECDSA with SHA-256, inside or outside."""
    return (
        parts.algorithm != parts.signed_algorithm
        or item.signature_algorithm_oid != SignatureAlgorithmOID.ECDSA_WITH_SHA256
    )


def is_self_issued(der: bytes) -> bool:
    parts = read(der).parts
    return parts.issuer == parts.subject


def ends_in(der: bytes, signature: bytes) -> bool:
    """Whether the signature's BIT STRING, which nobody signs, has its one spelling: no unused bits."""
    return der.endswith(b"\0" + signature)


def leaf_problem(certificate: x509.Certificate) -> str | None:
    basic, usage, odd = constraints(certificate)
    if odd is not None:
        return f"critical extension {odd} is not known"
    if basic is None or basic.ca:
        return "the leaf is a CA, or does not say that it is none"
    if usage is None or not usage.digital_signature:
        return "the leaf may not sign"
    return None if p256_key(certificate) is not None else "the leaf has no key on P-256"


def issuer_problem(certificate: x509.Certificate, der: bytes) -> str | None:
    basic, usage, odd = constraints(certificate)
    if odd is not None:
        return f"critical extension {odd} is not known"
    if basic is None or not basic.ca or usage is None or not usage.key_cert_sign:
        return f"{name_of(der)!r} may not issue certificates"
    return None


def sgx_extension(certificate: x509.Certificate) -> bytes | None:
    for extension in certificate.extensions:
        value = extension.value
        if type(value) is x509.UnrecognizedExtension and value.oid.dotted_string == EXTENSION:
            return value.value
    return None


def name_of(der: bytes) -> str:
    """The common name of a certificate's subject."""
    return read(der).parts.name
