"""The signed part of certificates and lists is that of `cryptography`; any bytes give a value or a FormatError."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from pluto_measure.errors import FormatError
from pluto_measure.formats.signed_der import SignedDer, common_name
from simulators.intel import NOW, Authority

INTEL = Authority.make()
CERTIFICATES = [issued.der for issued in (INTEL.root, INTEL.platform, INTEL.processor, INTEL.tcb_signing, INTEL.pck())]
LISTS = [INTEL.crl("root"), INTEL.crl("platform", [5, 1 << 158]), INTEL.crl("processor", range(1, 3000))]


def der(name: x509.Name) -> bytes:
    return name.public_bytes()


def a_name(*attributes: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    return x509.Name([x509.NameAttribute(identifier, value) for identifier, value in attributes])


@pytest.mark.parametrize("data", CERTIFICATES)
def test_parts_of_a_certificate(data: bytes) -> None:
    parts, theirs = SignedDer.certificate(data), x509.load_der_x509_certificate(data)
    assert parts.signed == theirs.tbs_certificate_bytes
    assert (parts.issuer, parts.subject) == (der(theirs.issuer), der(theirs.subject))
    assert parts.algorithm == parts.signed_algorithm == bytes.fromhex("300a06082a8648ce3d040302")
    assert parts.name == theirs.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value


@pytest.mark.parametrize("data", LISTS)
def test_parts_of_a_list(data: bytes) -> None:
    parts, theirs = SignedDer.revocation_list(data), x509.load_der_x509_crl(data)
    assert parts.signed == theirs.tbs_certlist_bytes
    assert (parts.issuer, parts.subject, parts.name) == (der(theirs.issuer), b"", "")
    assert parts.algorithm == parts.signed_algorithm


def element(tag: int, content: bytes) -> bytes:
    return bytes([tag, len(content)]) + content


def test_version_1_says_no_version() -> None:
    name, number, algorithm = element(0x30, b""), element(0x02, b"\7"), element(0x30, element(0x06, b"\1"))
    signed = element(0x30, number + algorithm + name + element(0x30, b"") + name + element(0x30, b""))
    parts = SignedDer.certificate(element(0x30, signed + algorithm + element(0x03, b"\0")))
    assert (parts.signed, parts.algorithm, parts.signed_algorithm) == (signed, algorithm, algorithm)
    assert (parts.issuer, parts.subject, parts.name) == (name, name, "")
    signed = element(0x30, algorithm + name + element(0x17, b"") + element(0x17, b""))
    parts = SignedDer.revocation_list(element(0x30, signed + algorithm + element(0x03, b"\0")))
    assert (parts.signed, parts.signed_algorithm, parts.issuer) == (signed, algorithm, name)


def test_the_two_algorithms_are_told_apart() -> None:
    data = bytearray(CERTIFICATES[0])
    last = data.rindex(bytes.fromhex("2a8648ce3d040302"))
    data[last + 7] = 3
    parts = SignedDer.certificate(bytes(data))
    assert parts.algorithm != parts.signed_algorithm


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (a_name((NameOID.COMMON_NAME, "Intel SGX Root CA")), "Intel SGX Root CA"),
        (a_name((NameOID.ORGANIZATION_NAME, "Intel"), (NameOID.COMMON_NAME, "ü")), "ü"),
        (a_name((NameOID.ORGANIZATION_NAME, "Intel")), ""),
        (a_name((NameOID.COMMON_NAME, "one"), (NameOID.COMMON_NAME, "two")), ""),
        (a_name(), ""),
    ],
)
def test_common_name(name: x509.Name, text: str) -> None:
    assert common_name(der(name)) == text


@pytest.mark.parametrize("value", [element(0x1E, b"\0A"), element(0x0C, b"\xff"), element(0x13, b"\xc3")])
def test_a_common_name_that_is_no_text_is_none(value: bytes) -> None:
    attribute = element(0x30, bytes.fromhex("0603550403") + value)
    assert common_name(element(0x30, element(0x31, attribute))) == ""


@pytest.mark.parametrize("size", range(0, 700, 7))
def test_a_truncated_certificate_is_a_format_error(size: int) -> None:
    with pytest.raises(FormatError, match="certificate at offset"):
        SignedDer.certificate(CERTIFICATES[0][: min(size, len(CERTIFICATES[0]) - 1)])


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "cut short"),
        (b"\x30\x80", "length of 0 bytes"),
        (b"\x30\x85\0\0\0\0\1\0", "length of 5 bytes"),
        (b"\x30\x82\1", "length of 2 bytes"),
        (b"\x30\x05\x30\x00", "needs 5 bytes, 2 left"),
        (element(0x31, element(0x30, b"") + element(0x30, b"")), "not a sequence"),
        (element(0x30, element(0x31, b"") + element(0x30, b"")), "not a sequence"),
        (element(0x30, element(0x30, b"") + element(0x30, b"")) + b"\0", "not a sequence"),
    ],
)
def test_what_is_no_certificate(data: bytes, problem: str) -> None:
    for parse in (SignedDer.certificate, SignedDer.revocation_list):
        with pytest.raises(FormatError, match=problem):
            parse(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_a_format_error(data: bytes) -> None:
    for parse in (SignedDer.certificate, SignedDer.revocation_list, common_name):
        try:
            parse(data)
        except FormatError:
            continue


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_any_changed_byte_is_a_value_or_a_format_error(at: int, mask: int) -> None:
    for parse, data in ((SignedDer.certificate, CERTIFICATES[-1]), (SignedDer.revocation_list, LISTS[1])):
        changed = bytearray(data)
        changed[at % len(data)] ^= mask
        try:
            parts = parse(bytes(changed))
        except FormatError:
            continue
        assert parts.signed in bytes(changed)


def test_a_certificate_signed_by_hash_of_another_size_is_read_like_any() -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    name = a_name((NameOID.COMMON_NAME, "test"))
    builder = x509.CertificateBuilder(name, name, key.public_key(), 7, NOW, NOW)
    data = builder.sign(key, hashes.SHA384()).public_bytes(serialization.Encoding.DER)
    assert SignedDer.certificate(data).signed == x509.load_der_x509_certificate(data).tbs_certificate_bytes
