"""Collateral: each document is Intel's by a chain, a list and a signature, or the finding of its id refuses."""

from __future__ import annotations

import itertools
import json
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509

from pluto_measure.errors import FormatError
from pluto_measure.findings import failures
from pluto_measure.verify.collateral import check_collateral
from simulators.intel import (
    NOW,
    QE_MRSIGNER,
    Authority,
    ModuleIdentity,
    Pck,
    World,
    healthy,
    key_of,
    qe_identity,
    raw_signature,
    tcb_info,
    world,
)
from simulators.verdicts import INTEL, PCK_CHAIN, ROOTS, flipped, parsed, pem, refusals, roots_of, texts, verified

FOREIGN = Authority.make(1)
TCB_CHAIN, QE_CHAIN = "tcb_info_issuer_chain", "qe_identity_issuer_chain"
MALLORY = key_of("mallory")


def with_members(**members: Any) -> World:
    return healthy().with_members(**members)


def with_signer(chain: str, **defect: Any) -> World:
    odd = INTEL.with_certificate("tcb_signing", **defect)
    return with_members(**{chain: odd.chain_pem("tcb_signing")})


def signed_by(key: Any, text: str) -> str:
    return raw_signature(key, text.encode()).hex()


def test_good_collateral_passes_every_check() -> None:
    checked = check_collateral(parsed(healthy().collateral), ROOTS)
    assert [(finding.id, finding.verdict) for finding in checked.findings] == [
        ("collateral.root_crl", "pass"),
        ("collateral.pck_crl_chain", "pass"),
        ("collateral.tcb_info_chain", "pass"),
        ("collateral.tcb_info_signer", "pass"),
        ("collateral.tcb_info_signature", "pass"),
        ("collateral.qe_identity_chain", "pass"),
        ("collateral.qe_identity_signer", "pass"),
        ("collateral.qe_identity_signature", "pass"),
    ]
    assert checked.root == INTEL.root_der
    assert (checked.tcb_info.evaluation_number, checked.qe_identity.mr_signer) == (20, QE_MRSIGNER)


def test_old_genuine_collateral_replayed() -> None:
    """Time is the appraisal's: it has the dates of all that was used, of which none is compared here."""
    old = {"info": tcb_info(issued=NOW - timedelta(days=900)), "identity": qe_identity(issued=NOW + timedelta(days=9))}
    found = {window.what: window for window in verified(world(collateral=old)).windows}
    assert list(found) == [
        "PCK certificate",
        "PCK CA",
        "TCB info's signer",
        "Intel's root",
        "QE identity's signer",
        "TCB info",
        "QE identity",
        "root CRL",
        "PCK CRL",
    ]
    assert (found["TCB info"].begin, found["TCB info"].end) == (
        NOW - timedelta(days=900),
        NOW - timedelta(days=870),
    )
    assert found["QE identity"].begin == NOW + timedelta(days=9)
    assert found["PCK CRL"].end == NOW + timedelta(days=29)
    assert found["PCK certificate"].end == healthy().pck.certificate.not_valid_after_utc
    assert {what for what, window in found.items() if window.kind == "document"} == {
        "TCB info",
        "QE identity",
        "root CRL",
        "PCK CRL",
    }


# signers


@pytest.mark.parametrize("name", ["tcb_info", "qe_identity"])
@pytest.mark.parametrize(
    "defect",
    [
        {"common_name": "Intel SGX TCB Signing Test"},
        {"ca": True},
        {"key_usage": False},
        {"sign_with": MALLORY},
        {"more": ((x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"\5\0"), True),)},
    ],
    ids=["name", "CA", "usage", "signed by another", "critical extension"],
)
def test_a_signer_with_a_defect(name: str, defect: dict[str, Any]) -> None:
    assert refusals(with_signer(f"{name}_issuer_chain", **defect)) == {f"collateral.{name}_chain"}


@pytest.mark.parametrize("name", ["tcb_info", "qe_identity"])
def test_chains_of_another_shape(name: str) -> None:
    signer, root, ca = INTEL.tcb_signing, INTEL.root, INTEL.platform
    chain, signature = f"collateral.{name}_chain", f"collateral.{name}_signature"
    for order in itertools.permutations((signer, root)):
        assert refusals(with_members(**{f"{name}_issuer_chain": pem(*order)})) == set()
    for wrong in ((signer, ca, root), (signer, root, root), (signer,), (signer, FOREIGN.root), (signer, ca)):
        assert refusals(with_members(**{f"{name}_issuer_chain": pem(*wrong)})) == {chain}
    assert refusals(with_members(**{f"{name}_issuer_chain": pem(root, root)})) == {chain, signature}


