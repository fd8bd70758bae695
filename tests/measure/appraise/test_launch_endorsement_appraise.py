"""MRTD of a Google machine by launch endorsement: every check passes and can fail, and profiles learn of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pluto_measure.appraise.launch_endorsement import (
    Candidate,
    EndorsementRules,
    genuine_of,
    judge_mrtd,
    read_endorsements,
)
from pluto_measure.collateral.endorsement_memory import EndorsementMemory
from pluto_measure.errors import FormatError
from pluto_measure.findings import Finding, failures
from pluto_measure.formats import eventlog
from pluto_measure.formats.eventlog import EventLog
from pluto_measure.formats.quote import Quote
from pluto_measure.machine.inputs import Acpi
from pluto_measure.machine.platform import Platform
from pluto_measure.measurements import Profile, measure
from pluto_measure.policy.launch_endorsement import STRICT_ENDORSEMENT, EndorsementPolicy
from pluto_measure.predict import predict
from pluto_measure.registers.reference import compare
from pluto_measure.registers.rules import RegisterRule
from pluto_measure.verify import launch_endorsement as google
from simulators import boot_logs, event_logs, machines
from simulators.endorsements import FIRMWARE_DIGEST, MADE, MRTD, NOW, ROOT, key_of, later, launch_endorsement
from simulators.launches import LAUNCH

SECOND = timedelta(seconds=1)
OTHER = b"\x99" * 48
POLICY = replace(STRICT_ENDORSEMENT, insecure_roots=(ROOT,))
EMPTY = EndorsementMemory()
# What a release says of Google's machines: MRTD by endorsement, none listed.
ENDORSED = measure(LAUNCH, machines.google(firmware=None)).profiles[0]
COMPUTED = measure(LAUNCH, machines.google()).profiles[0]
CHECKS = [
    "endorsement.given",
    "endorsement.root",
    "endorsement.certificate",
    "endorsement.validity",
    "endorsement.signature",
    "endorsement.dated",
    "endorsement.insecure_root",
    "endorsement.memory_size",
    "endorsement.early_accept",
    "endorsement.svn",
    "endorsement.timestamp",
    "endorsement.age",
    "endorsement.firmware",
    "endorsement.rollback",
]


def rules(policy: EndorsementPolicy = POLICY, **changes: Any) -> EndorsementRules:
    how: dict[str, Any] = {"at": NOW, "skew": 60, "memory": EMPTY, **changes}
    return EndorsementRules(policy=policy, **how)


def judged(
    *given: bytes, mrtd: bytes = MRTD, profile: Profile = ENDORSED, by: EndorsementRules | None = None
) -> tuple[Profile, tuple[Finding, ...]]:
    asked = by or rules()
    return judge_mrtd(profile, mrtd, read_endorsements(given, asked), asked)


def failed(findings: Sequence[Finding]) -> list[str]:
    return [finding.id for finding in failures(findings)]


def values(profile: Profile) -> list[bytes]:
    return [value["sha384"] for value in profile.registers["mrtd"].values]


def test_an_endorsed_mrtd_is_accepted_by_a_profile_that_leaves_it_to_endorsement() -> None:
    assert (ENDORSED.registers["mrtd"].source, values(ENDORSED)) == ("endorsed", [])
    found, findings = judged(launch_endorsement())
    assert [finding.id for finding in findings] == CHECKS
    assert failed(findings) == []
    assert values(found) == [MRTD]
    assert {name: rule for name, rule in found.registers.items() if name != "mrtd"} == {
        name: rule for name, rule in ENDORSED.registers.items() if name != "mrtd"
    }


def test_what_is_listed_stays_and_all_of_an_endorsement_for_this_memory_is_added() -> None:
    listed = RegisterRule("oneOf", ({"sha384": OTHER},), "endorsed")
    profile = replace(ENDORSED, registers={**ENDORSED.registers, "mrtd": listed})
    several = launch_endorsement(mrtds=((16, False, MRTD), (16, True, b"\x01" * 48), (32, False, b"\x02" * 48)))
    assert values(judged(several, profile=profile)[0]) == [OTHER, MRTD, b"\x01" * 48]
    lazy = rules(replace(POLICY, early_accept=False))
    assert values(judged(several, profile=profile, by=lazy)[0]) == [OTHER, MRTD]


def test_a_computed_mrtd_stays_and_must_be_endorsed_too() -> None:
    found, findings = judged(launch_endorsement(), profile=COMPUTED)
    assert found == COMPUTED
    assert failed(findings) == []
    assert failed(judged(profile=COMPUTED)[1]) == ["endorsement.given"]


@pytest.mark.parametrize("kind", ["qemu-tdx", "azure-tdx"])
def test_other_platforms_are_left_alone(kind: str) -> None:
    profile = replace(ENDORSED, platform=kind)
    assert judged(launch_endorsement(), profile=profile) == (profile, ())


def test_without_an_endorsement_of_this_mrtd() -> None:
    found, (finding,) = judged()
    assert (found, finding.id, finding.verdict) == (ENDORSED, "endorsement.given", "fail")
    assert finding.text.startswith("no launch endorsement was given")
    _, (finding,) = judged(launch_endorsement(), launch_endorsement(svn=3), mrtd=OTHER)
    assert (finding.verdict, finding.actual) == ("fail", OTHER.hex())
    assert finding.text.startswith("none of 2 launch endorsements names this MRTD")
    lax = rules(replace(POLICY, launch_endorsement="any"))
    found, (finding,) = judged(by=lax)
    assert (found, finding.verdict, finding.expected) == (ENDORSED, "warning", "any")
    assert failed(judged(launch_endorsement(svn=1), by=rules(replace(lax.policy, minimum_svn=2)))[1]) == [
        "endorsement.svn"
    ]


def test_of_several_the_best_counts_and_a_forged_one_hides_no_genuine_one() -> None:
    forged = launch_endorsement(sign_with=key_of("mallory"), svn=9)
    old, new = launch_endorsement(svn=1, made=later(-400)), launch_endorsement()
    asked = rules(replace(POLICY, minimum_svn=2))
    for given in ((forged, old, new), (new, forged), (old, new)):
        assert failed(judged(*given, by=asked)[1]) == []
    assert failed(judged(forged, old, by=asked)[1]) == ["endorsement.svn"]
    found, findings = judged(forged)
    assert failed(findings) == ["endorsement.signature"]
    assert [finding.id for finding in findings] == CHECKS[:6]
    assert found == ENDORSED


def test_an_older_endorsement_with_the_same_mrtd_is_no_way_around_a_floor() -> None:
    """A genuine one with an old security version does not pass because a new one exists for another MRTD."""
    old = launch_endorsement(svn=1)
    new = launch_endorsement(mrtds=((0, False, OTHER),), svn=3)
    assert failed(judged(old, new, by=rules(replace(POLICY, minimum_svn=2)))[1]) == ["endorsement.svn"]


def test_what_is_no_endorsement_is_malformed() -> None:
    with pytest.raises(FormatError, match="launch endorsement"):
        judged(b"\xff")


REFUSED: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any], list[str]]] = [
    ("for another memory", {"mrtds": ((32, False, MRTD),)}, {}, {}, ["endorsement.memory_size"]),
    ("low SVN", {"svn": 1}, {"minimum_svn": 2}, {}, ["endorsement.svn"]),
    ("the SVN of the floor", {"svn": 2}, {"minimum_svn": 2}, {}, []),
    ("made too early", {}, {"minimum_timestamp": MADE + SECOND}, {}, ["endorsement.timestamp"]),
    ("made just in time", {}, {"minimum_timestamp": MADE}, {}, []),
    ("in the future", {"made": NOW + 61 * SECOND}, {}, {}, ["endorsement.timestamp"]),
    ("a clock ahead", {"made": NOW + 60 * SECOND}, {"max_endorsement_age": 0}, {}, []),
    ("too old", {}, {"max_endorsement_age": int((NOW - MADE).total_seconds()) - 1}, {}, ["endorsement.age"]),
    ("old enough", {}, {"max_endorsement_age": int((NOW - MADE).total_seconds())}, {}, []),
    ("another firmware", {}, {"firmware": (OTHER,)}, {}, ["endorsement.firmware"]),
    ("one of the set", {}, {"firmware": (OTHER, FIRMWARE_DIGEST)}, {}, []),
    ("accepts late", {"mrtds": ((0, False, MRTD),)}, {"early_accept": True}, {}, ["endorsement.early_accept"]),
    ("accepts early", {"mrtds": ((0, True, MRTD),)}, {"early_accept": False}, {}, ["endorsement.early_accept"]),
    (
        "early for another memory only",
        {"mrtds": ((16, False, MRTD), (32, True, MRTD))},
        {"early_accept": True},
        {},
        ["endorsement.early_accept"],
    ),
    ("either", {}, {"early_accept": True}, {}, []),
    ("a lower SVN than once seen", {}, {}, {"memory": EndorsementMemory(3)}, ["endorsement.rollback"]),
    ("the SVN that was seen", {}, {}, {"memory": EndorsementMemory(2)}, []),
    (
        "older than once seen of this MRTD",
        {},
        {},
        {"memory": EndorsementMemory(2, {MRTD.hex(): MADE + SECOND})},
        ["endorsement.rollback"],
    ),
    (
        "older than once seen of another MRTD",
        {},
        {},
        {"memory": EndorsementMemory(2, {OTHER.hex(): MADE + SECOND})},
        [],
    ),
    ("nobody remembers, and must", {}, {"endorsement_memory": "required"}, {"memory": None}, ["endorsement.rollback"]),
    ("nobody remembers, and need not", {}, {}, {"memory": None}, []),
    ("expired", {}, {}, {"at": datetime(2034, 1, 1, tzinfo=UTC)}, ["endorsement.validity"]),
    (
        "not Google's",
        {},
        {"insecure_roots": ()},
        {},
        ["endorsement.root", "endorsement.certificate", "endorsement.validity"],
    ),
]


@pytest.mark.parametrize(("what", "made", "policy", "how", "expected"), REFUSED, ids=[one[0] for one in REFUSED])
def test_each_check_refuses(
    what: str, made: dict[str, Any], policy: dict[str, Any], how: dict[str, Any], expected: list[str]
) -> None:
    found, findings = judged(launch_endorsement(**made), by=rules(replace(POLICY, **policy), **how))
    assert failed(findings) == expected, what
    assert values(found) == ([] if expected else [MRTD])


def test_a_profile_without_memory_takes_what_holds_for_any() -> None:
    profile = replace(ENDORSED, inputs={})
    assert failed(judged(launch_endorsement(), profile=profile)[1]) == []
    assert failed(judged(launch_endorsement(mrtds=((16, False, MRTD),)), profile=profile)[1]) == [
        "endorsement.memory_size"
    ]


def test_who_signs_is_said_where_it_is_not_google(monkeypatch: pytest.MonkeyPatch) -> None:
    _, findings = judged(launch_endorsement())
    (warning,) = [finding for finding in findings if finding.verdict == "warning"]
    assert (warning.id, warning.actual) == ("endorsement.insecure_root", ROOT.hex())
    candidates = read_endorsements([launch_endorsement()], rules())
    assert genuine_of(candidates, MRTD) == ()
    monkeypatch.setattr("pluto_measure.appraise.launch_endorsement.GOOGLE_TCB_ROOTS", frozenset({ROOT}))
    assert [one.svn for one in genuine_of(candidates, MRTD)] == [2]
    assert genuine_of(candidates, OTHER) == ()
    assert genuine_of([Candidate((), None, ())], MRTD) == ()
    _, findings = judged(launch_endorsement())
    assert "endorsement.insecure_root" not in [finding.id for finding in findings]
    assert frozenset({ROOT}) != google.GOOGLE_TCB_ROOTS


def test_a_real_machines_mrtd(vectors: Path) -> None:
    """A quote of a c3-standard-4, whose MRTD a pretend endorsement names for 16 GiB and then for 32."""
    mrtd = Quote.parse((vectors / "measure/ccel/gcp-cos113.quote.bin").read_bytes()).report.registers["mrtd"]
    assert mrtd.hex().startswith("dae67181")
    for gib, expected in ((16, []), (32, ["endorsement.memory_size"])):
        found, findings = judged(launch_endorsement(mrtds=((gib, False, mrtd),)), mrtd=mrtd)
        assert failed(findings) == expected
        assert values(found) == ([] if expected else [mrtd])


def test_findings_are_json() -> None:
    _, findings = judged(launch_endorsement(mrtds=((32, False, MRTD), (0, True, OTHER))))
    json.dumps([finding.to_json() for finding in findings])
    (size,) = [finding for finding in findings if finding.id == "endorsement.memory_size"]
    assert (size.expected, size.actual) == ("32 GiB", "16 GiB")


def test_rtmr0_is_one_of_those_that_the_allowed_acpi_tables_give() -> None:
    """An allow-list of ACPI is in the profile: each of its machines is accepted, another or a mixture is not."""
    first, second, third = (machines.acpi(seed) for seed in ("", "second", "third"))
    mixed = Acpi({**first.blobs, "tables": second.blobs["tables"]})
    profile = measure(LAUNCH, machines.google(acpi=(first, second))).profiles[0]
    assert (profile.registers["rtmr0"].match, len(profile.registers["rtmr0"].values)) == ("oneOf", 2)
    for acpi, expected in (
        (first, []),
        (second, []),
        (third, ["register.rtmr0", "log.events.rtmr0"]),
        (mixed, ["register.rtmr0"]),
    ):
        registers, log = booted(machines.google(acpi=(acpi,)))
        endorsed = launch_endorsement(mrtds=((0, False, registers["mrtd"]),))
        found, findings = judged(endorsed, profile=profile, mrtd=registers["mrtd"])
        assert failed([*findings, *compare(found, {"sha384": registers}, log)]) == expected


def test_firmware_that_is_only_endorsed_leaves_rtmr0_to_be_observed() -> None:
    """The variable store is not in MRTD, so without the firmware's file nothing says what RTMR[0] may be."""
    registers, log = booted(machines.google())
    found, findings = judged(launch_endorsement(mrtds=((0, False, registers["mrtd"]),)), mrtd=registers["mrtd"])
    assert failed([*findings, *compare(found, {"sha384": registers}, log)]) == ["register.rtmr0"]
    assert failed(compare(ENDORSED, {"sha384": registers}, log)) == ["register.mrtd", "register.rtmr0"]
    observed = RegisterRule("oneOf", ({"sha384": registers["rtmr0"]},), "observed")
    accepting = replace(found, registers={**found.registers, "rtmr0": observed})
    assert failed(compare(accepting, {"sha384": registers}, log)) == []


def booted(machine: Platform) -> tuple[dict[str, bytes], EventLog]:
    """Registers and log of a machine that boots as predicted."""
    events = boot_logs.honest(predict(LAUNCH, machine), machine).events[1:]
    rule = measure(LAUNCH, machine).profiles[0].registers["mrtd"]
    values = {"mrtd": rule.values[0]["sha384"], **{f"rtmr{index}": bytes(48) for index in range(4)}}
    for event in events:
        name = f"rtmr{event.index - 1}"
        values[name] = hashlib.sha384(values[name] + event.digests["sha384"]).digest()
    return values, eventlog.parse(event_logs.encode(events, ("sha384",), cc=True))
