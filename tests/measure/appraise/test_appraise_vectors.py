"""Real quotes with their real logs and collateral: facts, and what reference values make of them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import lzma
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pluto_measure.appraise import Appraisal, TdxInputs, verify_evidence
from pluto_measure.compare.difference import expected_from_log
from pluto_measure.digests import Digests
from pluto_measure.formats import logs
from pluto_measure.formats.collateral import Collateral
from pluto_measure.formats.eventlog import EventLog, EventType
from pluto_measure.formats.quote import Quote, unwrap
from pluto_measure.launch import Launch
from pluto_measure.machine.firmware import Firmware
from pluto_measure.machine.inputs import Acpi
from pluto_measure.measurements import Measurements, Profile, profile_for
from pluto_measure.policy import Policy
from pluto_measure.policy.launch_endorsement import STRICT_ENDORSEMENT
from pluto_measure.policy.strict import STRICT
from pluto_measure.registers.replay import replay_expected
from pluto_measure.registers.rules import RegisterRule
from pluto_measure.verify.intel_pki import INTEL_ROOTS, pck_chain
from simulators import machines
from simulators.launches import LAUNCH
from simulators.trust_domains import failed, verdicts

DIRECT, CCAPI = "measure/ccel/qemu-ubuntu2510-direct", "measure/ccel/qemu-ccapi"
OTHER_INITRD = "measure/ccel/qemu-ubuntu2510-direct-NEGATIVE-other-initrd.ccel.bin"
UBUNTU = "measure/firmware/ubuntu-25.10-ovmf_2025.02-8ubuntu3-OVMF.fd.xz"
GOOGLE = [
    ("measure/ccel/gcp-cos113.quote.bin", "measure/ccel/gcp-cos113.ccel.bin"),
    ("quotes/go-tdx-guest/ccel/cos-113-tdx-quote.dat", "quotes/go-tdx-guest/ccel/ccel_data.dat"),
]
# A bundle of the platform, and a time at which all of it counts.
EMERALD = ("b0c06f000000-e19-20260629", 1783992141)
SAPPHIRE = ("00806f050000-e18-20260127", 1770801952)
BUILD = "b1" * 32
assert STRICT.tdx is not None
# What a bare quote of somebody else's machine can pass: no TLS key, no REPORTDATA that we asked for.
LAX = dataclasses.replace(
    STRICT,
    allow_unsigned_reference=True,
    minimum_sequence="any",
    outer_key_digest="any",
    tdx=dataclasses.replace(STRICT.tdx, report_data="any", accepted_statuses=("UpToDate", "OutOfDate")),
    endorsement=dataclasses.replace(STRICT_ENDORSEMENT, launch_endorsement="any"),
)


def appraised(
    vectors: Path,
    quote: bytes,
    log: bytes | None,
    profile: Profile,
    given: tuple[str, int] | None,
    policy: Policy = LAX,
) -> Appraisal:
    collateral, at = None, datetime(2026, 8, 1, tzinfo=UTC)
    if given is not None:
        collateral = Collateral.parse((vectors / f"quotes/derived/collateral/{given[0]}.json").read_bytes())
        at = datetime.fromtimestamp(given[1], UTC)
    inputs = TdxInputs(collateral=collateral, log=log)
    references = [Measurements(BUILD, "release", (profile,))]
    return verify_evidence(quote, references, policy, at, None, None, inputs)


def recorded(quote: bytes, log: EventLog, kind: str) -> Profile:
    """Reference values that say: as in this boot."""
    registers = Quote.parse(unwrap(quote)).report.registers
    rules = {name: RegisterRule("exact", ({"sha384": value},), "observed") for name, value in registers.items()}
    rules["rtmr3"] = RegisterRule("zero", (), "computed")
    profile = Profile("recorded", kind, {}, rules, expected_from_log(log))
    profile.check("recorded")
    return profile


def direct(vectors: Path) -> tuple[bytes, bytes, EventLog]:
    log = (vectors / f"{DIRECT}.ccel.bin").read_bytes()
    return (vectors / f"{DIRECT}.quote.bin").read_bytes(), log, logs.parse(log)


def predicted(vectors: Path, log: EventLog) -> Profile:
    """The profile of a direct kernel boot on Ubuntu's firmware; nobody knows its command line."""
    kernel = next(event for event in log.events if event.type == EventType.EV_EFI_BOOT_SERVICES_APPLICATION)
    initrd = next(event for event in log.events if b"initrd" in event.data)
    acpi = [Digests(b"", event.digests["sha384"]) for event in log.events if event.data == b"ACPI DATA"]
    launch: Launch = dataclasses.replace(
        LAUNCH,
        stub="",
        sections=(),
        uki_authenticode=None,
        kernel_authenticode=Digests(b"", kernel.digests["sha384"]),
        handed_initrd=Digests(b"", initrd.digests["sha384"]),
    )
    machine = machines.bare_metal(
        firmware=Firmware.of(lzma.decompress((vectors / UBUNTU).read_bytes()), "interleaved"),
        memory=2 << 30,
        boot="direct",
        vmm_version="10.1",
        acpi=(Acpi(dict(zip(machines.BLOBS, acpi, strict=True))),),
    )
    return profile_for(launch, machine)


