"""One quote: each mistake that a verifier can make is refused by the finding of its id, and by no other.

Tests are named after the mistakes that other verifiers made, where there is one.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import itertools
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from pluto_measure.errors import FormatError
from pluto_measure.findings import NotAuthentic, failures
from pluto_measure.formats.quote import Quote as ParsedQuote
from pluto_measure.verify.intel_pki import INTEL_ROOTS
from pluto_measure.verify.quote import VerifiedQuote, masked, verify_quote
from simulators.intel import (
    ABSENT,
    DEBUG,
    INTEL_VENDOR,
    MIGRATABLE,
    MODULE,
    PLATFORM,
    PLATFORM_LEVELS,
    SEPT_VE_DISABLE,
    TD10,
    TD15,
    TD15EX,
    Authority,
    Machine,
    ModuleIdentity,
    World,
    encode_members,
    healthy,
    key_of,
    octets,
    qe_identity,
    raw_public,
    raw_signature,
    sgx_members,
    tcb_info,
    tee_tcb_svn,
    world,
)
from simulators.verdicts import INTEL, PCK_CHAIN, ROOTS, flipped, forget, parsed, refusals, roots_of, verified

FOREIGN = Authority.make(1)
MALLORY = key_of("mallory")
ATTESTATION = key_of("attestation key")
CHECKS = [
    "quote.vendor", "pck.chain", "qe.signature", "qe.binding", "quote.signature", "pck.crl", "pck.revoked",
    "pck.ca_revoked", "collateral.fmspc", "collateral.pceid", "qe.misc_select", "qe.attributes", "qe.mr_signer",
    "qe.isv_prod_id", "module.identity", "module.mr_signer", "module.attributes",
]  # fmt: skip


def binding(public: bytes, auth: bytes = bytes(range(32))) -> bytes:
    return hashlib.sha256(public + auth).digest() + bytes(32)


# what a verified quote says


@pytest.mark.parametrize(("version", "kind"), [(4, TD10), (5, TD10), (5, TD15), (5, TD15EX)])
@pytest.mark.parametrize("ca", ["platform", "processor"])
def test_a_genuine_quote(version: int, kind: int, ca: Any) -> None:
    given = world(version=version, kind=kind, ca=ca)
    found = verified(given)
    assert (found.quote, found.report) == (ParsedQuote.parse(given.quote), found.quote.report)
    assert (found.ca, found.root) == (ca, hashlib.sha256(INTEL.root_der).digest())
    assert (found.pck.fmspc, found.pck.ppid) == (Machine.fmspc, Machine.ppid)
    assert (found.tcb.status, found.tcb.advisories) == ("UpToDate", ())
    assert [finding.id for finding in found.findings[8:]] == CHECKS
    assert {finding.verdict for finding in found.findings} == {"pass"}


def test_a_quote_without_authentication_data() -> None:
    """As in Intel's own sample."""
    assert refusals(healthy().with_quote(auth_data=b"")) == set()


def test_trailing_bytes_are_nobodys_word() -> None:
    for trailing in (bytes(70), b"\xff" * 39, bytes(3065)):
        found = verified(healthy().with_quote(trailing=trailing))
        assert found.quote == verified(healthy()).quote


def test_header_svns_do_not_count() -> None:
    assert verified(healthy().with_quote(qe_svn=0xFFFF, pce_svn=1)).tcb == verified(healthy()).tcb


def test_all_failures_are_reported_at_once() -> None:
    bad = healthy().with_qe(isvprodid=3).with_report(mrsignerseam=b"\1" * 48).with_quote(vendor_id=bytes(16))
    with pytest.raises(NotAuthentic) as caught:
        verified(bad)
    assert [finding.id for finding in caught.value.findings[8:]] == CHECKS
    assert {finding.id for finding in failures(caught.value.findings)} == {
        "quote.vendor",
        "qe.isv_prod_id",
        "module.mr_signer",
    }
    assert "qe.isv_prod_id: the quoting enclave is not Intel's: isv_prod_id differs" in str(caught.value)
    wrong = next(finding for finding in caught.value.findings if finding.id == "qe.isv_prod_id")
    assert (wrong.expected, wrong.actual) == ("2", "3")


