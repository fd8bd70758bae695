"""Compare a machine's registers and its whole log with one profile of reference values. Pure.

Register by register: the quoted value against the profile's rule, the log's replay against the quoted value, and the
log's events against the predicted ones. The log is untrusted until its replay gives the quoted registers, so what
differs in another log is told only where the register itself proves the predicted events. The order of events between
registers is nobody's word, so it is not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from itertools import zip_longest
from typing import TYPE_CHECKING, Final

from pluto_measure.event_text import describe
from pluto_measure.evidence import Registers
from pluto_measure.findings import Finding, judge
from pluto_measure.formats.eventlog import EventLog, EventType, LogEvent, type_name
from pluto_measure.measurements import Profile
from pluto_measure.predict.events import ExpectedEvent
from pluto_measure.predict.media import AZURE, MEDIA, Medium
from pluto_measure.registers.replay import replay
from pluto_measure.registers.rules import RegisterRule

if TYPE_CHECKING:
    from pluto_measure.compare.difference import Difference

# What a firmware measures of itself, its settings and its boot order: all that a register may hold whose values are
# not predicted (rule `replay`). No code that was loaded from a disk or a device is among them.
_OWN_TYPES: Final = frozenset(
    {
        EventType.EV_POST_CODE,
        EventType.EV_NO_ACTION,
        EventType.EV_SEPARATOR,
        EventType.EV_S_CRTM_CONTENTS,
        EventType.EV_S_CRTM_VERSION,
        EventType.EV_CPU_MICROCODE,
        EventType.EV_PLATFORM_CONFIG_FLAGS,
        EventType.EV_TABLE_OF_DEVICES,
        EventType.EV_NONHOST_CONFIG,
        EventType.EV_EFI_VARIABLE_BOOT,
        EventType.EV_EFI_VARIABLE_BOOT2,
        EventType.EV_EFI_ACTION,
        EventType.EV_EFI_PLATFORM_FIRMWARE_BLOB,
        EventType.EV_EFI_PLATFORM_FIRMWARE_BLOB2,
        EventType.EV_EFI_HANDOFF_TABLES,
        EventType.EV_EFI_HANDOFF_TABLES2,
        EventType.EV_EFI_HCRTM_EVENT,
    }
)
# Microsoft's firmware measures Secure Boot's variables and what they let through, and the disk's partitions, into
# registers of Azure's TPM that are not predicted. None of them is code, either.
_OWN_TYPES_OF_AZURE: Final = _OWN_TYPES | {
    EventType.EV_EFI_VARIABLE_DRIVER_CONFIG,
    EventType.EV_EFI_VARIABLE_AUTHORITY,
    EventType.EV_EFI_GPT_EVENT,
}


Replayed = dict[str, dict[str, bytes]]


def compare(profile: Profile, registers: Registers, log: EventLog | None) -> tuple[Finding, ...]:
    """Every check of `registers` and `log` against `profile`. `registers` come from a verified quote.

    Without a log the registers alone are compared: what needs the log refuses.
    """
    medium = MEDIA[profile.platform]
    given = _log(medium, log)
    if log is None or given.verdict == "fail":
        # Nothing of such a log can be compared; the registers still can, and rules that need the log refuse.
        alone = (_register(medium, name, profile.registers.get(name), registers, {}) for name in medium.all)
        return (given, *alone)
    return (given, *_with_log(medium, profile, registers, log))


def _log(medium: Medium, log: EventLog | None) -> Finding:
    if log is None:
        return Finding("log.given", "warning", "there is no event log, so a difference cannot be traced to an event")
    kind = "cc" if medium.is_tdx else "tpm"
    return judge(
        "log.banks",
        log.kind == kind and set(medium.banks) <= set(log.algorithms),
        "the log has digests for every bank that was quoted",
        otherwise=f"the log is not a {kind.upper()} log with digests for every bank that was quoted",
        expected=" ".join(medium.banks),
        actual=f"{log.kind}: {' '.join(log.algorithms)}",
    )


def _with_log(medium: Medium, profile: Profile, registers: Registers, log: EventLog) -> Iterator[Finding]:
    replayed, meanings = replay(log), _meanings(medium, profile, log)
    for name in medium.all:
        rule = profile.registers.get(name)
        yield _register(medium, name, rule, registers, replayed)
        actual = [event for event in log.events if _extends(log, event, name)]
        expected = [event for event in profile.events if event.register == name]
        if not (actual or expected):
            continue
        yield _replay(medium, name, registers, replayed, as_predicted=name not in meanings)
        found = _events(medium, name, rule, expected, actual, meanings.get(name))
        if not _gives(medium, name, registers, replayed):
            found = _unproven(found, as_booted=_is_as_booted(medium, profile, name, registers, replayed))
        yield found


def _meanings(medium: Medium, profile: Profile, log: EventLog) -> Mapping[str, Difference]:
    """What differences mean, in words. They explain a refusal; `_events` decides it."""
    choices = [choice for event in profile.events for choice in (event.digests, *event.allowed) if choice]
    if not all(set(medium.banks) <= set(choice) for choice in choices):
        return {}
    # Imported here: without a log there is nothing to explain, and the explanations are many modules.
    from pluto_measure.compare.difference import differences
    from pluto_measure.compare.explain import Known

    found = differences(profile.events, log, profile.logged, known=Known.of(profile.inputs))
    return {difference.register: difference for difference in found}


def _extends(log: EventLog, event: LogEvent, name: str) -> bool:
    return event.type != EventType.EV_NO_ACTION and log.register(event) == name


def _register(
    medium: Medium, name: str, rule: RegisterRule | None, registers: Registers, replayed: Replayed
) -> Finding:
    check, actual = f"register.{name}", _spell(medium, registers, name)
    if rule is None:
        return Finding(check, "fail", f"the reference says nothing of {name}", None, actual)
    if rule.match == "any":
        return Finding(check, "warning", f"the reference accepts any value of {name}", "any", actual)
    allowed = {bank: rule.accepted(name, bank, replayed) or () for bank in medium.banks}
    if rule.values:  # one value has digests in every bank, and all must be of the same value
        holds = any(all(value.get(bank) == registers[bank][name] for bank in medium.banks) for value in rule.values)
    else:
        holds = all(registers[bank][name] in values for bank, values in allowed.items())
    what = "what the log replays to" if rule.match == "replay" else "the reference value"
    return judge(
        check,
        holds,
        f"{name} is {what}",
        otherwise=f"{name} is not {what}",
        expected=" | ".join(f"{bank}:{value.hex()}" for bank, values in allowed.items() for value in values),
        actual=actual,
    )


def _spell(medium: Medium, registers: Registers, name: str) -> str:
    return " | ".join(f"{bank}:{registers[bank][name].hex()}" for bank in medium.banks)


def _replay(medium: Medium, name: str, registers: Registers, replayed: Replayed, *, as_predicted: bool) -> Finding:
    otherwise = "the log's events do not give the quoted value: the log was altered or is not of this boot"
    if as_predicted:
        otherwise += ", or something was measured after the log's end"
    return judge(
        f"log.replay.{name}",
        _gives(medium, name, registers, replayed),
        "the log's events give the quoted value",
        otherwise=otherwise,
        expected=_spell(medium, registers, name),
        actual=_spell(medium, replayed, name),
    )


def _gives(medium: Medium, name: str, registers: Registers, replayed: Replayed) -> bool:
    """Whether the log replays to what was quoted. Nothing else vouches for its events."""
    return all(replayed[bank][name] == registers[bank][name] for bank in medium.banks)


def _is_as_booted(medium: Medium, profile: Profile, name: str, registers: Registers, replayed: Replayed) -> bool:
    """Whether the register proves the predicted events, so that a log of others is known to differ from the boot."""
    return _register(medium, name, profile.registers.get(name), registers, replayed).verdict == "pass"


def _unproven(found: Finding, *, as_booted: bool) -> Finding:
    """What is said of the events of a register that the log does not give, which proves nothing of them.

    `_replay` refuses that. What differs is told only where it says how the log departs from what was booted.
    """
    if found.verdict != "fail":
        return Finding(found.id, found.verdict, f"{found.text}, but the log does not give the quoted value")
    return found if as_booted else Finding(found.id, "fail", "not compared: the log does not give the quoted value")


def _events(
    medium: Medium,
    name: str,
    rule: RegisterRule | None,
    expected: Sequence[ExpectedEvent],
    actual: Sequence[LogEvent],
    meaning: Difference | None,
) -> Finding:
    check = f"log.events.{name}"
    if rule is not None and rule.match == "any" and not expected:
        return Finding(check, "warning", "the reference accepts any event")
    if rule is not None and rule.match == "replay" and not expected:
        return _own_events(check, actual, _OWN_TYPES_OF_AZURE if medium is AZURE else _OWN_TYPES)
    for index, (wanted, found) in enumerate(zip_longest(expected, actual)):
        if wanted is None or found is None or not _same(medium, wanted, found):
            text = f"event {index} of {name} differs from the predicted log"
            if meaning is not None:
                wanted, found = meaning.expected, meaning.actual
                text = f"event {meaning.nth} of {name} (record {meaning.index} of the log): {meaning.meaning}"
                text += f" [host attack: {meaning.attack}]" if meaning.attack else ""
            return Finding(check, "fail", text, _spell_expected(wanted), _spell_actual(found))
    return Finding(check, "pass", f"all {len(expected)} events are the predicted ones")


def first_difference(profile: Profile, registers: Registers, log: EventLog | None) -> Difference | None:
    """The first event of the log that is not the predicted one, explained; None where there is none, or no log.

    Left out are registers that neither the log gives nor the reference values: nothing is proven of their events.
    """
    medium = MEDIA[profile.platform]
    if log is None or _log(medium, log).verdict == "fail":
        return None
    replayed, meanings = replay(log), _meanings(medium, profile, log)
    for name, found in meanings.items():
        if _gives(medium, name, registers, replayed) or _is_as_booted(medium, profile, name, registers, replayed):
            return found
    return None


def _own_events(check: str, actual: Sequence[LogEvent], own: Set[EventType]) -> Finding:
    for index, event in enumerate(actual):
        if event.type not in own:
            text = f"event {index} is not of a kind that a firmware measures of itself"
            return Finding(check, "fail", text, None, _spell_actual(event))
    return Finding(check, "pass", f"all {len(actual)} events are of kinds that a firmware measures of itself")


def _same(medium: Medium, expected: ExpectedEvent, actual: LogEvent) -> bool:
    return expected.type == actual.type and expected.permits(actual.digests, medium.banks)


def _spell_expected(event: ExpectedEvent | None) -> str:
    if event is None:
        return "no event here"
    digests = _spell_digests(event.digests)
    if not event.digests:
        digests = f"one of {len(event.allowed)} digests" if event.allowed else "any digest"
    return f"{type_name(event.type)} {digests} ({event.description})"


def _spell_actual(event: LogEvent | None) -> str:
    if event is None:
        return "no event here"
    return f"{type_name(event.type)} {_spell_digests(event.digests)} ({describe(event)})"


def _spell_digests(digests: Mapping[str, bytes]) -> str:
    """The first bank's is enough for people; a trust domain has no other than SHA-384."""
    return next((f"{bank}:{digests[bank].hex()}" for bank in ("sha256", "sha384") if bank in digests), "")
