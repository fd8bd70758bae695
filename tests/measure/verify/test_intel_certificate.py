"""Intel's certificates: bytes that are none, one spelling of each, and whose signature counts."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from pluto_measure.errors import FormatError
from pluto_measure.verify.intel_certificate import issued, load, p256_key, signs
from pluto_measure.verify.intel_crl import load_crl
from simulators.intel import Issued, key_of, raw_signature
from simulators.intel.der import identifier, sequence, tlv
from simulators.verdicts import INTEL

LEAF, CA, _ = INTEL.pck().chain


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x0a"),  # a version of X.509 that there is not
        (b"\x06\x03\x55\x1d\x0e", b"\x06\x03\x55\x1d\x0f"),  # key usage twice
    ],
    ids=["version", "extension"],
)
def test_hostile_certificates_are_format_errors(old: bytes, new: bytes) -> None:
    """`cryptography` has another exception for each; none is a ValueError."""
    assert old in LEAF.der
    with pytest.raises(FormatError, match="chain: hold what is no certificate"):
        load(LEAF.der.replace(old, new), "chain")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("first", [0x80, 0xC0])
def test_a_negative_serial_number_is_a_format_error(first: int) -> None:
    """No list can be asked for it: `cryptography` raises there, so it must not come so far."""
    serial = CA.serial.to_bytes(20, "big")
    with pytest.raises(FormatError, match="chain: hold what is no certificate: the serial number is -"):
        load(CA.der.replace(serial, bytes([first]) + serial[1:], 1), "chain")


@pytest.mark.parametrize("change", [b"", b"\0", b"\x30\x03\x02\x01\x00"])
def test_no_certificate_and_no_list(change: bytes) -> None:
    with pytest.raises(FormatError, match="chain: hold what is no certificate"):
        load(change, "chain")
    with pytest.raises(FormatError, match="list: is no revocation list"):
        load_crl(change, "list")


def unused_bit(item: bytes) -> bytes:
    """The signature's BIT STRING with one unused bit: the same signature where its last bit is 0."""
    start = item.rindex(b"\0\x30")
    return item[:start] + b"\1" + item[start + 1 :]


def test_a_second_spelling_of_a_signature_is_refused() -> None:
    leaf = next(made for n in range(99) if (made := INTEL.pck(ppid=n.to_bytes(16, "big"))).der[-1] % 2 == 0)
    x509.load_der_x509_certificate(unused_bit(leaf.der))
    with pytest.raises(FormatError, match="does not end in its signature"):
        load(unused_bit(leaf.der), "chain")
    crl = next(item for n in range(99) if (item := INTEL.crl("root", number=n))[-1] % 2 == 0)
    x509.load_der_x509_crl(unused_bit(crl))
    with pytest.raises(FormatError, match="does not end in its signature"):
        load_crl(unused_bit(crl), "list")


def test_a_key_that_is_no_point() -> None:
    point = LEAF.certificate.public_key()
    assert isinstance(point, ec.EllipticCurvePublicKey)
    x = point.public_numbers().x.to_bytes(32, "big")
    broken = LEAF.der.replace(x, bytes(32))
    assert p256_key(load(broken, "chain")) is None
    assert not issued(LEAF.der, CA.der.replace(CA.key.public_key().public_numbers().x.to_bytes(32, "big"), bytes(32)))


def spelled(item: Issued, algorithm: bytes) -> bytes:
    """What was signed in `item`, signed anew with SHA-256, beside another name of the algorithm."""
    signed = item.certificate.tbs_certificate_bytes
    assert item.issuer is not None
    signature = item.issuer.key.sign(signed, ec.ECDSA(hashes.SHA256()))
    return sequence(signed, sequence(algorithm), tlv(3, b"\0" + signature))


def test_one_algorithm_inside_and_another_outside() -> None:
    sha256, sha384 = identifier("1.2.840.10045.4.3.2"), identifier("1.2.840.10045.4.3.3")
    assert issued(spelled(LEAF, sha256), CA.der)
    assert not issued(spelled(LEAF, sha384), CA.der)
    assert not issued(spelled(INTEL.pck(form={"algorithm": hashes.SHA384()}), sha256), CA.der)


def test_signatures_of_r_and_s() -> None:
    key = key_of("someone")
    made = raw_signature(key, b"text")
    assert signs(key.public_key(), made, b"text")
    for signature in (bytes(64), b"\xff" * 64, made[:32] + bytes(32), made[32:] + made[:32]):
        assert not signs(key.public_key(), signature, b"text")
    assert not signs(key.public_key(), made, b"Text")
