"""Intel's chains: only a chain of the right shape up to a pinned root holds."""

from __future__ import annotations

import base64
import itertools
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from pluto_measure.errors import FormatError
from pluto_measure.verify import intel_pki
from pluto_measure.verify.intel_crl import crl_problem
from pluto_measure.verify.intel_pki import INTEL_ROOTS, Roots, ca_chain, pck_chain, signing_chain
from simulators.intel import NOW, Authority, Form, Issued, issue, key_of, name_of, sgx_extension
from simulators.intel.authority import MACHINES, YEAR
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


@pytest.mark.parametrize("new", [b"\x55\x04\x03\x14\x19Intel", b"\x55\x04\x03\x0c\x19\xff\xfetel"])
def test_a_name_that_is_no_text(new: bytes) -> None:
    odd = CA.der.replace(b"\x55\x04\x03\x0c\x19Intel", new)
    assert odd != CA.der
    text = f"-----BEGIN CERTIFICATE-----\n{base64.b64encode(odd).decode()}\n-----END CERTIFICATE-----\n"
    assert "was not issued by ''" in str(pck_chain((pem(LEAF, ROOT) + text).encode(), ROOTS).chain.problem)
    assert "'' was not issued by" in str(signing_chain((pem(ROOT) + text).encode(), ROOTS, what="chain").problem)


def test_a_chain_of_any_length_is_not_remembered() -> None:
    with pytest.raises(FormatError, match=r"quote\.certificates: \d+ bytes are more than 65536"):
        pck_chain(pem(*PCK.chain).encode() + bytes(64 * 1024), ROOTS)
    with pytest.raises(FormatError, match=r"chain: \d+ bytes are more than 65536"):
        signing_chain(bytes(64 * 1024 + 1), ROOTS, what="chain")


def test_the_pinned_root_is_intels() -> None:
    assert {root.hex()[:8] for root in intel_pki.INTEL_ROOTS} == {"44a0196b"}
