"""The whole log counts: every attack that leaves a trace in it is refused, and the trace is named."""

from __future__ import annotations

import dataclasses

import pytest

from pluto_measure.findings import Finding, failures
from pluto_measure.formats import eventlog
from pluto_measure.measurements import Profile
from pluto_measure.registers.reference import compare, first_difference
from pluto_measure.registers.rules import RegisterRule
from simulators.tpm_quotes import BOOT, EV_IPL, Event, log_of, reference_of, registers_of

PROFILE = reference_of().profiles[0]


def against(events: tuple[Event, ...], *, log: bytes | None = None, profile: Profile = PROFILE) -> tuple[Finding, ...]:
    return compare(profile, registers_of(events), eventlog.parse(log_of(events) if log is None else log))


def refused(findings: tuple[Finding, ...]) -> list[str]:
    return [finding.id for finding in failures(findings)]


def with_rule(name: str, rule: RegisterRule | None) -> Profile:
    rules = {key: value for key, value in PROFILE.registers.items() if key != name}
    return dataclasses.replace(PROFILE, registers=rules | ({name: rule} if rule else {}))


def test_the_predicted_boot_has_no_failures() -> None:
    findings = against(BOOT)
    assert refused(findings) == []
    assert "log.events.pcr11" in {finding.id for finding in findings}


@pytest.mark.parametrize("index", [2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 23])
def test_one_more_event_in_a_known_register_is_refused(index: int) -> None:
    assert refused(against((*BOOT, (index, EV_IPL, b"more")))) == [f"register.pcr{index}", f"log.events.pcr{index}"]


@pytest.mark.parametrize("at", [at for at, event in enumerate(BOOT) if event[0] > 1])
def test_a_missing_event_is_refused(at: int) -> None:
    index = BOOT[at][0]
    assert refused(against(BOOT[:at] + BOOT[at + 1 :])) == [f"register.pcr{index}", f"log.events.pcr{index}"]


def test_two_events_in_another_order_are_refused() -> None:
    swapped = (*BOOT[:-2], BOOT[-1], BOOT[-2])
    assert refused(against(swapped)) == ["register.pcr9", "log.events.pcr9"]


def test_events_of_another_type_with_the_same_digest_are_refused() -> None:
    renamed = (*BOOT[:-1], (9, EV_IPL, BOOT[-1][2]))
    assert refused(against(renamed)) == ["log.events.pcr9"]


def test_an_honest_log_beside_other_registers_is_refused() -> None:
    attacked = (*BOOT, (12, EV_IPL, b"credential"))
    assert refused(against(attacked, log=log_of(BOOT))) == ["register.pcr12"], "an empty log of PCR 12 hides nothing"
    other_kernel = (*BOOT[:-1], (9, 6, b"other initrd"))
    assert refused(against(other_kernel, log=log_of(BOOT))) == ["register.pcr9", "log.replay.pcr9", "register.pcr10"]


def test_firmware_settings_may_vary_where_the_register_replays() -> None:
    assert refused(against((*BOOT, (1, 0x80000002, b"Boot0007"), (0, 0x80000008, b"more firmware")))) == []


@pytest.mark.parametrize("kind", [0x80000003, 0x80000004, 0x80000005, EV_IPL, 6, 0xC, 0x12345])
@pytest.mark.parametrize("index", [0, 1])
def test_foreign_code_may_not_hide_in_a_register_that_replays(index: int, kind: int) -> None:
    findings = against((*BOOT, (index, kind, b"option ROM")))
    assert refused(findings) == [f"log.events.pcr{index}"]


def test_words_tell_a_replayed_register_from_a_known_one() -> None:
    texts = {finding.id: finding.text for finding in against(BOOT)}
    assert (texts["register.pcr0"], texts["register.pcr11"]) == (
        "pcr0 is what the log replays to",
        "pcr11 is the reference value",
    )
    other = tuple((i, k, b"other" + d) for i, k, d in BOOT)
    texts = {finding.id: finding.text for finding in against(other, log=log_of(BOOT))}
    assert texts["register.pcr0"] == "pcr0 is not what the log replays to"
    assert texts["register.pcr11"] == "pcr11 is not the reference value"