def with_command_line(profile: Profile, log: EventLog) -> Profile:
    """The profile with the digest of the log's command line, which its host alone knows."""
    logged = next(event for event in log.events if log.register(event) == "rtmr2")
    events = tuple(
        dataclasses.replace(event, digests={"sha384": logged.digests["sha384"]})
        if event.role == "load-options"
        else event
        for event in profile.events
    )
    value = replay_expected(event for event in events if event.register == "rtmr2")["sha384"]["rtmr2"]
    rule = RegisterRule("exact", ({"sha384": value},), "computed")
    edited = dataclasses.replace(profile, events=events, registers={**profile.registers, "rtmr2": rule})
    edited.check("edited")
    return edited


def text(appraisal: Appraisal, check: str) -> str:
    return next(finding.text for finding in appraisal.findings if finding.id == check)


def first(appraisal: Appraisal) -> dict[str, Any]:
    found = appraisal.explanation["log"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(("quote", "log"), GOOGLE)
def test_a_google_machine_as_recorded(vectors: Path, quote: str, log: str) -> None:
    raw, logged = (vectors / quote).read_bytes(), (vectors / log).read_bytes()
    profile = recorded(raw, logs.parse(logged), "gcp-tdx")
    appraisal = appraised(vectors, raw, logged, profile, SAPPHIRE)
    assert failed(appraisal) == []
    assert (appraisal.platform, appraisal.profile, appraisal.accepted) == ("gcp-tdx", "recorded", True)
    assert appraisal.tcb is not None
    assert appraisal.tcb.status == "OutOfDate"
    assert "tcb" in appraisal.explanation
    registers = appraisal.to_json()["registers"]
    assert isinstance(registers, dict)
    assert {name: value[:8] for name, value in registers.items()} == {
        "mrtd": "dae67181",
        "rtmr0": "3fa2f61f",
        "rtmr1": "f62dbc07",
        "rtmr2": "4969684d",
        "rtmr3": "00000000",
    }
    strict = dataclasses.replace(LAX, tdx=STRICT.tdx)
    assert failed(appraised(vectors, raw, logged, profile, SAPPHIRE, strict)) == ["binding.report_data", "tcb.status"]


def test_the_facts_of_a_real_quote_and_its_collateral(vectors: Path) -> None:
    quote, log, parsed = direct(vectors)
    document = appraised(vectors, quote, log, recorded(quote, parsed, "qemu-tdx"), EMERALD).to_json()
    said, collateral = document["quote"], document["collateral"]
    assert isinstance(said, dict)
    assert isinstance(collateral, dict)
    assert (said["version"], said["tdReport"], said["xfam"]) == (4, "1.0", "0x602e7")
    assert said["tdAttributes"] == {"value": "0x0000000010000000", "names": ["SEPT_VE_DISABLE"]}
    assert (said["pck"]["fmspc"], said["pck"]["ca"]) == ("b0c06f000000", "platform")
    assert (collateral["tcbInfo"]["fmspc"], collateral["tcbInfo"]["evaluationNumber"]) == ("b0c06f000000", 19)
    assert collateral["tcbInfo"]["issueDate"] < "2026-07-14" < collateral["tcbInfo"]["nextUpdate"]


def test_a_direct_boot_as_predicted_but_for_its_command_line(vectors: Path) -> None:
    quote, log, parsed = direct(vectors)
    profile = predicted(vectors, parsed)
    unknown_line = appraised(vectors, quote, log, profile, EMERALD)
    assert failed(unknown_line) == ["register.rtmr2", "log.events.rtmr2"]
    assert first(unknown_line)["role"] == "load-options"
    complete = with_command_line(profile, parsed)
    appraisal = appraised(vectors, quote, log, complete, EMERALD)
    assert failed(appraisal) == []
    assert (appraisal.accepted, appraisal.platform, appraisal.exit_code) == (True, "qemu-tdx", 0)
    assert failed(appraised(vectors, quote, None, complete, EMERALD)) == []


def test_another_initrd_is_named(vectors: Path) -> None:
    """The quote is of the genuine boot: a profile of the genuine one refuses the log, one of the other refuses both."""
    quote, _, parsed = direct(vectors)
    other = (vectors / OTHER_INITRD).read_bytes()
    appraisal = appraised(vectors, quote, other, with_command_line(predicted(vectors, parsed), parsed), EMERALD)
    assert failed(appraisal) == ["log.replay.rtmr2", "log.events.rtmr2"]
    found = first(appraisal)
    assert (found["index"], found["register"], found["role"]) == (18, "rtmr2", "initrd")
    assert "initrd" in text(appraisal, "log.events.rtmr2")
    assert "(record 18 of the log)" in text(appraisal, "log.events.rtmr2")
    assert found["actual"]["digests"]["sha384"].startswith("47f68b63")
    assert found["expected"]["digests"]["sha384"].startswith("b88ab090")


def test_measurements_after_the_logs_end(vectors: Path) -> None:
    """Linux' IMA extended RTMR[2] after the log. The root is not Intel's, and no collateral of it is known."""
    quote, log = (
        (vectors / f"{CCAPI}.quote.bin").read_bytes(),
        (vectors / f"{CCAPI}-NEGATIVE-ima.ccel.bin").read_bytes(),
    )
    profile = recorded_by_log(quote, logs.parse(log))
    foreign = appraised(vectors, quote, log, profile, None)
    assert (failed(foreign), foreign.exit_code) == (["pck.chain", "collateral.given"], 4)
    root = hashlib.sha256(pck_chain(Quote.parse(quote).certificates, INTEL_ROOTS).chain.ders[-1]).digest()
    assert LAX.tdx is not None
    known = dataclasses.replace(LAX, tdx=dataclasses.replace(LAX.tdx, insecure_roots=(root,)))
    appraisal = appraised(vectors, quote, log, profile, None, known)
    assert failed(appraisal) == ["collateral.given", "register.rtmr2", "log.replay.rtmr2"]
    assert "measured after the log's end" in text(appraisal, "log.replay.rtmr2")
    assert verdicts(appraisal)["log.events.rtmr2"] == "pass"
    assert appraisal.exit_code == 5


def recorded_by_log(quote: bytes, log: EventLog) -> Profile:
    """Reference values of what the log says, and the quote's MRTD."""
    events = expected_from_log(log)
    rules = {
        name: RegisterRule("exact", ({"sha384": value},), "observed")
        for name, value in replay_expected(events)["sha384"].items()
    }
    mrtd = Quote.parse(quote).report.registers["mrtd"]
    rules["mrtd"] = RegisterRule("exact", ({"sha384": mrtd},), "observed")
    rules.setdefault("rtmr3", RegisterRule("zero", (), "computed"))
    profile = Profile("by its log", "qemu-tdx", {}, rules, events)
    profile.check("by its log")
    return profile


def test_a_log_in_dstacks_form(vectors: Path) -> None:
    """It extends RTMR[3] by itself, which a profile of ours refuses."""
    text_of_both = (vectors / "measure/ccel/dstack-lite-getquote.json").read_bytes()
    quote = json.loads(text_of_both)["quote"].encode()
    log = logs.parse(text_of_both)
    raw = unwrap(quote)
    as_theirs = recorded_by_log(raw, log)
    appraisal = appraised(vectors, quote, text_of_both, as_theirs, None)
    assert failed(appraisal) == ["collateral.given"]
    zero = {**as_theirs.registers, "rtmr3": RegisterRule("zero", (), "computed")}
    events = tuple(event for event in as_theirs.events if event.register != "rtmr3")
    ours = dataclasses.replace(as_theirs, registers=zero, events=events)
    assert failed(appraised(vectors, quote, text_of_both, ours, None))[:2] == ["collateral.given", "register.rtmr3"]


def test_the_log_of_another_machine(vectors: Path) -> None:
    quote, _, parsed = direct(vectors)
    log = (vectors / GOOGLE[0][1]).read_bytes()
    appraisal = appraised(vectors, quote, log, recorded(quote, parsed, "qemu-tdx"), EMERALD)
    assert failed(appraisal) == [
        f"log.{kind}.{name}" for name in ("rtmr0", "rtmr1", "rtmr2") for kind in ("replay", "events")
    ]
    assert "log" in appraisal.explanation