# the chain of trust of the attestation key


def test_qe_vendor_id_unchecked() -> None:
    assert refusals(healthy().with_quote(vendor_id=bytes(16))) == {"quote.vendor"}
    assert refusals(healthy().with_quote(vendor_id=flipped(INTEL_VENDOR, 127))) == {"quote.vendor"}


def test_root_check_by_name_or_by_self_consistency() -> None:
    """A foreign Intel with the same names throughout, whose whole chain, quote and QE report agree."""
    foreign = FOREIGN.pck()
    assert refusals(healthy().with_pck(foreign)) == PCK_CHAIN
    with_our_root = healthy().with_pck(foreign).with_quote(chain=(foreign, FOREIGN.platform, INTEL.root))
    assert refusals(with_our_root) == PCK_CHAIN
    renamed = FOREIGN.with_certificate("platform", more=())
    assert refusals(healthy().with_pck(renamed.pck()), ROOTS | roots_of(FOREIGN)) == {"pck.crl", "pck.ca_revoked"}


def test_the_pinned_root_is_the_default() -> None:
    with pytest.raises(NotAuthentic) as caught:
        verify_quote(ParsedQuote.parse(healthy().quote), parsed(healthy().collateral))
    found = {finding.id for finding in failures(caught.value.findings)}
    assert found > PCK_CHAIN
    assert refusals(healthy(), INTEL_ROOTS) == found
    assert refusals(healthy(), ROOTS | INTEL_ROOTS) == set()


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_certificates_in_any_order(order: tuple[int, ...]) -> None:
    chain = [healthy().pck.chain[index] for index in order]
    assert refusals(healthy().with_quote(chain=chain)) == set()


def test_a_fourth_certificate_a_missing_one_a_second_root() -> None:
    leaf, ca, root = healthy().pck.chain
    for chain in (
        (leaf, ca, root, INTEL.processor),
        (leaf, ca, root, root),
        (leaf, root),
        (leaf, ca),
        (leaf, root, root),
    ):
        assert refusals(healthy().with_quote(chain=chain)) == PCK_CHAIN
    for chain in ((leaf, leaf, ca, root), (ca, root)):
        with pytest.raises(FormatError, match="PCK certificates, not one"):
            refusals(healthy().with_quote(chain=chain))


def test_a_leaf_with_a_key_on_another_curve() -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    assert refusals(healthy().with_pck(INTEL.pck(key=key)).with_quote(qe_sign_with=MALLORY)) == PCK_CHAIN | {
        "qe.signature"
    }


def test_a_pck_without_its_members_is_a_format_error() -> None:
    extension = encode_members([item for item in sgx_members(Machine()) if item[0] != "4"])
    with pytest.raises(FormatError, match="FMSPC is missing"):
        refusals(healthy().with_pck(INTEL.pck(extension=extension)))
    short = encode_members([*sgx_members(Machine())[:3], ("4", octets(bytes(5))), *sgx_members(Machine())[4:]])
    with pytest.raises(FormatError, match="FMSPC has 5 bytes"):
        refusals(healthy().with_pck(INTEL.pck(extension=short)))


def test_a_qe_report_that_another_key_signed() -> None:
    assert refusals(healthy().with_quote(qe_sign_with=MALLORY)) == {"qe.signature"}
    assert refusals(healthy().with_quote(qe_sign_with=ATTESTATION)) == {"qe.signature"}
    assert refusals(healthy().with_quote(qe_signature=bytes(64))) == {"qe.signature"}
    # The chain of another machine of the same kind, Intel's too.
    assert refusals(healthy().with_quote(chain=INTEL.pck(ppid=bytes(16)).chain)) == {"qe.signature"}


def test_an_attestation_key_that_the_enclave_did_not_name() -> None:
    assert refusals(healthy().with_quote(attestation_key=MALLORY)) == set()  # the pretend enclave names any key
    named = binding(raw_public(ATTESTATION))
    stolen = healthy().with_quote(attestation_key=MALLORY, qe_report_data=named)
    assert refusals(stolen) == {"qe.binding"}
    assert refusals(healthy().with_quote(auth_data=bytes(32), qe_report_data=named)) == {"qe.binding"}