@pytest.mark.parametrize("name", ["tcb_info", "qe_identity"])
def test_a_document_signed_by_a_pck_ca(name: str) -> None:
    """The platform CA is Intel's, under the root, and not the one that may sign these."""
    text = healthy().collateral[name]
    members = {
        f"{name}_issuer_chain": INTEL.chain_pem("platform"),
        f"{name}_signature": signed_by(INTEL.platform.key, text),
    }
    assert refusals(with_members(**members)) == {f"collateral.{name}_chain"}


@pytest.mark.parametrize("name", ["tcb_info", "qe_identity"])
def test_a_document_signed_by_a_pck(name: str) -> None:
    """Whoever has the key of one machine's PCK cannot sign for Intel."""
    pck, text = healthy().pck, healthy().collateral[name]
    members = {f"{name}_issuer_chain": pem(pck, INTEL.root), f"{name}_signature": signed_by(pck.key, text)}
    assert refusals(with_members(**members)) == {f"collateral.{name}_chain"}


# CVE-2026-22696


ATTACKERS_QE = b"\xee" * 32


def test_qe_identity_not_verified() -> None:
    """CVE-2026-22696: an attacker's enclave, with an identity that the attacker wrote, in each way to sign it."""
    mine = qe_identity(mrsigner=ATTACKERS_QE)
    attack = healthy().with_qe(mrsigner=ATTACKERS_QE)
    assert refusals(attack) == {"qe.mr_signer"}
    unsigned = {"qe_identity": mine}
    assert refusals(attack.with_members(**unsigned)) == {"collateral.qe_identity_signature"}
    by_me = {**unsigned, "qe_identity_signature": signed_by(MALLORY, mine)}
    assert refusals(attack.with_members(**by_me)) == {"collateral.qe_identity_signature"}
    foreign = {
        **unsigned,
        "qe_identity_signature": FOREIGN.sign(mine),
        QE_CHAIN: FOREIGN.chain_pem("tcb_signing"),
    }
    assert refusals(attack.with_members(**foreign)) == {"collateral.qe_identity_chain"}
    genuine_chain = {**foreign, QE_CHAIN: INTEL.chain_pem("tcb_signing")}
    assert refusals(attack.with_members(**genuine_chain)) == {"collateral.qe_identity_signature"}


@pytest.mark.parametrize("name", ["tcb_info", "qe_identity"])
def test_a_document_with_a_changed_byte(name: str) -> None:
    text = healthy().collateral[name]
    for old, new in (("2026-05-15", "2026-06-15"), ("Revoked", "UpToDate"), (":20,", ":21,")):
        if old not in text:
            continue
        assert refusals(with_members(**{name: text.replace(old, new)})) == {f"collateral.{name}_signature"}
    for spaced in (text.replace(",", ", ", 1), text + "\n", " " + text):
        assert refusals(with_members(**{name: spaced})) == {f"collateral.{name}_signature"}


@pytest.mark.parametrize("name", ["tcb_info", "qe_identity"])
def test_the_signature_is_over_the_very_bytes_and_not_over_the_values(name: str) -> None:
    """A document that Intel writes with spaces is signed with them."""
    text = json.dumps(json.loads(healthy().collateral[name]), indent=2)
    assert refusals(with_members(**{name: text, f"{name}_signature": INTEL.sign(text)})) == set()


