"""Intel's revocation lists: only what a CA signed of its own, to the end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from pluto_measure.errors import FormatError
from pluto_measure.verify.intel_crl import crl_problem, load_crl
from simulators.intel import NOW, Authority
from simulators.intel.authority import YEAR
from simulators.verdicts import INTEL

LEAF, CA, _ = INTEL.pck().chain
P384 = ec.generate_private_key(ec.SECP384R1())
FOREIGN = Authority.make(1)


def test_hostile_lists_are_format_errors() -> None:
    with pytest.raises(FormatError, match="list: is no revocation list"):  # a version of CRLs that there is not
        load_crl(INTEL.crl("root").replace(b"\2\1\1\x30", b"\2\1\2\x30", 1), "list")


def test_a_list() -> None:
    crl = load_crl(INTEL.crl("platform", [LEAF.serial], number=12), "list")
    assert (crl.number, crl.revokes(LEAF.certificate), crl.revokes(CA.certificate)) == (12, True, False)
    assert crl.window("list").begin == NOW - timedelta(days=1)
    assert crl.window("list").end == NOW + timedelta(days=29)
    assert crl_problem(crl.der, CA.der) is None
    assert load_crl(INTEL.crl("root", number=None), "list").number == -1


@pytest.mark.parametrize(
    ("crl", "problem"),
    [
        (INTEL.crl("root"), "'Intel SGX Root CA', not by 'Intel SGX PCK Platform CA'"),
        (INTEL.crl("processor"), "'Intel SGX PCK Processor CA', not by 'Intel SGX PCK Platform CA'"),
        (INTEL.crl("platform", sign_with=INTEL.processor.key), "'Intel SGX PCK Platform CA' did not sign the list"),
        (INTEL.crl("processor", issuer_name="Intel SGX PCK Platform CA"), "did not sign the list"),
        (FOREIGN.crl("platform"), "'Intel SGX PCK Platform CA' did not sign the list"),
        (INTEL.crl("platform", sign_with=P384), "did not sign the list"),
        (INTEL.crl("platform", more=[(x509.DeltaCRLIndicator(1), True)]), "a critical extension 2.5.29.27"),
    ],
)
def test_a_list_that_is_not_the_cas(crl: bytes, problem: str) -> None:
    assert problem in str(crl_problem(crl, CA.der))


def list_of(algorithm: Any = None, key: Any = None, next_update: bool = True) -> bytes:
    builder = x509.CertificateRevocationListBuilder().issuer_name(CA.certificate.subject).last_update(NOW)
    if next_update:
        builder = builder.next_update(NOW + YEAR)
    return builder.sign(key or CA.key, algorithm or hashes.SHA256()).public_bytes(Encoding.DER)


def test_a_list_of_another_algorithm() -> None:
    for crl in (list_of(hashes.SHA384()), list_of(key=rsa.generate_private_key(65537, 2048))):
        assert crl_problem(crl, CA.der) == "the list is not signed by ECDSA with SHA-256"


def test_a_list_without_a_next_update() -> None:
    whole = list_of()
    # By hand, as no builder makes one: the second of the two times goes, and the lengths with it.
    times = whole.index(b"\x17\x0d", whole.index(b"\x17\x0d") + 1)
    inner = whole[:times] + whole[times + 15 :]
    short = inner[:1] + shorter(inner[1:], 15)
    nested = short.index(b"\x30", 1)
    short = short[: nested + 1] + shorter(short[nested + 1 :], 15)
    with pytest.raises(FormatError, match="does not say when its next update is due"):
        load_crl(short, "list")


def shorter(length_and_rest: bytes, by: int) -> bytes:
    size = length_and_rest[0] & 0x7F if length_and_rest[0] & 0x80 else 0
    if not size:
        return bytes([length_and_rest[0] - by]) + length_and_rest[1:]
    length = int.from_bytes(length_and_rest[1 : 1 + size], "big") - by
    return length_and_rest[:1] + length.to_bytes(size, "big") + length_and_rest[1 + size :]
