"""Our verdicts beside those of dcap-qvl and go-tdx-guest, over quotes of the pretend Intel, whose root all are given.

Each row says what we make of a quote, and what each peer says where that is something else. go-tdx-guest accepts
UpToDate and nothing else, so there its words for a refusal stand in every other row.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

import pytest

from interop.verdicts import Given, Go, Ours, Python, ask, judge
from simulators.intel import (
    DEBUG,
    KL,
    MIGRATABLE,
    NOW,
    PERFMON,
    PKS,
    SEPT_VE_DISABLE,
    TD10,
    TD15,
    TD15EX,
    Authority,
    Machine,
    World,
    key_of,
    tcb_info,
    tee_tcb_svn,
    world,
)

pytestmark = pytest.mark.interop

INTEL: Final = Authority.make()
FMSPC: Final = bytes.fromhex("305060000000")  # the same in upper and lower case, which go-tdx-guest tells apart
SAME = ""  # as we say
CHAIN = "Failed to verify certificate chain"
LEVEL = 'TCB Status is not "UpToDate", found "{}"'
MODULE = 'TDX Module TCB Status is not "UpToDate", found "{}"'
ENCLAVE = "QE Identity reported by Intel PCS failed TCB status check: " + LEVEL
FIFTH = "quote format not supported"  # go-tdx-guest reads version 4 alone
REVOKED = "TCB status is invalid: Revoked"  # dcap-qvl: an error where we have a status
ACCEPTED = "UpToDate"  # said by a peer of what we refuse


@dataclass(frozen=True, slots=True)
class Row:
    """A quote, our status or the checks that fail, and words of the peers' answers."""

    name: str
    world: World
    ours: str
    dcap: str = SAME
    go: str = SAME


def machine(*, components: tuple[int, ...] | None = None, info: dict[str, Any] | None = None, **changes: Any) -> World:
    """A world whose FMSPC has no letters; `info` changes its TCB info."""
    described: dict[str, Any] = {"fmspc": FMSPC} | ({} if components is None else {"components": components})
    collateral = {"info": tcb_info(fmspc=FMSPC, **(info or {})), **changes.pop("collateral", {})}
    return world(machine=described, collateral=collateral, **changes)


HEALTHY: Final = machine()


def pck(**dates: Any) -> World:
    return HEALTHY.with_pck(INTEL.pck(fmspc=FMSPC, components=HEALTHY.pck.machine.components, **dates))


def attributes(bits: int) -> World:
    return HEALTHY.with_report(tdattributes=bits)


def statuses() -> Iterator[Row]:
    """The status matrix, where its statuses meet."""
    yield Row("everything up to date", HEALTHY, "UpToDate")
    for status in ("SWHardeningNeeded", "ConfigurationNeeded", "ConfigurationAndSWHardeningNeeded", "OutOfDate",
                   "OutOfDateConfigurationNeeded"):  # fmt: skip
        yield Row(f"platform {status}", machine(platform=status), status, go=LEVEL.format(status))
    late, both = "OutOfDate", "OutOfDateConfigurationNeeded"
    yield Row("platform revoked", machine(platform="Revoked"), "Revoked", REVOKED, LEVEL.format("Revoked"))
    yield Row("module late", machine(module=late), late, go=MODULE.format(late))
    yield Row("module revoked", machine(module="Revoked"), "Revoked", REVOKED, MODULE.format("Revoked"))
    yield Row("QE late", machine(qe=late), late, go=ENCLAVE.format(late))
    yield Row("QE revoked", machine(qe="Revoked"), "Revoked", REVOKED, ENCLAVE.format("Revoked"))
    hard, configure = "SWHardeningNeeded", "ConfigurationNeeded"
    yield Row("module late, hardening", machine(platform=hard, module=late), late, go=MODULE.format(late))
    yield Row("QE late, configuration", machine(platform=configure, qe=late), both, go=LEVEL.format(configure))
    low = machine(components=(1, *Machine.components[1:]))
    yield Row("no level", low, "TCB_NOT_SUPPORTED", "No matching TCB level found", "no matching TCB level found")
    yield Row("module of version 0", machine(report={"tee_tcb_svn": tee_tcb_svn(5, 0)}), "UpToDate")
    # Intel's own library gives the result at launch, unless the module as it is now is better.
    yield Row("now worse than at launch", machine(module_now=late), "UpToDate", go=FIFTH)
    yield Row("revoked since its launch", machine(module=late, module_now="Revoked"), late, REVOKED, FIFTH)
    for platform, status in (
        ("UpToDate", "TDRelaunchAdvised"), (hard, "TDRelaunchAdvised"), (late, late),
        (configure, "TDRelaunchAdvisedConfigurationNeeded"),
    ):  # fmt: skip
        yield Row(f"relaunch, {platform}", machine(platform=platform, module=late, module_now="UpToDate"), status,
                  go=FIFTH)  # fmt: skip