def test_a_log_that_does_not_replay_to_pcr0_is_refused() -> None:
    other = tuple((i, k, b"other firmware") if d == b"firmware 1" else (i, k, d) for i, k, d in BOOT)
    assert refused(against(other, log=log_of(BOOT))) == ["register.pcr0", "log.replay.pcr0", "register.pcr10"]


@pytest.mark.parametrize("bank", ["sha256", "sha384"])
def test_one_bank_that_differs_is_refused(bank: str) -> None:
    registers = registers_of(BOOT)
    registers[bank]["pcr11"] = b"\1" * len(registers[bank]["pcr11"])
    findings = compare(PROFILE, registers, eventlog.parse(log_of(BOOT)))
    assert refused(findings) == ["register.pcr11", "log.replay.pcr11"]


@pytest.mark.parametrize("banks", [("sha256",), ("sha384",), ("sha1",), ("sha1", "sha256")])
def test_a_log_without_both_banks_is_refused(banks: tuple[str, ...]) -> None:
    assert refused(against(BOOT, log=log_of(BOOT, banks)))[0] == "log.banks"


def test_a_log_with_one_more_bank_is_compared_in_the_two_that_were_quoted() -> None:
    assert refused(against(BOOT, log=log_of(BOOT, ("sha1", "sha256", "sha384")))) == []


@pytest.mark.parametrize("name", ["pcr0", "pcr4", "pcr12", "pcr23"])
def test_a_register_of_which_the_reference_says_nothing_is_refused(name: str) -> None:
    findings = against(BOOT, profile=with_rule(name, None))
    assert f"register.{name}" in refused(findings)


def test_any_is_a_warning_and_still_compares_predicted_events() -> None:
    findings = {
        finding.id: finding
        for finding in against(BOOT, profile=with_rule("pcr10", RegisterRule("any", (), "observed")))
    }
    assert findings["register.pcr10"].verdict == "warning"
    events = (*BOOT, (10, EV_IPL, b"x"))
    findings = {f.id: f for f in against(events, profile=with_rule("pcr10", RegisterRule("any", (), "observed")))}
    assert findings["log.events.pcr10"].verdict == "warning"


def test_one_of_several_values_is_accepted() -> None:
    exact = PROFILE.registers["pcr11"].values[0]
    other = {bank: b"\1" * len(value) for bank, value in exact.items()}
    rule = RegisterRule("oneOf", (other, exact), "computed")
    assert refused(against(BOOT, profile=with_rule("pcr11", rule))) == []
    assert refused(against(BOOT, profile=with_rule("pcr11", RegisterRule("oneOf", (other,), "computed")))) == [
        "register.pcr11"
    ]


def test_banks_are_not_mixed_between_values() -> None:
    exact = PROFILE.registers["pcr11"].values[0]
    other = {bank: b"\1" * len(value) for bank, value in exact.items()}
    mixed = ({**exact, "sha384": other["sha384"]}, {**exact, "sha256": other["sha256"]})
    rule = RegisterRule("oneOf", mixed, "computed")
    assert refused(against(BOOT, profile=with_rule("pcr11", rule))) == ["register.pcr11"]


def test_the_finding_names_the_first_event_that_differs() -> None:
    findings = {finding.id: finding for finding in against((*BOOT, (4, 0x80000003, b"shell")))}
    assert findings["log.events.pcr4"].expected == "no event here"
    assert "EV_EFI_BOOT_SERVICES_APPLICATION" in str(findings["log.events.pcr4"].actual)


def test_reference_values_of_one_bank_alone_are_refused() -> None:
    events = tuple(dataclasses.replace(event, digests={"sha384": event.digests["sha384"]}) for event in PROFILE.events)
    failed = refused(against(BOOT, profile=dataclasses.replace(PROFILE, events=events)))
    assert {"log.events.pcr4", "log.events.pcr11"} <= set(failed)
    value = {"sha384": PROFILE.registers["pcr11"].values[0]["sha384"]}
    rule = RegisterRule("exact", (value,), "computed")
    assert refused(against(BOOT, profile=with_rule("pcr11", rule))) == ["register.pcr11"]


def with_event(name: str, **changes: object) -> Profile:
    """The profile with the first event of a register changed."""
    events = list(PROFILE.events)
    place = next(i for i, event in enumerate(events) if event.register == name)
    events[place] = dataclasses.replace(events[place], **changes)  # type: ignore[arg-type]
    return dataclasses.replace(PROFILE, events=tuple(events))


