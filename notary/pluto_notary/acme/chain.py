"""What an authority gave, read and checked before anybody sees it: our key, our name, valid now. Pure.

The chain is not checked against roots: nothing here relies on it, and an authority that only tests has none that many
know. RFC 8555, 7.4.2 and 9.1: PEM, the leaf first, nothing between the certificates that matters.
"""

from __future__ import annotations

import binascii
import hashlib
import warnings

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.utils import CryptographyDeprecationWarning

from pluto_measure.errors import FormatError
from pluto_measure.record import record
from pluto_notary.acme.errors import AcmeError
from pluto_notary.fetch.validity import validity

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Final

_BEGIN, _END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
MOST: Final = 8  # certificates
# What the library raises beside ValueError; their common base is Exception.
_X509_ERRORS: Final = (x509.DuplicateExtension, x509.InvalidVersion, x509.UnsupportedGeneralNameType)


@record
class Chain:
    """Certificates in DER, the leaf first. `first`, `last`: Unix times of the leaf's validity."""

    certificates: tuple[bytes, ...]
    first: int
    last: int

    @property
    def renew_at(self) -> float:
        """When a third of the lifetime is left, in Unix time."""
        return self.last - (self.last - self.first) / 3


def accepted(pem: bytes, *, key_digest: bytes, domain: str, latest: float) -> Chain:
    """The chain for the key with this digest (SHA-256 of its SubjectPublicKeyInfo) and this name alone.

    AcmeError: chain (it cannot be read), key, name, validity. It may begin as late as `latest`, since it is as new as
    that, but may not end before.
    """
    certificates = tuple(_blocks(pem))
    if not 0 < len(certificates) <= MOST:
        raise AcmeError("chain", f"the chain has no certificate, or more than {MOST}")
    leaf, *_ = [_read(der) for der in certificates]
    if _key_digest(leaf) != key_digest:
        raise AcmeError("key", "the certificate is for another key")
    if _names(leaf) != [x509.DNSName(domain)]:
        raise AcmeError("name", "the certificate is not for the name that was ordered, or not for it alone")
    try:
        first, last = validity(certificates[0])
    except FormatError as error:
        raise AcmeError("chain", "the certificate has no validity that can be read") from error
    if not first <= latest <= last:
        raise AcmeError("validity", "the certificate is not valid at the trusted time")
    return Chain(certificates, first, last)


def _blocks(pem: bytes) -> list[bytes]:
    found = []
    for piece in pem.split(_BEGIN)[1:]:
        body, end, _ = piece.partition(_END)
        try:
            der = binascii.a2b_base64(b"".join(body.split()), strict_mode=True)
        except binascii.Error:
            der = b""
        if not end or not der:
            raise AcmeError("chain", "the chain is not in PEM")
        found.append(der)
    return found


def _read(der: bytes) -> x509.Certificate:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            certificate = x509.load_der_x509_certificate(der)
            certificate.extensions  # noqa: B018  read now, so that what is wrong with them shows here
    except (ValueError, TypeError, *_X509_ERRORS) as error:
        raise AcmeError("chain", "a certificate of the chain cannot be read") from error
    return certificate


def _key_digest(leaf: x509.Certificate) -> bytes | None:
    """SHA-256 of the SubjectPublicKeyInfo; None for a key of a kind that is not ours."""
    try:
        spki = leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm):
        return None
    return hashlib.sha256(spki).digest()


def _names(leaf: x509.Certificate) -> list[x509.GeneralName]:
    try:
        return list(leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return []