def test_only_half_of_the_binding_compared() -> None:
    named = binding(raw_public(ATTESTATION))
    for bit in (0, 255, 256, 511):
        assert refusals(healthy().with_quote(qe_report_data=flipped(named, bit))) == {"qe.binding"}
    assert refusals(healthy().with_quote(qe_report_data=bytes(64))) == {"qe.binding"}


def test_a_quote_that_another_key_signed() -> None:
    assert refusals(healthy().with_quote(sign_with=MALLORY)) == {"quote.signature"}
    assert refusals(healthy().with_quote(signature=bytes(64))) == {"quote.signature"}


@pytest.mark.parametrize("point", [bytes(64), b"\xff" * 64, bytes(63) + b"\1"])
def test_an_attestation_key_off_the_curve(point: bytes) -> None:
    assert refusals(healthy().with_quote(public_key=point)) == {"quote.signature"}


def test_the_body_descriptor_of_version_5_is_signed() -> None:
    """A TD report 1.5 cut down to 1.0: the same bytes up to there, another descriptor."""
    long = world(version=5, kind=TD15)
    short = long.with_report(kind=TD10)
    old = ParsedQuote.parse(long.quote).signature
    assert refusals(short) == set()
    assert refusals(short.with_quote(signature=old)) == {"quote.signature"}
    # And a signature over header and body alone, as version 4 has it.
    whole = short.parts.signed()
    signature = raw_signature(ATTESTATION, whole[:48] + whole[54:])
    assert refusals(short.with_quote(signature=signature)) == {"quote.signature"}


# the quoting enclave


@pytest.mark.parametrize(
    ("enclave", "identity", "wanted"),
    [
        ({"miscselect": 1}, {}, {"qe.misc_select"}),
        ({"miscselect": 1}, {"miscselect": b"\1\0\0\0"}, set()),  # bytes as they lie in the report
        ({"miscselect": 1}, {"miscselect": b"\0\0\0\1"}, {"qe.misc_select"}),
        ({"miscselect": 0xF0}, {"miscselect_mask": b"\x0f\0\0\0"}, set()),
        ({"miscselect": 0x1F0}, {"miscselect_mask": b"\x0f\1\0\0"}, {"qe.misc_select"}),
        ({}, {"miscselect": b"\1\0\0\0", "miscselect_mask": b"\1\0\0\0"}, {"qe.misc_select"}),
        ({}, {"miscselect": b"\1\0\0\0", "miscselect_mask": bytes(4)}, {"qe.misc_select"}),  # a bit outside the mask
        ({"mrsigner": bytes(32)}, {}, {"qe.mr_signer"}),
        ({}, {"mrsigner": bytes(32)}, {"qe.mr_signer"}),
        ({"isvprodid": 1}, {}, {"qe.isv_prod_id"}),
        ({"isvprodid": 0x0200}, {}, {"qe.isv_prod_id"}),
        ({"cpusvn": b"\xff" * 16, "mrenclave": bytes(32)}, {}, set()),  # not part of the identity
    ],
)
def test_the_enclaves_identity(enclave: dict[str, Any], identity: dict[str, Any], wanted: set[str]) -> None:
    given = healthy().with_qe(**enclave).with_collateral(identity=qe_identity(**identity))
    assert refusals(given) == wanted


def test_every_attribute_of_the_enclave_under_the_mask() -> None:
    """The default mask leaves bit 2 (MODE64BIT) and XFRM free; DEBUG, bit 1, is not."""
    attributes, free = healthy().parts.qe_report.attributes, {2, *range(64, 128)}
    for bit in range(128):
        wanted = set() if bit in free else {"qe.attributes"}
        assert refusals(healthy().with_qe(attributes=flipped(attributes, bit))) == wanted


def test_masks_want_values_of_one_length() -> None:
    assert masked(b"\xf0\xff", b"\xff\x0f") == b"\xf0\x0f"
    with pytest.raises(ValueError, match="shorter"):
        masked(b"\xff\xff", b"\xff")


