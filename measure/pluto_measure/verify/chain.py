"""Certificate chains of attestation keys: from the key's certificate up to a root, at a given time. Pure.

It says which root a chain ends in; whether that root is trusted is for the caller to compare. No revocation source is
asked: the vendors of virtual TPMs publish none for these certificates.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pluto_measure.errors import VerificationError

AK_USAGE = x509.ObjectIdentifier("2.23.133.8.3")  # TCG EK Credential Profile: tcg-kp-AIKCertificate


def chain_root(certificates: Sequence[bytes], *, key: bytes, at: datetime) -> bytes:
    """The SHA-256 of the root (DER) that vouches for `key` (SubjectPublicKeyInfo, DER) at the time `at`.

    `certificates`: DER, the key's own first, each issued by the next, the last one self-signed. VerificationError.
    """
    chain = [loaded(item, index) for index, item in enumerate(certificates)]
    if not chain:
        raise VerificationError("chain: no certificates")
    check_leaf(chain[0], key)
    for index, certificate in enumerate(chain):
        if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
            raise VerificationError(f"chain: certificate {index} is not valid at {at:%Y-%m-%dT%H:%M:%SZ}")
        if index:
            check_issuer(certificate, index)
    for index, (subject, issuer) in enumerate(pairwise([*chain, chain[-1]])):
        try:
            subject.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
            raise VerificationError(f"chain: certificate {index} was not issued by the next one") from error
    return hashlib.sha256(certificates[-1]).digest()


def loaded(data: bytes, index: int) -> x509.Certificate:
    """Certificate `index` of a chain (DER), the key's own being 0. VerificationError."""
    try:
        return x509.load_der_x509_certificate(data)
    except ValueError as error:
        raise VerificationError(f"chain: certificate {index} is not a certificate") from error


def check_leaf(leaf: x509.Certificate, key: bytes) -> None:
    """It is for `key` (SubjectPublicKeyInfo, DER), and that is an attestation key. VerificationError."""
    try:
        vouched = leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise VerificationError("chain: the first certificate has no key that we know") from error
    if vouched != key:
        raise VerificationError("chain: the first certificate is for another key")
    try:
        usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (x509.ExtensionNotFound, ValueError) as error:
        raise VerificationError(
            "chain: the first certificate does not say that it is for an attestation key"
        ) from error
    if AK_USAGE not in usage:
        raise VerificationError("chain: the first certificate is not for an attestation key")


def check_issuer(certificate: x509.Certificate, index: int) -> None:
    """Certificate `index` of a chain may issue those below it. VerificationError."""
    try:
        basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except (x509.ExtensionNotFound, ValueError) as error:
        raise VerificationError(f"chain: certificate {index} does not say that it may issue") from error
    if not (basic.ca and usage.key_cert_sign):
        raise VerificationError(f"chain: certificate {index} may not issue certificates")
    if basic.path_length is not None and basic.path_length < index - 1:
        raise VerificationError(f"chain: certificate {index} may not have {index - 1} issuers below it")
