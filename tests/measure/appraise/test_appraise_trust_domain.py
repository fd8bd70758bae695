"""What a TD report says of the trust domain: every attribute bit, XFAM, owners, service TD, module; real quotes too."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluto_measure.appraise import TdxInputs, verify_evidence
from pluto_measure.appraise.trust_domain import attribute_names, trust_domain_findings
from pluto_measure.findings import Finding
from pluto_measure.formats.collateral import Collateral
from pluto_measure.formats.quote import Quote, ServiceTds, TdReport
from pluto_measure.masked import Masked
from pluto_measure.policy.strict import STRICT
from pluto_measure.policy.tdx import TdxPolicy
from pluto_measure.verify.intel_pki import pck_chain
from simulators.intel import DEBUG, MIGRATABLE, SEPT_VE_DISABLE, TD10, TD15, TD15EX, healthy, world
from simulators.trust_domains import TrustDomain, appraised, failed, policy, rules, verdicts
from simulators.verdicts import ROOTS

# Intel TDX module ABI 348551, ATTRIBUTES: the bits that a policy can allow by name.
NAMED = {16: "ICSSD", 27: "LASS", 30: "PKS", 31: "KL", 62: "TPA", 63: "PERFMON"}
OWN = {0: "td.debug", 29: "td.migratable"}
XFAM_KNOWN = 0x6DBE7  # every feature that exists
CHECKS = ["td.debug", "td.sept_ve_disable", "td.migratable", "td.attributes", "td.xfam", "td.mr_seam",
          "td.mr_config_id", "td.mr_owner", "td.mr_owner_config", "td.service_td",
          "td.service_tds", "td.initial_platform", "td.device_info"]  # fmt: skip


def strict(**changes: Any) -> TdxPolicy:
    assert STRICT.tdx is not None
    return dataclasses.replace(STRICT.tdx, **changes)


REPORTS = {
    kind: Quote.parse(world(version=5, kind=kind).quote).report for kind in (TD10, TD15, TD15EX)
}  # as parsed, so that nobody has to believe in the simulator's offsets


QUOTE = Quote.parse(healthy().quote)
PCK = pck_chain(QUOTE.certificates, ROOTS).extension


def report(*, attributes: int = SEPT_VE_DISABLE, kind: int = TD10, **changes: Any) -> TdReport:
    return dataclasses.replace(REPORTS[kind], td_attributes=attributes.to_bytes(8, "little"), **changes)


def findings(of: TdReport, by: TdxPolicy | None = None, *, allow_debug: bool = False) -> dict[str, Finding]:
    quote = dataclasses.replace(QUOTE, report=of)
    found = list(trust_domain_findings(quote, PCK, by or strict(), allow_debug=allow_debug))
    assert [finding.id for finding in found] == CHECKS
    return {finding.id: finding for finding in found}


def bad(of: TdReport, by: TdxPolicy | None = None, *, allow_debug: bool = False) -> list[str]:
    return [check for check, item in findings(of, by, allow_debug=allow_debug).items() if item.verdict == "fail"]


@pytest.mark.parametrize("kind", [TD10, TD15, TD15EX])
def test_an_honest_report_passes(kind: int) -> None:
    assert {item.verdict for item in findings(report(kind=kind)).values()} == {"pass"}


# attributes


@pytest.mark.parametrize("bit", [bit for bit in range(64) if bit != 28])
def test_every_bit_alone_is_refused_by_one_finding(bit: int) -> None:
    assert bad(report(attributes=SEPT_VE_DISABLE | 1 << bit)) == [OWN.get(bit, "td.attributes")]
    assert bad(report(attributes=1 << bit)) == sorted(
        ["td.sept_ve_disable", OWN.get(bit, "td.attributes")], key=CHECKS.index
    )


@pytest.mark.parametrize("bit", range(64))
def test_a_policy_allows_a_bit_by_its_name_and_no_other(bit: int) -> None:
    of = report(attributes=SEPT_VE_DISABLE | 1 << bit)
    for allowed, name in NAMED.items():
        expected = [] if bit in (28, allowed) else [OWN.get(bit, "td.attributes")]
        assert bad(of, strict(allowed_attributes=(name,))) == expected
    everything = strict(allowed_attributes=tuple(NAMED.values()), allow_migratable=True, sept_ve_disable="any")
    expected = [] if bit in (0, 28, 29, *NAMED) else ["td.attributes"]
    assert bad(of, everything, allow_debug=True) == expected


def test_what_a_policy_allows_beside_the_names_is_a_warning() -> None:
    of = report(attributes=DEBUG | MIGRATABLE)
    found = findings(of, strict(allow_migratable=True, sept_ve_disable="any"), allow_debug=True)
    assert [check for check, item in found.items() if item.verdict == "warning"] == CHECKS[:3]
    assert bad(of) == CHECKS[:3]
    honest = findings(report(), strict(allow_migratable=True, sept_ve_disable="any"), allow_debug=True)
    assert {item.verdict for item in honest.values()} == {"pass"}


def test_the_rest_of_the_bits_under_test_is_refused_by_its_name_even_where_debug_is_allowed() -> None:
    found = findings(report(attributes=SEPT_VE_DISABLE | 0x70), allow_debug=True)["td.attributes"]
    assert "HGS_PLUS_PROF, PERF_PROF, PMT_PROF" in found.text


def test_bits_without_a_name_are_told_by_their_number() -> None:
    assert attribute_names((1 << 12 | 1 << 63 | 1).to_bytes(8, "little")) == ("DEBUG", "bit 12", "PERFMON")
    found = findings(report(attributes=SEPT_VE_DISABLE | 1 << 12))["td.attributes"]
    assert "bit 12" in found.text
    assert (found.expected, found.actual) == ("none", "0x0000000010001000 bit 12 SEPT_VE_DISABLE")
    named = findings(report(), strict(allowed_attributes=("PKS", "KL")))["td.attributes"]
    assert (named.expected, named.actual) == ("PKS KL", "0x0000000010000000 SEPT_VE_DISABLE")


@given(st.integers(0, 2**64 - 1))
def test_any_attributes_are_accepted_only_where_sept_ve_disable_stands_alone(value: int) -> None:
    assert (bad(report(attributes=value)) == []) is (value == SEPT_VE_DISABLE)


# XFAM


@pytest.mark.parametrize("value", [0x3, 0x602E7, 0x600E7, 0x618E7, 0x642E7, 0x61AE7, 0x207, XFAM_KNOWN])
def test_features_that_real_machines_have_pass(value: int) -> None:
    assert bad(report(xfam=value.to_bytes(8, "little"))) == []


@pytest.mark.parametrize("bit", range(64))
def test_every_feature_bit(bit: int) -> None:
    with_bit, without = 0x3 | 1 << bit, 0x3 & ~(1 << bit)
    assert bad(report(xfam=with_bit.to_bytes(8, "little"))) == ([] if XFAM_KNOWN >> bit & 1 else ["td.xfam"])
    assert bad(report(xfam=without.to_bytes(8, "little"))) == (["td.xfam"] if bit in (0, 1) else [])


def test_a_policy_can_pin_features() -> None:
    pinned = strict(xfam=Masked(0x602E7, 2**64 - 1))
    assert bad(report(xfam=0x602E7.to_bytes(8, "little")), pinned) == []
    assert bad(report(xfam=0x602E3.to_bytes(8, "little")), pinned) == ["td.xfam"]
    assert bad(report(xfam=b"\xff" * 8), strict(xfam=Masked(0, 0))) == []


# measurements that no profile has


@pytest.mark.parametrize(
    ("field", "check"),
    [
        ("mr_owner", "td.mr_owner"),
        ("mr_owner_config", "td.mr_owner_config"),
        ("mr_config_id", "td.mr_config_id"),
        ("mr_seam", "td.mr_seam"),
    ],
)
def test_owners_configuration_and_module(field: str, check: str) -> None:
    one, two = b"\1" * 48, b"\2" * 48
    changed: dict[str, Any] = {field: one}
    of = report(**changed)
    assert bad(of, strict(**{field: (bytes(48),)})) == [check]
    assert bad(of, strict(**{field: (two, one)})) == []
    assert bad(of, strict(**{field: (two,)})) == [check]
    found = findings(of, strict(**{field: "any"}))[check]
    assert (found.verdict, found.expected, found.actual) == ("pass", "any", one.hex())


def test_the_strict_policy_wants_no_owner_and_any_configuration_and_module() -> None:
    one = b"\1" * 48
    found = bad(report(mr_owner=one, mr_owner_config=one, mr_config_id=one, mr_seam=one))
    assert found == ["td.mr_owner", "td.mr_owner_config"]


@pytest.mark.parametrize("kind", [TD15, TD15EX])
def test_a_service_td_is_refused_unless_the_policy_names_it(kind: int) -> None:
    of = report(kind=kind, mr_service_td=b"\1" * 48)
    assert bad(of) == ["td.service_td"]
    assert bad(of, strict(mr_service_td=(b"\1" * 48,))) == []
    assert bad(of, strict(mr_service_td=(b"\2" * 48,))) == ["td.service_td"]
    assert bad(of, strict(mr_service_td="any")) == []


def test_a_first_report_has_no_service_td() -> None:
    assert bad(report(), strict(mr_service_td=(b"\2" * 48,))) == []


# through the whole appraisal


def test_the_whole_appraisal_refuses_by_these_findings() -> None:
    assert failed(appraised(TrustDomain(report={"tdattributes": 0}))) == ["td.sept_ve_disable"]
    assert failed(appraised(TrustDomain(report={"mrowner": b"\1" * 48}))) == ["td.mr_owner"]
    serviced = world(version=5).with_report(mrservicetd=b"\1" * 48)
    assert failed(appraised(TrustDomain(world=serviced))) == ["td.service_td"]
    migratable = TrustDomain(report={"tdattributes": SEPT_VE_DISABLE | MIGRATABLE})
    assert failed(appraised(migratable)) == ["td.migratable"]
    assert verdicts(appraised(migratable, policy=rules(allow_migratable=True)))["td.migratable"] == "warning"
    seam = healthy().report.mrseam
    assert failed(appraised(policy=rules(mr_seam=(seam,)))) == []
    assert failed(appraised(policy=policy(allow_debug=True))) == []


# real quotes: what the expectations flag is what the strict policy refuses

FLAGS = {
    "DEBUG": "td.debug",
    "no_SEPT_VE_DISABLE": "td.sept_ve_disable",
    "PKS": "td.attributes",
    "MIGRATABLE(bit29)": "td.migratable",
    "MRSERVICETD!=0": "td.service_td",
}


def test_flags_of_real_quotes(vectors: Path) -> None:
    quotes, seen = vectors / "quotes", set()
    for row in json.loads((quotes / "derived/expectations.json").read_text()):
        collateral = Collateral.parse((quotes / f"derived/collateral/{row['collateral']}.json").read_bytes())
        at = datetime.fromtimestamp(row["time"], UTC)
        raw = (quotes / row["quote"]).read_bytes()
        appraisal = verify_evidence(raw, (), None, at, None, None, TdxInputs(collateral=collateral))
        flagged = {FLAGS[flag] for flag in row.get("flags", [])}
        assert {check for check in failed(appraisal) if check.startswith("td.")} == flagged, row["quote"]
        assert ("tcb.status" in failed(appraisal)) is (row["status"] != "UpToDate"), row["quote"]
        assert appraisal.exit_code == 5
        seen |= flagged
    assert seen == set(FLAGS.values())


def extended(**changes: bytes) -> TdReport:
    """A TD report 1.5-Ex that says what is given; what is not recorded is zero."""
    more = REPORTS[TD15EX].service_tds
    assert more is not None
    nothing = {name: bytes(len(getattr(more, name))) for name in more.__dataclass_fields__}
    return report(kind=TD15EX, service_tds=ServiceTds(**{**nothing, **changes}))


@pytest.mark.parametrize("name", ["initial_hash", "initial_attributes", "current_hash", "current_attributes"])
def test_the_extra_fields_of_td_report_15_ex_are_judged(name: str) -> None:
    """They were shown and judged by nothing, so a TD under a service TD could pass with MRSERVICETD zero."""
    size = 8 if name.endswith("attributes") else 48
    of = extended(**{name: b"\7" * size})
    assert bad(of) == ["td.service_tds"]
    assert findings(of, strict(mr_service_td="any"))["td.service_tds"].verdict == "warning"
    assert bad(of, strict(mr_service_td="any")) == []


def test_a_td_that_was_launched_elsewhere() -> None:
    here = {
        "initial_cpu_svn": (PCK.cpu_svn, QUOTE.qe_report.cpu_svn),
        "initial_tee_tcb_svn": (REPORTS[TD15EX].tee_tcb_svn,),
        "initial_fmspc": (PCK.fmspc + bytes(6), PCK.fmspc.hex().encode(), PCK.fmspc.hex().upper().encode()),
    }
    for name, values in here.items():
        for value in values:
            assert bad(extended(**{name: value})) == []
        of = extended(**{name: b"\7" * len(values[0])})
        assert bad(of) == ["td.initial_platform"]
        assert findings(of, strict(allow_migratable=True))["td.initial_platform"].verdict == "warning"


def test_devices_that_are_assigned_to_a_td_are_refused() -> None:
    assert bad(extended(device_info=b"\1" * 48)) == ["td.device_info"]