def test_stops_before_the_qe_identity_check_when_tcb_is_out_of_date() -> None:
    late = world(platform="OutOfDate", module="OutOfDate")
    assert verified(late).tcb.status == "OutOfDate"
    assert refusals(late.with_qe(isvprodid=1)) == {"qe.isv_prod_id"}
    assert refusals(late.with_qe(mrsigner=bytes(32))) == {"qe.mr_signer"}
    assert refusals(world(platform="Revoked").with_qe(attributes=bytes(16))) == {"qe.attributes"}


# the platform


def test_fmspc_or_pceid_not_compared() -> None:
    fmspc = tcb_info(fmspc=bytes.fromhex("90c06f000000"))
    assert refusals(healthy().with_collateral(info=fmspc)) == {"collateral.fmspc"}
    assert refusals(healthy().with_collateral(info=tcb_info(pceid=b"\1\0"))) == {"collateral.pceid"}
    both = world(machine={"pceid": b"\1\0", "fmspc": bytes(6)})
    assert refusals(both) == {"collateral.fmspc", "collateral.pceid"}
    assert refusals(both.with_collateral(info=tcb_info(pceid=b"\1\0", fmspc=bytes(6)))) == set()


def test_only_platform_ca() -> None:
    assert verified(world(ca="processor")).ca == "processor"


def test_tcb_status_is_a_fact_and_no_failure() -> None:
    """Thrown away by callers elsewhere: here it is in the result, and nothing here accepts it."""
    for status in PLATFORM:
        assert verified(world(platform=status)).tcb.status == status


def test_module_status_hides_an_out_of_date_platform() -> None:
    """A module of version 1 that is UpToDate says nothing of the platform below it."""
    assert verified(world(platform="OutOfDate", module="UpToDate")).tcb.status == "OutOfDate"
    assert verified(world(platform="Revoked", module="UpToDate")).tcb.status == "Revoked"


def test_convergence_overwrote_relaunch_status() -> None:
    td = world(module="OutOfDate", module_now="UpToDate")
    assert verified(td).tcb.status == "TDRelaunchAdvised"
    # An enclave that is out of date is so now, too: launching again does not help.
    assert verified(world(module="OutOfDate", module_now="UpToDate", qe="OutOfDate")).tcb.status == "OutOfDate"
    assert verified(world(module="OutOfDate", module_now="UpToDate", qe="Revoked")).tcb.status == "Revoked"


def test_convergence_reacts_only_to_two_statuses() -> None:
    for platform, wanted in (
        ("SWHardeningNeeded", "OutOfDate"),
        ("ConfigurationNeeded", "OutOfDateConfigurationNeeded"),
        ("ConfigurationAndSWHardeningNeeded", "OutOfDateConfigurationNeeded"),
    ):
        assert verified(world(platform=platform, qe="OutOfDate")).tcb.status == wanted


def test_debug_and_other_attributes_are_for_the_appraisal() -> None:
    found = verified(healthy().with_report(tdattributes=DEBUG | MIGRATABLE | SEPT_VE_DISABLE))
    assert found.report.td_attributes == (DEBUG | MIGRATABLE | SEPT_VE_DISABLE).to_bytes(8, "little")


def test_component_lists_of_unequal_length() -> None:
    for svns in ((9,) * 15, (9,) * 17, ()):
        both: tuple[dict[str, Any], ...] = ({"tdx": svns}, {"sgx": svns})
        for changes in both:
            levels = [replace(PLATFORM_LEVELS[0], **changes), *PLATFORM_LEVELS[1:]]
            with pytest.raises(FormatError, match=r"16 components|not 1 to"):
                verified(healthy().with_collateral(info=tcb_info(levels=levels)))


# the TDX module