def test_the_two_documents_do_not_stand_in_for_each_other() -> None:
    own = healthy().collateral
    swapped = {"tcb_info_signature": own["qe_identity_signature"], "qe_identity_signature": own["tcb_info_signature"]}
    assert refusals(with_members(**swapped)) == {"collateral.tcb_info_signature", "collateral.qe_identity_signature"}
    with pytest.raises(FormatError, match="TCB info"):
        verified(with_members(tcb_info=own["qe_identity"], tcb_info_signature=own["qe_identity_signature"]))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"id": "SGX"}, "TCB info: id is 'SGX'"),
        ({"version": 2}, "TCB info: version is 2"),
        ({"extra": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}, "nested more than 32 deep"),
    ],
)
def test_json_that_intel_did_sign_and_that_is_not_for_this(members: dict[str, Any], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        verified(world(collateral={"info": tcb_info(members=members)}))


def test_a_member_twice() -> None:
    text = tcb_info().replace('"tcbType":0', '"tcbType":0,"tcbType":0')
    with pytest.raises(FormatError, match="key occurs twice"):
        verified(world(collateral={"info": text}))


# revocation


def test_revocation_off_by_default() -> None:
    """Each of the four kinds of certificate that Intel can revoke, with no switch to say so."""
    leaf, ca, signer = healthy().pck.serial, INTEL.platform.serial, INTEL.tcb_signing.serial
    assert refusals(healthy().with_collateral(revoked=[leaf])) == {"pck.revoked"}
    assert refusals(healthy().with_collateral(revoked=[1, leaf, 2])) == {"pck.revoked"}
    assert refusals(healthy().with_collateral(revoked=[1, 2], revoked_by_root=[3])) == set()
    assert refusals(healthy().with_collateral(revoked_by_root=[ca])) == {"pck.ca_revoked", "collateral.pck_crl_chain"}
    without = healthy().with_collateral(revoked_by_root=[ca], override={"pck_crl_issuer_chain": ""})
    assert refusals(without) == {"pck.ca_revoked"}
    assert refusals(healthy().with_collateral(revoked_by_root=[signer])) == {
        "collateral.tcb_info_signer",
        "collateral.qe_identity_signer",
    }


def test_two_signers_of_which_one_is_revoked() -> None:
    """Intel re-issued its signer with the same serial; another serial is another certificate."""
    second = INTEL.with_certificate("tcb_signing", serial=99)
    world_of = with_members(**{TCB_CHAIN: second.chain_pem("tcb_signing")})
    assert refusals(world_of.with_members(root_ca_crl=INTEL.crl("root", [99]).hex())) == {"collateral.tcb_info_signer"}


def test_a_serial_on_the_wrong_list_revokes_nobody() -> None:
    leaf, ca = healthy().pck.serial, INTEL.platform.serial
    assert refusals(healthy().with_collateral(revoked=[ca], revoked_by_root=[leaf])) == set()


PCK_LISTS = [
    ("of the other CA", INTEL.crl("processor"), {"pck.crl", "collateral.pck_crl_chain"}),
    ("of the root", INTEL.crl("root"), {"pck.crl", "collateral.pck_crl_chain"}),
    ("by another key", INTEL.crl("platform", sign_with=MALLORY), {"pck.crl", "collateral.pck_crl_chain"}),
    (
        "by the other CA in this one's name",
        INTEL.crl("processor", issuer_name="Intel SGX PCK Platform CA"),
        {"pck.crl", "collateral.pck_crl_chain"},
    ),
    ("of a foreign Intel", FOREIGN.crl("platform"), {"pck.crl", "collateral.pck_crl_chain"}),
    (
        "for a part only",
        INTEL.crl(
            "platform",
            more=[(x509.IssuingDistributionPoint(None, None, True, False, None, False, False), True)],
        ),
        {"pck.crl", "collateral.pck_crl_chain"},
    ),
]


@pytest.mark.parametrize(("crl", "wanted"), [row[1:] for row in PCK_LISTS], ids=[row[0] for row in PCK_LISTS])
def test_a_pck_list(crl: bytes, wanted: set[str]) -> None:
    assert refusals(with_members(pck_crl=crl.hex())) == wanted
    assert refusals(with_members(pck_crl=crl.hex(), pck_crl_issuer_chain="")) == {"pck.crl"}


def test_a_list_of_the_other_ca_with_its_own_chain() -> None:
    """All of it is Intel's; it only says nothing of this PCK certificate."""
    members = {"pck_crl": INTEL.crl("processor").hex(), "pck_crl_issuer_chain": INTEL.chain_pem("processor")}
    assert refusals(with_members(**members)) == {"pck.crl"}


def test_a_foreign_chain_with_a_genuine_list() -> None:
    chain = FOREIGN.chain_pem("platform")
    assert refusals(with_members(pck_crl_issuer_chain=chain)) == {"collateral.pck_crl_chain"}
    foreign = with_members(pck_crl_issuer_chain=chain, pck_crl=FOREIGN.crl("platform").hex())
    assert refusals(foreign) == {"collateral.pck_crl_chain", "pck.crl"}


@pytest.mark.parametrize("chain", ["", " \n"])
def test_a_list_without_a_chain_is_judged_by_the_quotes(chain: str) -> None:
    assert refusals(with_members(pck_crl_issuer_chain=chain)) == set()
    assert "without a chain" in texts(with_members(pck_crl_issuer_chain=chain), "collateral.pck_crl_chain")[0]


@pytest.mark.parametrize(
    "crl",
    [
        INTEL.crl("platform"),
        INTEL.crl("root", sign_with=INTEL.platform.key),
        INTEL.crl("root", sign_with=MALLORY),
        FOREIGN.crl("root"),
    ],
    ids=["of a CA", "by a CA", "by mallory", "foreign"],
)
def test_a_root_list_that_the_root_did_not_sign(crl: bytes) -> None:
    assert refusals(with_members(root_ca_crl=crl.hex())) == {"collateral.root_crl"}


# roots


def test_collateral_of_a_foreign_intel() -> None:
    foreign = world(authority=FOREIGN)
    own = healthy().with_members(**foreign.collateral)
    chains = {"collateral.tcb_info_chain", "collateral.qe_identity_chain", "collateral.pck_crl_chain"}
    assert refusals(own) == chains | {"collateral.root_crl", "pck.crl", "pck.ca_revoked"}
    assert refusals(foreign) == chains | {"collateral.root_crl"} | PCK_CHAIN
    assert refusals(foreign, roots_of(FOREIGN)) == set()
    assert check_collateral(parsed(foreign.collateral), ROOTS).root == b""


def test_two_pinned_roots_do_not_vouch_for_each_other() -> None:
    """Either root alone is fine. Mixed, one root's list would be asked for what the other one revoked."""
    both = roots_of(INTEL, FOREIGN)
    foreign = world(authority=FOREIGN)
    assert refusals(healthy(), both) == refusals(foreign, both) == set()
    for name in ("tcb_info", "qe_identity"):
        text = healthy().collateral[name]
        mixed = {f"{name}_issuer_chain": FOREIGN.chain_pem("tcb_signing"), f"{name}_signature": FOREIGN.sign(text)}
        assert refusals(with_members(**mixed), both) == {"collateral.root_crl", "pck.ca_revoked"}
        assert "the chains end in 2 roots" in texts(with_members(**mixed), "collateral.root_crl", both)[0]
    # The PCK and its list are of one Intel, all else of the other, which did not revoke the CA.
    revoked = INTEL.crl("root", [INTEL.platform.serial])
    assert refusals(with_members(root_ca_crl=revoked.hex(), pck_crl_issuer_chain=""), both) == {"pck.ca_revoked"}
    attack = healthy().with_members(
        **{**foreign.collateral, "pck_crl": INTEL.crl("platform").hex(), "pck_crl_issuer_chain": ""}
    )
    assert refusals(attack, both) == {"pck.ca_revoked"}
    assert "not that of the PCK certificate's root" in texts(attack, "pck.ca_revoked", both)[0]


# memory


def test_a_changed_byte_is_never_answered_from_memory() -> None:
    given = parsed(healthy().collateral)
    assert not failures(check_collateral(given, ROOTS).findings)
    assert check_collateral(parsed(healthy().collateral), ROOTS) is check_collateral(given, ROOTS)
    assert check_collateral(given, ROOTS | roots_of(FOREIGN)) is not check_collateral(given, ROOTS)
    signature = bytes.fromhex(healthy().collateral["tcb_info_signature"])
    for bit in range(0, 512, 37):
        changed = with_members(tcb_info_signature=flipped(signature, bit).hex())
        assert refusals(changed) == {"collateral.tcb_info_signature"}
    assert refusals(healthy()) == set()


def test_a_processor_ca() -> None:
    assert refusals(world(ca="processor")) == set()
    assert verified(world(ca="processor")).ca == "processor"
    mixed = world(ca="processor").with_members(**healthy().collateral)
    assert refusals(mixed) == {"pck.crl"}


def test_a_pck_that_is_someone_elses_machine() -> None:
    other: Pck = INTEL.pck(ppid=bytes(16))
    assert refusals(healthy().with_pck(other)) == set()
    module = tcb_info(modules=[ModuleIdentity(3)])
    assert refusals(world(collateral={"info": module})) == {"module.identity"}
