"""Where a machine's log parts from the expected one: per register the first event that differs, in words. Pure.

Only the order inside a register is compared: a register proves that one, and nothing proves the order between
registers. Every event counts, so one event too many is a difference too.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from pluto_measure.errors import FormatError
from pluto_measure.explain import Scene, describe, explain
from pluto_measure.formats.eventlog import EventLog, EventType, LogEvent, type_name
from pluto_measure.predict.events import BANKS, ExpectedEvent

# Firmware volumes, ACPI tables, boot variables; PCR 10 is written by the kernel after the log's end.
NOT_PREDICTED: Final = ("pcr0", "pcr1", "pcr10", "mrtd")

Placed = tuple[int, LogEvent]  # an event with its position in the whole log


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place where one register's events differ.

    `expected` is None for an event too many, `actual` None for a missing one. `index` counts all records of the log
    from 0 (for a missing event: where it should have been), `nth` the events of the register. `attack` is the name of
    a known attack of the host, if the log shows one.
    """

    register: str
    index: int
    nth: int
    expected: ExpectedEvent | None
    actual: LogEvent | None
    meaning: str
    attack: str | None

    def to_json(self) -> dict[str, object]:
        return {
            "register": self.register,
            "index": self.index,
            "eventOfRegister": self.nth,
            "expected": None if self.expected is None else self.expected.to_json(),
            "actual": None if self.actual is None else event_json(self.register, self.actual),
            "meaning": self.meaning,
            "attack": self.attack,
        }


def first_difference(
    expected: Sequence[ExpectedEvent],
    log: EventLog,
    registers: Collection[str] | None = None,
    *,
    command_line: str | None = None,
) -> Difference | None:
    """The difference that comes first in the log; None where every compared register has the expected events."""
    return next(iter(differences(expected, log, registers, command_line=command_line)), None)


def differences(
    expected: Sequence[ExpectedEvent],
    log: EventLog,
    registers: Collection[str] | None = None,
    *,
    command_line: str | None = None,
) -> tuple[Difference, ...]:
    """The first difference of every register that has one, in the order of the log.

    `registers` are those to compare (`Profile.logged`); by default all that the log or the expectation names, except
    NOT_PREDICTED ones without an expected event. `command_line`, where known, tells an addition from a replacement.
    FormatError where log and expectation have no bank in common.
    """
    banks = _common_banks(expected, log)
    by_register: dict[str, list[Placed]] = {}
    for position, event in enumerate(log.events):
        if event.type != EventType.EV_NO_ACTION:
            by_register.setdefault(log.register(event), []).append((position, event))
    predicted: dict[str, list[ExpectedEvent]] = {}
    for wanted in expected:
        predicted.setdefault(wanted.register, []).append(wanted)
    if registers is None:
        registers = [name for name in {**predicted, **by_register} if name in predicted or name not in NOT_PREDICTED]
    scene = Scene(predicted, {name: [e for _, e in events] for name, events in by_register.items()}, command_line)
    found = []
    for name in registers:
        ours, theirs = predicted.get(name, []), by_register.get(name, [])
        place = _first(ours, [event for _, event in theirs], banks)
        if place is None:
            continue
        nth, wanted_event, actual = place
        index = theirs[nth][0] if nth < len(theirs) else len(log.events)
        meaning = explain(name, wanted_event, actual, scene)
        found.append(Difference(name, index, nth, wanted_event, actual, meaning.text, meaning.attack))
    return tuple(sorted(found, key=lambda difference: difference.index))


def expected_from_log(log: EventLog) -> tuple[ExpectedEvent, ...]:
    """Another machine's log as the expectation."""
    return tuple(
        ExpectedEvent(log.register(event), event.type, dict(event.digests), describe(event), f"event {position}")
        for position, event in enumerate(log.events)
        if event.type != EventType.EV_NO_ACTION
    )


def event_json(register: str, event: LogEvent) -> dict[str, object]:
    """A recorded event. `description` is made of its data, which is proven only where `dataIsMeasured`."""
    return {
        "register": register,
        "type": type_name(event.type),
        "digests": {bank: value.hex() for bank, value in event.digests.items()},
        "description": describe(event),
        "dataIsMeasured": event.data_is_measured,
    }


def _common_banks(expected: Sequence[ExpectedEvent], log: EventLog) -> tuple[str, ...]:
    offered = set(BANKS) | {"sha1", "sha512"}
    for event in expected:
        offered &= set(event.digests)
    banks = tuple(name for name in log.algorithms if name in offered)
    if not banks:
        raise FormatError("event log", f"has {', '.join(log.algorithms)}, and none of these is expected")
    return banks


def _same(wanted: ExpectedEvent, actual: LogEvent, banks: Sequence[str]) -> bool:
    return wanted.type == actual.type and all(wanted.digests[bank] == actual.digests[bank] for bank in banks)


def _first(
    ours: Sequence[ExpectedEvent], theirs: Sequence[LogEvent], banks: Sequence[str]
) -> tuple[int, ExpectedEvent | None, LogEvent | None] | None:
    """Position, expected and actual event of the first difference, after setting aside what is equal at both ends."""
    shorter = min(len(ours), len(theirs))
    start = 0
    while start < shorter and _same(ours[start], theirs[start], banks):
        start += 1
    if start == len(ours) == len(theirs):
        return None
    end = 0
    while end < shorter - start and _same(ours[-1 - end], theirs[-1 - end], banks):
        end += 1
    left, right = ours[start : len(ours) - end], theirs[start : len(theirs) - end]
    if not left:
        return start, None, right[0]
    if not right:
        return start, left[0], None
    if left[0].type != right[0].type:
        if any(_same(left[0], event, banks) for event in right[1:]):
            return start, None, right[0]
        if any(_same(event, right[0], banks) for event in left[1:]):
            return start, left[0], None
    return start, left[0], right[0]
