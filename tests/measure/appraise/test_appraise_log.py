"""Registers and event log of a trust domain against its profile: what differs is refused, and named where it can be."""

from __future__ import annotations

from typing import Any

import pytest

from pluto_measure.appraise import Appraisal
from pluto_measure.errors import FormatError
from pluto_measure.formats.eventlog import EventType
from simulators import event_logs, tpm_quotes
from simulators.trust_domains import (
    REFERENCES,
    TrustDomain,
    appraised,
    bare,
    failed,
    gone,
    more,
    other,
    verdicts,
)

APPLICATION = EventType.EV_EFI_BOOT_SERVICES_APPLICATION
ROLES = ["td-hob", "cfv", "acpi:loader", "acpi:tables", "boot-order", "image:uki", "image:kernel", "section:.linux",
         "section:.cmdline", "load-options", "initrd", "separator:ready"]  # fmt: skip


def register_of(role: str) -> str:
    return next(event.register for event in REFERENCES["qemu-tdx"].profiles[0].events if event.role == role)


def text(appraisal: Appraisal, check: str) -> str:
    return next(finding.text for finding in appraisal.findings if finding.id == check)


def named(appraisal: Appraisal) -> dict[str, Any]:
    """The difference in the explanation, for programs."""
    found = appraisal.explanation["log"]
    assert isinstance(found, dict)
    return found


def refused(appraisal: Appraisal) -> list[str]:
    assert (appraisal.authentic, appraisal.exit_code) == (True, 5)
    return failed(appraisal)


@pytest.mark.parametrize("role", ROLES)
def test_another_event_is_refused_and_named_in_words(role: str) -> None:
    register, domain = register_of(role), TrustDomain(edits=(other(role),))
    appraisal = appraised(domain)
    assert refused(appraisal) == [f"register.{register}", f"log.events.{register}"]
    said, found = text(appraisal, f"log.events.{register}"), named(appraisal)
    assert said.startswith(f"event {found['eventOfRegister']} of {register} (record {found['index']} of the log): ")
    assert found["meaning"] in said
    assert (found["register"], found["role"], found["kind"]) == (register, role, "changed")
    assert found["actual"]["digests"] != found["expected"]["digests"]
    assert refused(bare(domain)) == refused(appraisal)


@pytest.mark.parametrize("role", ["initrd", "image:kernel", "td-hob"])
def test_without_its_log_only_the_register_is_refused(role: str) -> None:
    appraisal = appraised(TrustDomain(edits=(other(role),), log=b""))
    assert refused(appraisal) == [f"register.{register_of(role)}"]
    assert verdicts(appraisal)["log.given"] == "warning"
    assert "log" not in appraisal.explanation


def test_a_missing_event_and_one_too_many() -> None:
    without = appraised(TrustDomain(edits=(gone("initrd"),)))
    assert refused(without) == ["register.rtmr2", "log.events.rtmr2"]
    assert (named(without)["role"], named(without)["kind"]) == ("initrd", "missing")
    with_more = appraised(TrustDomain(edits=(more("rtmr1", APPLICATION),)))
    assert refused(with_more) == ["register.rtmr1", "log.events.rtmr1"]
    assert (named(with_more)["expected"], named(with_more)["kind"]) == (None, "unexpected")


def test_several_differences_name_the_first_in_the_log() -> None:
    appraisal = appraised(TrustDomain(edits=(other("initrd"), other("acpi:tables"), other("image:kernel"))))
    assert refused(appraisal) == [
        f"{kind}.{name}" for name in ("rtmr0", "rtmr1", "rtmr2") for kind in ("register", "log.events")
    ]
    assert named(appraisal)["role"] == "acpi:tables"


def test_rtmr3_must_be_zero_logged_or_not() -> None:
    silent = appraised(TrustDomain(later=(("rtmr3", b"x"),)))
    assert refused(silent) == ["register.rtmr3"]
    logged = appraised(TrustDomain(edits=(more("rtmr3"),)))
    assert refused(logged) == ["register.rtmr3", "log.events.rtmr3"]