def test_an_event_that_may_be_one_of_several_is_compared_with_these() -> None:
    first = next(event for event in PROFILE.events if event.register == "pcr7")
    other = {bank: bytes(len(value)) for bank, value in first.digests.items()}
    assert refused(against(BOOT, profile=with_event("pcr7", digests={}, allowed=(other, first.digests)))) == []
    findings = against(BOOT, profile=with_event("pcr7", digests={}, allowed=(other, other)))
    assert refused(findings) == ["log.events.pcr7"]
    assert "one of 2 digests" in str({finding.id: finding for finding in findings}["log.events.pcr7"].expected)


def test_an_open_event_accepts_any_digest_but_must_be_there() -> None:
    profile = with_event("pcr7", digests={})
    assert refused(against(BOOT, profile=profile)) == []
    at = next(i for i, event in enumerate(BOOT) if event[0] == 7)
    findings = against(BOOT[:at] + BOOT[at + 1 :], profile=profile)
    assert "log.events.pcr7" in refused(findings)
    renamed = (*BOOT[:at], (7, EV_IPL, BOOT[at][2]), *BOOT[at + 1 :])
    findings = against(renamed, profile=profile)
    assert "log.events.pcr7" in refused(findings)
    assert "any digest" in str({finding.id: finding for finding in findings}["log.events.pcr7"].expected)


def test_an_allow_list_of_one_bank_alone_is_refused() -> None:
    first = next(event for event in PROFILE.events if event.register == "pcr7")
    one_bank = ({"sha384": first.digests["sha384"]},) * 2
    assert "log.events.pcr7" in refused(against(BOOT, profile=with_event("pcr7", digests={}, allowed=one_bank)))


def test_a_register_that_moved_after_an_honest_log_is_told_so() -> None:
    other_kernel = (*BOOT[:-1], (9, 6, b"other initrd"))
    texts = {finding.id: finding.text for finding in against(other_kernel, log=log_of(BOOT))}
    assert texts["log.replay.pcr9"].endswith("or something was measured after the log's end")
    texts = {
        finding.id: finding.text
        for finding in against((*BOOT, (9, EV_IPL, b"x")), log=log_of((*BOOT, (9, EV_IPL, b"y"))))
    }
    assert texts["log.replay.pcr9"].endswith("the log was altered or is not of this boot")


UNPROVEN = "not compared: the log does not give the quoted value"


def test_what_differs_in_a_log_is_told_only_where_the_register_vouches_for_it() -> None:
    """Of the log's events where it gives the register, of the predicted ones where the register is as predicted."""
    honest, other, third = BOOT, (*BOOT[:-1], (9, 6, b"other initrd")), (*BOOT[:-1], (9, 6, b"third initrd"))
    cases = {
        "the log gives it": (other, other, "event "),
        "neither does": (third, other, UNPROVEN),
        "it is the reference value": (honest, other, "event "),
        "the log is the predicted one": (other, honest, "all 2 events are the predicted ones, but the log does not"),
    }
    for case, (booted, logged, said) in cases.items():
        log = eventlog.parse(log_of(logged))
        finding = {found.id: found for found in compare(PROFILE, registers_of(booted), log)}["log.events.pcr9"]
        assert finding.text.startswith(said), case
        assert (finding.verdict == "pass") is (logged is honest)
        difference = first_difference(PROFILE, registers_of(booted), log)
        assert (difference is not None and difference.register == "pcr9") is (said == "event "), case
    assert (finding := {f.id: f for f in against(third, log=log_of(other))}["log.events.pcr9"]).text == UNPROVEN
    assert (finding.expected, finding.actual) == (None, None)


def test_the_first_difference_is_of_the_first_register_that_can_be_told() -> None:
    """PCR 4 moved apart from its log; PCR 9 is as its log says."""
    at = next(i for i, event in enumerate(BOOT) if event[0] == 4)
    logged = (*BOOT[:at], (4, BOOT[at][1], b"a lie"), *BOOT[at + 1 : -1], (9, 6, b"other initrd"))
    booted = (*BOOT[:at], (4, BOOT[at][1], b"the truth"), *BOOT[at + 1 : -1], (9, 6, b"other initrd"))
    difference = first_difference(PROFILE, registers_of(booted), eventlog.parse(log_of(logged)))
    assert difference is not None
    assert difference.register == "pcr9"
