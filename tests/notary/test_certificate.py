"""The hand-written certificate and key file, read by the library that the trust domain does without."""

from __future__ import annotations

import hashlib
import os
import ssl
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from pluto_notary import certificate
from pluto_notary.certificate import make_identity, server_context


@pytest.mark.parametrize("byte", [0x00, 0x7F, 0x80, 0xFF])
def test_the_certificate_is_one_that_a_library_accepts(byte: int) -> None:
    identity = make_identity(lambda size: bytes([byte]) * size)
    parsed = x509.load_der_x509_certificate(identity.certificate)
    parsed.verify_directly_issued_by(parsed)
    assert parsed.public_bytes(Encoding.DER) == identity.certificate
    assert parsed.serial_number.bit_length() == 127
    assert parsed.subject.rfc4514_string() == f"CN={certificate.NAME}"
    assert parsed.not_valid_before_utc == datetime(1970, 1, 1, tzinfo=UTC)
    assert parsed.not_valid_after_utc == datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [certificate.NAME]


def test_the_key_file_holds_the_key_of_the_certificate_and_its_digest_is_that_of_the_public_key() -> None:
    identity = make_identity(os.urandom)
    key = load_pem_private_key(identity.key_pem, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    parsed = x509.load_der_x509_certificate(identity.certificate)
    assert parsed.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == spki
    assert hashlib.sha256(spki).digest() == identity.key_digest


def test_every_process_has_its_own_key_and_no_text_shows_it() -> None:
    first, second = make_identity(os.urandom), make_identity(os.urandom)
    assert first.key_digest != second.key_digest
    assert "PRIVATE" not in repr(first)


@pytest.mark.parametrize("anonymous", [True, False])
def test_the_key_is_on_no_disk_once_tls_has_it(anonymous: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not anonymous:
        monkeypatch.delattr(os, "memfd_create")
    context = server_context(make_identity(os.urandom))
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3
    assert context.num_tickets == 0