def shapes() -> Iterator[Row]:
    for name, kind in (("1.0", TD10), ("1.5", TD15), ("1.5-Ex", TD15EX)):
        yield Row(f"version 5, TD report {name}", machine(version=5, kind=kind), "UpToDate", go=FIFTH)
    known = '"Intel SGX PCK Processor CA" is not expected'
    yield Row("Processor CA", machine(ca="processor"), "UpToDate", go=known)
    yield Row("bytes after the quote", HEALTHY.with_quote(trailing=b"x" * 39), "UpToDate")
    turned = HEALTHY.with_quote(chain=tuple(reversed(HEALTHY.pck.chain)))
    yield Row("chain from the root down", turned, "UpToDate", CHAIN, "PCK certificate extensions length found 5")
    more = HEALTHY.with_quote(chain=(*HEALTHY.pck.chain, INTEL.processor))
    chain = "pck.ca_revoked pck.chain pck.crl pck.revoked"
    yield Row("a fourth certificate", more, chain, ACCEPTED, "unexpected trailing bytes were found")
    without = HEALTHY.with_members(pck_crl_issuer_chain="")
    yield Row("collateral without the CA's chain", without, "UpToDate", go="issuer chain certificates missing")
    yield Row("FMSPC in upper case", world(), "UpToDate", go="is not equal to FMSPC value")


def forgeries() -> Iterator[Row]:
    mallory = key_of("mallory")
    yield Row("signature of the quote", HEALTHY.with_quote(sign_with=mallory), "quote.signature",
              "ISV enclave report signature is invalid", "unable to verify message digest")  # fmt: skip
    yield Row("signature of the QE report", HEALTHY.with_quote(qe_sign_with=mallory), "qe.signature",
              "Signature is invalid for qe_report in quote", "error verifying QE report signature")  # fmt: skip
    yield Row("other attestation key", HEALTHY.with_quote(qe_report_data=bytes(64)), "qe.binding",
              "QE report hash mismatch", "error verifying QE report data")  # fmt: skip
    newer = {
        name: HEALTHY.collateral[name].replace(f'Number":{20}', f'Number":{21}') for name in ("tcb_info", "qe_identity")
    }
    for name, theirs in (("tcb_info", "tcbInfo"), ("qe_identity", "QeIdentity")):
        yield Row(f"signature of {name}", HEALTHY.with_members(**{name: newer[name]}), f"collateral.{name}_signature",
                  f"Signature is invalid for {name}", f"{theirs} response verification failed")  # fmt: skip
    yield Row("QE of somebody else", HEALTHY.with_quote(vendor_id=bytes(16)), "quote.vendor",
              "Unknown QE vendor ID", ACCEPTED)  # fmt: skip
    for name, changed, dcap, go in (
        ("mr_signer", {"mrsigner": bytes(32)}, "QE MRSIGNER mismatch", "MRSIGNER value"),
        ("attributes", {"attributes": b"\x17" + bytes(15)}, "QE report validation failed", "AttributesMask value"),
        ("isv_prod_id", {"isvprodid": 1}, "QE ISVPRODID mismatch", "ISV PRODID value"),
        ("misc_select", {"miscselect": 1}, "QE MISCSELECT mismatch", "MISCSELECT value"),
    ):
        yield Row(f"QE by {name}", HEALTHY.with_qe(**changed), f"qe.{name}", dcap, go)
    yield Row("module unknown", machine(report={"tee_tcb_svn": tee_tcb_svn(7, 9)}), "module.identity",
              "TDX module TCB level check", "could not find a TDX Module Identity")  # fmt: skip
    yield Row("module of somebody else", HEALTHY.with_report(mrsignerseam=b"\1" * 48), "module.mr_signer",
              "TDX module identity check", "MRSIGNERSEAM value")  # fmt: skip
    yield Row("module for tests", HEALTHY.with_report(seamattributes=b"\1" + bytes(7)), "module.attributes",
              "TDX module identity check", "AttributesMask value")  # fmt: skip
    other = HEALTHY.with_pck(INTEL.pck(fmspc=bytes(6), components=HEALTHY.pck.machine.components))
    yield Row("other platform", other, "collateral.fmspc", "Fmspc mismatch", "is not equal to FMSPC value")