def test_mrtd_of_another_firmware() -> None:
    assert refused(appraised(TrustDomain(report={"mrtd": b"\1" * 48}))) == ["register.mrtd"]


@pytest.mark.parametrize("name", ["rtmr0", "rtmr1", "rtmr2"])
def test_something_measured_after_the_logs_end(name: str) -> None:
    appraisal = appraised(TrustDomain(later=((name, b"x"),)))
    assert refused(appraisal) == [f"register.{name}", f"log.replay.{name}"]
    assert "measured after the log's end" in text(appraisal, f"log.replay.{name}")
    assert text(appraisal, f"log.events.{name}").endswith("predicted ones, but the log does not give the quoted value")
    assert "log" not in appraisal.explanation


def test_a_cleaned_log_hides_nothing() -> None:
    """The log of an honest boot beside the registers of another."""
    appraisal = appraised(TrustDomain(edits=(other("initrd"),), log=TrustDomain().log_bytes()))
    assert refused(appraisal) == ["register.rtmr2", "log.replay.rtmr2"]


def test_the_log_of_another_boot_beside_honest_registers() -> None:
    appraisal = appraised(TrustDomain(log=TrustDomain(edits=(other("initrd"),)).log_bytes()))
    assert refused(appraisal) == ["log.replay.rtmr2", "log.events.rtmr2"]
    assert "the log was altered or is not of this boot" in text(appraisal, "log.replay.rtmr2")
    assert named(appraisal)["role"] == "initrd", "the register proves what was booted, so the log is the wrong one"


def test_a_log_of_neither_boot_is_not_compared() -> None:
    appraisal = appraised(TrustDomain(edits=(other("initrd"),), log=TrustDomain(edits=(gone("initrd"),)).log_bytes()))
    assert refused(appraisal) == ["register.rtmr2", "log.replay.rtmr2", "log.events.rtmr2"]
    assert text(appraisal, "register.rtmr2") == "rtmr2 is not the reference value"
    assert text(appraisal, "log.events.rtmr2") == "not compared: the log does not give the quoted value"
    assert "log" not in appraisal.explanation


def test_an_empty_log_replays_to_nothing() -> None:
    appraisal = appraised(TrustDomain(log=event_logs.encode((), ("sha384",), cc=True)))
    assert refused(appraisal) == [
        f"log.{kind}.{name}" for name in ("rtmr0", "rtmr1", "rtmr2") for kind in ("replay", "events")
    ]


@pytest.mark.parametrize("log", [tpm_quotes.log_of(tpm_quotes.BOOT), event_logs.encode((), ("sha256",), cc=True)])
def test_a_log_that_is_not_of_a_trust_domain(log: bytes) -> None:
    appraisal = appraised(TrustDomain(log=log))
    assert refused(appraisal) == ["log.banks"]
    assert "CC log" in text(appraisal, "log.banks")
    assert verdicts(appraisal)["register.rtmr0"] == "pass"
    assert "log" not in appraisal.explanation
    assert refused(bare(log=log)) == ["log.banks"]


def test_padding_of_the_log_area_says_nothing() -> None:
    log = TrustDomain().log_bytes()
    assert appraised(TrustDomain(log=log + b"\xff" * 4096)).accepted
    assert appraised(TrustDomain(log=log + bytes(4096))).accepted


def test_a_log_that_extends_mrtd_is_malformed() -> None:
    event = TrustDomain().events()[1]
    log = TrustDomain().log_bytes() + event_logs.record(type(event)(0, event.type, event.digests, b""))
    with pytest.raises(FormatError, match="mrtd"):
        appraised(TrustDomain(log=log))


def test_a_google_machine_is_no_qemu_host() -> None:
    """The registers of the one under the name of the other."""
    appraisal = appraised(TrustDomain(kind="gcp-tdx", named="qemu-tdx"), references=(REFERENCES["qemu-tdx"],))
    assert {"register.rtmr0", "register.rtmr1", "log.events.rtmr0"} <= set(refused(appraisal))