def test_no_tdx_module_identity_evaluation() -> None:
    assert refusals(healthy().with_report(tee_tcb_svn=tee_tcb_svn(version=2))) == {"module.identity"}
    without = tcb_info(members={"tdxModuleIdentities": []})
    with pytest.raises(FormatError, match="tdxModuleIdentities has 0 members"):
        refusals(healthy().with_collateral(info=without))
    absent = healthy().with_collateral(info=tcb_info(members={"tdxModuleIdentities": ABSENT}))
    assert refusals(absent) == {"module.identity"}
    version_0 = absent.with_report(tee_tcb_svn=tee_tcb_svn(version=0))
    assert refusals(version_0) == set()
    assert verified(version_0).tcb.launch.module is None


@pytest.mark.parametrize("version", [0, 1, 3])
def test_somebody_elses_tdx_module(version: int) -> None:
    given = healthy().with_report(tee_tcb_svn=tee_tcb_svn(version=version))
    assert refusals(given) == set()
    for bit in (0, 191, 383):
        assert refusals(given.with_report(mrsignerseam=flipped(bytes(48), bit))) == {"module.mr_signer"}


def test_each_module_is_held_to_its_own_identity() -> None:
    signers = {0: b"\1" * 48, 1: b"\2" * 48, 3: b"\3" * 48}
    info = tcb_info(
        mrsignerseam=signers[0],
        modules=[ModuleIdentity(3, mrsigner=signers[3]), ModuleIdentity(1, mrsigner=signers[1])],
    )
    for version, signer in itertools.product(signers, signers.values()):
        svn = tee_tcb_svn(MODULE["UpToDate"], version)
        given = healthy().with_report(tee_tcb_svn=svn, mrsignerseam=signer).with_collateral(info=info)
        assert refusals(given) == (set() if signers[version] == signer else {"module.mr_signer"})


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("mask", [b"\xff" * 8, bytes(8)])
def test_seam_attributes_mask_skipped(version: int, mask: bytes) -> None:
    """A production module has none at all; a mask of zeros does not make one of the others."""
    info = tcb_info(modules=[ModuleIdentity(1, attributes_mask=mask)], seam_attributes_mask=mask)
    given = healthy().with_report(tee_tcb_svn=tee_tcb_svn(version=version)).with_collateral(info=info)
    assert refusals(given) == set()
    for bit in range(64):
        assert refusals(given.with_report(seamattributes=flipped(bytes(8), bit))) == {"module.attributes"}


def test_an_identity_that_wants_attributes_fits_no_module() -> None:
    odd = healthy().with_collateral(info=tcb_info(modules=[ModuleIdentity(1, attributes=b"\1" + bytes(7))]))
    assert refusals(odd) == {"module.attributes"}
    assert refusals(odd.with_report(seamattributes=b"\1" + bytes(7))) == {"module.attributes"}


# the result cannot be made by hand; nothing is remembered wrongly


def test_only_verify_quote_makes_a_verified_quote() -> None:
    found = verified(healthy())
    values = {item.name: getattr(found, item.name) for item in dataclasses.fields(found)}
    for mint in (None, object(), True):
        with pytest.raises(TypeError, match="only verify_quote"):
            VerifiedQuote(**values, _mint=mint)
    with pytest.raises(TypeError, match="_mint"):
        VerifiedQuote(**values)
    with pytest.raises((TypeError, ValueError), match="_mint"):
        dataclasses.replace(found, ca="processor")  # type: ignore[call-arg]
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.ca = "processor"  # type: ignore[misc]
    assert copy.copy(found) == found


VARIANTS: list[World] = [
    healthy(),
    world(ca="processor"),
    world(version=5, kind=TD15EX),
    healthy().with_quote(qe_sign_with=MALLORY),
    healthy().with_pck(FOREIGN.pck()),
    healthy().with_collateral(revoked=[healthy().pck.serial]),
    healthy().with_members(pck_crl=INTEL.crl("processor").hex()),
]


def test_the_same_verdict_from_memory_and_from_scratch() -> None:
    fresh = []
    for given in VARIANTS:
        forget()
        fresh.append(refusals(given))
    for _ in range(2):
        assert [refusals(given) for given in VARIANTS] == fresh
    for first, second in itertools.permutations(range(len(VARIANTS)), 2):
        forget()
        assert (refusals(VARIANTS[first]), refusals(VARIANTS[second])) == (fresh[first], fresh[second])