def revocations() -> Iterator[Row]:
    ours = "pck.revoked"
    gone = machine(collateral={"revoked": [HEALTHY.pck.serial]})
    yield Row("PCK revoked", gone, ours, CHAIN, "PCK Leaf certificate in PCK certificate chain was revoked")
    gone = machine(collateral={"revoked_by_root": [INTEL.platform.serial]})
    ours = "collateral.pck_crl_chain pck.ca_revoked"
    yield Row("CA revoked", gone, ours, CHAIN, "intermediate certificate in PCK certificate chain was revoked")
    gone = machine(collateral={"revoked_by_root": [INTEL.tcb_signing.serial]})
    ours = "collateral.qe_identity_signer collateral.tcb_info_signer"
    yield Row("signer revoked", gone, ours, CHAIN, "signing certificate was revoked")
    other = HEALTHY.with_members(pck_crl=INTEL.crl("processor").hex())
    ours = "collateral.pck_crl_chain pck.crl"
    yield Row("list of the other CA", other, ours, CHAIN, "PCK CRL verification failed")


def for_the_appraisal() -> Iterator[Row]:
    """What a verdict of Intel's does not cover. We say it beside the verdict, and the policy decides."""
    yield Row("DEBUG", attributes(SEPT_VE_DISABLE | DEBUG), "UpToDate", "Debug mode is enabled")
    yield Row("no SEPT_VE_DISABLE", attributes(0), "UpToDate", "SEPT_VE_DISABLE is not enabled")
    yield Row("MIGRATABLE", attributes(SEPT_VE_DISABLE | MIGRATABLE), "UpToDate", "TD migration is enabled")
    yield Row("PKS, KL, PERFMON", attributes(SEPT_VE_DISABLE | PKS | KL | PERFMON), "UpToDate")
    for bit in (1, 40):
        yield Row(f"bit {bit}", attributes(SEPT_VE_DISABLE | 1 << bit), "UpToDate",
                  "Reserved bits in TD attributes are set")  # fmt: skip
    served = machine(version=5).with_report(mrservicetd=b"\1" * 48)
    yield Row("service TD", served, "UpToDate", "Invalid MR service TD", FIFTH)
    day = timedelta(days=1)
    old = replace(HEALTHY, now=NOW + 40 * day)
    yield Row("documents too old", old, "UpToDate", "TCBInfo expired", "tcbInfo has expired")
    young = replace(HEALTHY, now=NOW - 5 * day)  # go-tdx-guest asks for no beginning
    yield Row("documents from the future", young, "UpToDate", "TCBInfo issue date is in the future")
    dated = "certificate has expired or is not yet valid"
    yield Row("PCK not valid yet", pck(not_before=NOW + day), "UpToDate", CHAIN, dated)
    yield Row("PCK not valid any more", pck(not_after=NOW - day), "UpToDate", CHAIN, dated)


def stranger() -> Iterator[Row]:
    """The right names under another root."""
    foreign = replace(HEALTHY, authority=Authority.make(1))
    ours = (
        "collateral.pck_crl_chain collateral.qe_identity_chain collateral.root_crl collateral.tcb_info_chain "
        "pck.ca_revoked pck.chain pck.crl pck.revoked"
    )
    yield Row("another root", foreign, ours, "Failed to parse root CA CRL", "certificate signed by unknown authority")


ROWS: Final = (*statuses(), *shapes(), *forgeries(), *revocations(), *for_the_appraisal(), *stranger())
# What our appraisal is told of the dates, beside an UpToDate.
DATES: Final = {
    "documents too old": ((), ("TCB info", "QE identity", "PCK CRL")),
    "documents from the future": (("TCB info", "QE identity", "root CRL", "PCK CRL"), ()),
    "PCK not valid yet": (("PCK certificate",), ()),
    "PCK not valid any more": ((), ("PCK certificate",)),
}


def given(row: Row) -> Given:
    made = row.world
    collateral = json.dumps(made.collateral).encode()
    return Given(row.name, made.quote, collateral, int(made.now.timestamp()), made.authority.root_der)


@pytest.fixture(scope="module")
def answers(
    tmp_path_factory: pytest.TempPathFactory, go: Go, python: Python
) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    asked = ask([given(row) for row in ROWS], tmp_path_factory.mktemp("verdicts"), go, python)
    return dict(zip((row.name for row in ROWS), asked, strict=True))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_difference_stands_in_its_row(
    row: Row, answers: dict[str, tuple[dict[str, Any], dict[str, Any]]]
) -> None:
    dcap, go = answers[row.name]
    ours = judge(given(row))
    assert ours.status == row.ours
    assert (ours.early, ours.late) == DATES.get(row.name, ((), ()))
    if row.dcap == SAME:
        assert (dcap["status"], set(dcap["advisories"])) == (ours.status, advisories(ours))
        assert dcap["evaluation"] == 20
    else:
        assert_says(dcap, row.dcap)
    assert_says(go, row.go or ours.status)


def advisories(ours: Ours) -> set[str]:
    assert ours.verified is not None
    return set(ours.verified.tcb.advisories)


def assert_says(said: dict[str, Any], words: str) -> None:
    if words == ACCEPTED:
        assert said["status"] == words
    else:
        assert words in said.get("error", ""), said
