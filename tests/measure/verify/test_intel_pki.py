"""Intel's chains and revocation lists: only a chain of the right shape up to a pinned root holds."""

from __future__ import annotations

import base64
import itertools
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from pluto_measure.errors import FormatError
from pluto_measure.verify import intel_pki
from pluto_measure.verify.intel_pki import (
    INTEL_ROOTS,
    Roots,
    ca_chain,
    crl_problem,
    issued,
    load,
    load_crl,
    p256_key,
    pck_chain,
    signing_chain,
    signs,
)
from simulators.intel import NOW, Authority, Form, Issued, issue, key_of, name_of, raw_signature, sgx_extension
from simulators.intel.authority import MACHINES, YEAR
from simulators.intel.der import identifier, sequence, tlv
from simulators.verdicts import INTEL, ROOTS, pem, roots_of

PCK = INTEL.pck()
LEAF, CA, ROOT = PCK.chain
P384 = ec.generate_private_key(ec.SECP384R1())
UNKNOWN = (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0"), True)
FOREIGN = Authority.make(1)
OTHER_PCK = INTEL.pck(ppid=bytes(16))
SIGNER = INTEL.tcb_signing


def pck_problem(*certificates: Issued, roots: Roots = ROOTS) -> str | None:
    found = pck_chain(pem(*certificates).encode(), roots)
    assert (found.ca == "") is (found.chain.problem is not None)
    return found.chain.problem


def signing_problem(*certificates: Issued, roots: Roots = ROOTS) -> str | None:
    return signing_chain(pem(*certificates).encode(), roots, what="chain").problem


def ca_problem(*certificates: Issued, roots: Roots = ROOTS) -> str | None:
    return ca_chain(pem(*certificates).encode(), roots, what="chain").problem


def der(item: Issued) -> str:
    return base64.b64encode(item.der).decode()


# PCK chains


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_certificates_come_in_any_order(order: tuple[int, ...]) -> None:
    found = pck_chain(pem(*(PCK.chain[index] for index in order)).encode(), ROOTS)
    assert found.chain.problem is None
    assert found.chain.ders == (LEAF.der, CA.der, ROOT.der)
    assert (found.chain.leaf, found.chain.issuer_der) == (LEAF.certificate, CA.der)
    assert (found.ca, found.extension.fmspc) == ("platform", MACHINES["platform"].fmspc)
    assert [window.what for window in found.chain.windows("leaf", "CA")] == ["leaf", "CA"]
    assert found.chain.windows("leaf")[0].end == LEAF.certificate.not_valid_after_utc


def test_the_processor_ca() -> None:
    found = pck_chain(pem(*INTEL.pck("processor").chain).encode(), ROOTS)
    assert (found.chain.problem, found.ca, found.extension.platform_instance) == (None, "processor", None)


def test_text_around_certificates_is_nobodys_word_and_a_quote_has_none() -> None:
    text = f"{pem(*PCK.chain)}\0".replace("\n", "\r\n").encode()
    assert pck_chain(text, ROOTS).chain.problem is None
    with pytest.raises(FormatError, match="has other text than certificates"):
        pck_chain(b"subject=x\r\n" + text, ROOTS)
    signers = f"subject=x\r\n{pem(SIGNER, ROOT)} after".encode()
    assert signing_chain(signers, ROOTS, what="chain").problem is None


@pytest.mark.parametrize(
    ("chain", "problem"),
    [
        ((*PCK.chain, SIGNER), "there are 4 certificates, not 3"),
        ((*PCK.chain, ROOT), "there are 4 certificates, not 3"),
        ((*PCK.chain, CA), "there are 4 certificates, not 3"),
        ((LEAF, ROOT, ROOT), "does not end in a pinned root"),
        ((LEAF, CA, CA), "does not end in a pinned root"),
        ((LEAF, ROOT), "there are 2 certificates, not 3"),
        ((LEAF, CA), "there are 2 certificates, not 3"),
        ((LEAF,), "there are 1 certificates, not 3"),
        ((LEAF, CA, FOREIGN.root), "does not end in a pinned root"),
        ((LEAF, INTEL.processor, ROOT), "'Intel SGX PCK Certificate' was not issued by 'Intel SGX PCK Processor CA'"),
        ((LEAF, FOREIGN.platform, ROOT), "'Intel SGX PCK Certificate' was not issued by 'Intel SGX PCK Platform CA'"),
        ((LEAF, SIGNER, ROOT), "was not issued by 'Intel SGX TCB Signing'"),
    ],
)  # fmt: skip
def test_a_chain_of_another_shape(chain: tuple[Issued, ...], problem: str) -> None:
    assert problem in str(pck_problem(*chain))


def test_root_check_by_name_or_by_self_consistency() -> None:
    """A whole foreign Intel, with all of Intel's names and extensions, that agrees with itself."""
    foreign = FOREIGN.pck().chain
    assert [item.certificate.subject for item in foreign] == [item.certificate.subject for item in PCK.chain]
    assert pck_problem(*foreign) == "the chain does not end in a pinned root"
    assert pck_problem(*foreign, roots=roots_of(FOREIGN)) is None
    assert pck_problem(*foreign[:2], ROOT) == "'Intel SGX PCK Platform CA' was not issued by 'Intel SGX Root CA'"
    assert pck_problem(*PCK.chain, roots=INTEL_ROOTS) == "the chain does not end in a pinned root"
    assert pck_problem(*PCK.chain, roots=frozenset()) == "the chain does not end in a pinned root"


def test_the_same_root_key_in_another_certificate_is_not_the_pinned_root() -> None:
    again = INTEL.with_certificate("root", not_after=NOW + 9 * YEAR)
    assert again.root.key.public_key() == ROOT.key.public_key()
    assert pck_problem(*again.pck().chain) == "the chain does not end in a pinned root"


def leaf_with(**form: Any) -> Issued:
    return INTEL.pck(form=form)


@pytest.mark.parametrize(
    ("leaf", "problem"),
    [
        (leaf_with(ca=True), "the leaf is a CA"),
        (leaf_with(basic_constraints=False), "the leaf is a CA, or does not say that it is none"),
        (leaf_with(signs_certificates=True), "the leaf may not sign"),
        (leaf_with(key_usage=False), "the leaf may not sign"),
        (leaf_with(more=(UNKNOWN,)), "critical extension 1.2.3.4 is not known"),
        (leaf_with(common_name="Intel SGX TCB Signing"), "the leaf is 'Intel SGX TCB Signing', not a PCK certificate"),
        (leaf_with(algorithm=hashes.SHA384()), "was not issued by 'Intel SGX PCK Platform CA'"),
        (INTEL.pck(sign_with=key_of("mallory")), "was not issued by 'Intel SGX PCK Platform CA'"),
        (INTEL.pck(key=P384), "the leaf has no key on P-256"),
        (FOREIGN.pck(), "was not issued by 'Intel SGX PCK Platform CA'"),
    ],
)
def test_a_pck_certificate_with_a_defect(leaf: Issued, problem: str) -> None:
    assert problem in str(pck_problem(leaf, CA, ROOT))


def test_an_unknown_extension_that_is_not_critical_is_fine() -> None:
    assert pck_problem(leaf_with(more=((UNKNOWN[0], False),)), CA, ROOT) is None


CA_DEFECTS: list[tuple[dict[str, Any], str]] = [
    ({"ca": False, "path_length": None}, "'Intel SGX PCK Platform CA' may not issue certificates"),
    ({"basic_constraints": False}, "'Intel SGX PCK Platform CA' may not issue certificates"),
    ({"signs_certificates": False}, "'Intel SGX PCK Platform CA' may not issue certificates"),
    ({"key_usage": False}, "'Intel SGX PCK Platform CA' may not issue certificates"),
    ({"common_name": "Intel SGX PCK Server CA"}, "is 'Intel SGX PCK Server CA', not one of Intel SGX PCK Platform CA,"),
    ({"more": (UNKNOWN,)}, "critical extension 1.2.3.4 is not known"),
    ({"algorithm": hashes.SHA384()}, "'Intel SGX PCK Platform CA' was not issued by 'Intel SGX Root CA'"),
    ({"sign_with": key_of("mallory")}, "'Intel SGX PCK Platform CA' was not issued by 'Intel SGX Root CA'"),
]


@pytest.mark.parametrize(("defect", "problem"), CA_DEFECTS)
def test_a_ca_with_a_defect(defect: dict[str, Any], problem: str) -> None:
    odd = INTEL.with_certificate("platform", **defect)
    assert problem in str(pck_problem(*odd.pck().chain))
    assert problem in str(ca_problem(odd.platform, ROOT))


def test_a_leaf_of_the_tcb_signing_certificate_is_not_a_pck() -> None:
    """A certificate that may sign, under the pinned root, but is no CA."""
    form = Form(NOW - YEAR, NOW + YEAR, sgx=sgx_extension(MACHINES["platform"]))
    leaf = issue("Intel SGX PCK Certificate", key_of("mallory"), form, SIGNER)
    assert "the issuer is 'Intel SGX TCB Signing'" in str(pck_problem(leaf, SIGNER, ROOT))


@pytest.mark.parametrize("key", [P384, rsa.generate_private_key(65537, 2048)], ids=["P-384", "RSA"])
def test_a_ca_with_another_kind_of_key(key: Any) -> None:
    form = Form(NOW - YEAR, NOW + YEAR, ca=True, path_length=0, signs_certificates=True)
    other = issue("Intel SGX PCK Platform CA", key, form, ROOT)
    leaf = leaf_with()
    assert "was not issued by 'Intel SGX PCK Platform CA'" in str(pck_problem(leaf, other, ROOT))
    crl = INTEL.crl("platform")
    assert crl_problem(crl, other.der) == "the list is not signed by ECDSA with SHA-256"


def test_two_common_names_are_none() -> None:
    name = x509.Name([*name_of("Intel SGX PCK Platform CA"), x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(ROOT.certificate.subject)
    builder = builder.public_key(CA.key.public_key()).serial_number(7)
    builder = builder.not_valid_before(NOW - YEAR).not_valid_after(NOW + YEAR)
    twice = Issued(CA.key, builder.sign(ROOT.key, hashes.SHA256()), ROOT)
    assert "the signer is ''" in str(ca_problem(twice, ROOT))


@pytest.mark.parametrize(
    ("chain", "count"),
    [((CA, ROOT), 0), ((LEAF, LEAF, CA, ROOT), 2), ((LEAF, OTHER_PCK, CA, ROOT), 2), ((SIGNER, CA, ROOT), 0)],
)
def test_a_chain_without_one_pck_certificate(chain: tuple[Issued, ...], count: int) -> None:
    with pytest.raises(FormatError, match=rf"quote\.certificates: hold {count} PCK certificates, not one"):
        pck_problem(*chain)


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
    assert not issued(spelled(leaf_with(algorithm=hashes.SHA384()), sha256), CA.der)


# chains of collateral


def test_signers_of_collateral_in_both_orders() -> None:
    for first, second in ((SIGNER, ROOT), (ROOT, SIGNER)):
        assert signing_problem(first, second) is None
    for authority in (INTEL.platform, INTEL.processor):
        assert ca_problem(authority, ROOT) is None
        assert ca_problem(ROOT, authority) is None


@pytest.mark.parametrize(
    ("chain", "problem"),
    [
        ((SIGNER,), "there are 1 certificates, not 2"),
        ((ROOT,), "there are 1 certificates, not 2"),
        ((SIGNER, CA, ROOT), "there are 3 certificates, not 2"),
        ((SIGNER, ROOT, ROOT), "there are 3 certificates, not 2"),
        ((ROOT, ROOT), "'Intel SGX Root CA', not 'Intel SGX TCB Signing'"),
        ((FOREIGN.root, ROOT), "'Intel SGX Root CA' was not issued by 'Intel SGX Root CA'"),
        ((SIGNER, SIGNER), "does not end in a pinned root"),
        ((SIGNER, CA), "does not end in a pinned root"),
        ((SIGNER, FOREIGN.root), "does not end in a pinned root"),
        (FOREIGN.tcb_signing.chain, "does not end in a pinned root"),
        ((FOREIGN.tcb_signing, ROOT), "'Intel SGX TCB Signing' was not issued by 'Intel SGX Root CA'"),
        ((CA, ROOT), "the signer is 'Intel SGX PCK Platform CA', not 'Intel SGX TCB Signing'"),
    ],
)
def test_a_signing_chain_that_does_not_hold(chain: tuple[Issued, ...], problem: str) -> None:
    assert problem in str(signing_problem(*chain))


@pytest.mark.parametrize(
    ("defect", "problem"),
    [
        ({"ca": True}, "the leaf is a CA"),
        ({"key_usage": False}, "the leaf may not sign"),
        ({"more": (UNKNOWN,)}, "critical extension 1.2.3.4 is not known"),
        ({"common_name": "Intel SGX TCB Signing 2"}, "the signer is 'Intel SGX TCB Signing 2', not"),
        ({"algorithm": hashes.SHA384()}, "was not issued by"),
        ({"sign_with": key_of("mallory")}, "was not issued by"),
    ],
)
def test_a_signer_with_a_defect(defect: dict[str, Any], problem: str) -> None:
    odd = INTEL.with_certificate("tcb_signing", **defect)
    assert problem in str(signing_problem(odd.tcb_signing, ROOT))


@pytest.mark.parametrize("key", [P384, rsa.generate_private_key(65537, 2048)], ids=["P-384", "RSA"])
def test_a_signer_with_another_kind_of_key(key: Any) -> None:
    other = issue("Intel SGX TCB Signing", key, Form(NOW - YEAR, NOW + YEAR), ROOT)
    assert signing_problem(other, ROOT) == "the leaf has no key on P-256"


@pytest.mark.parametrize("other", [SIGNER, FOREIGN.platform])
def test_a_ca_chain_that_does_not_hold(other: Issued) -> None:
    assert ca_problem(other, ROOT) is not None


# bytes that are no certificate


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


def test_hostile_lists_are_format_errors() -> None:
    with pytest.raises(FormatError, match="list: is no revocation list"):  # a version of CRLs that there is not
        load_crl(INTEL.crl("root").replace(b"\2\1\1\x30", b"\2\1\2\x30", 1), "list")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("first", [0x80, 0xC0])
def test_a_negative_serial_number_is_a_format_error(first: int) -> None:
    """No list can be asked for it: `cryptography` raises there, so it must not come so far."""
    serial = CA.serial.to_bytes(20, "big")
    with pytest.raises(FormatError, match="chain: hold what is no certificate: the serial number is -"):
        load(CA.der.replace(serial, bytes([first]) + serial[1:], 1), "chain")


@pytest.mark.parametrize("new", [b"\x55\x04\x03\x14\x19Intel", b"\x55\x04\x03\x0c\x19\xff\xfetel"])
def test_a_name_that_is_no_text(new: bytes) -> None:
    odd = CA.der.replace(b"\x55\x04\x03\x0c\x19Intel", new)
    assert odd != CA.der
    text = f"-----BEGIN CERTIFICATE-----\n{base64.b64encode(odd).decode()}\n-----END CERTIFICATE-----\n"
    assert "was not issued by ''" in str(pck_chain((pem(LEAF, ROOT) + text).encode(), ROOTS).chain.problem)
    assert "'' was not issued by" in str(signing_chain((pem(ROOT) + text).encode(), ROOTS, what="chain").problem)


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


def test_a_chain_of_any_length_is_not_remembered() -> None:
    with pytest.raises(FormatError, match=r"quote\.certificates: \d+ bytes are more than 65536"):
        pck_chain(pem(*PCK.chain).encode() + bytes(64 * 1024), ROOTS)
    with pytest.raises(FormatError, match=r"chain: \d+ bytes are more than 65536"):
        signing_chain(bytes(64 * 1024 + 1), ROOTS, what="chain")


def test_a_key_that_is_no_point() -> None:
    point = LEAF.certificate.public_key()
    assert isinstance(point, ec.EllipticCurvePublicKey)
    x = point.public_numbers().x.to_bytes(32, "big")
    broken = LEAF.der.replace(x, bytes(32))
    assert p256_key(load(broken, "chain")) is None
    assert not issued(LEAF.der, CA.der.replace(CA.key.public_key().public_numbers().x.to_bytes(32, "big"), bytes(32)))


# revocation lists


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


# signatures, times


def test_signatures_of_r_and_s() -> None:
    key = key_of("someone")
    made = raw_signature(key, b"text")
    assert signs(key.public_key(), made, b"text")
    for signature in (bytes(64), b"\xff" * 64, made[:32] + bytes(32), made[32:] + made[:32]):
        assert not signs(key.public_key(), signature, b"text")
    assert not signs(key.public_key(), made, b"Text")


def test_the_pinned_root_is_intels() -> None:
    assert {root.hex()[:8] for root in intel_pki.INTEL_ROOTS} == {"44a0196b"}
