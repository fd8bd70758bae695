"""Where a machine's log parts from the expected one: every event that differs, in words, and what caused it. Pure.

Only the order inside a register is compared: a register proves that one, and nothing proves the order between
registers. Inside, events are aligned by what they are for (`roles`), and are equal where type and digests are. Every
event counts, so one event too many is a difference too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pluto_measure.compare.explain import Cause, Known, Meaning, Place, Scene, cause_of, explain
from pluto_measure.compare.roles import roles
from pluto_measure.compare.rows import NOT_PREDICTED, Row, align_logs, common_banks
from pluto_measure.event_text import describe, event_json
from pluto_measure.formats.eventlog import EventLog, EventType, LogEvent
from pluto_measure.predict.events import ExpectedEvent

__all__ = [
    "NOT_PREDICTED",
    "THIS_RELEASE",
    "Comparison",
    "Difference",
    "compare",
    "differences",
    "event_json",
    "expected_from_log",
    "first_difference",
]

_MOST_PER_REGISTER: Final = 32  # differences that are put into words
THIS_RELEASE: Final = "this release"


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where a register's events differ.

    `expected` is None for an event too many, `actual` None for a missing one. `index` counts all records of the log
    from 0 (for a missing event: where it should have been), `nth` the events of the register. `attack` is the name of
    a known attack of the host, if the log shows one.
    """

    register: str
    index: int
    nth: int
    expected: ExpectedEvent | None
    actual: LogEvent | None
    role: str
    why: Meaning

    @property
    def meaning(self) -> str:
        """What it means, for people."""
        return self.why.text

    @property
    def attack(self) -> str | None:
        """The name of the attack that the log shows here."""
        return self.why.attack

    @property
    def kind(self) -> str:
        """unexpected, missing or changed."""
        return "unexpected" if self.expected is None else "missing" if self.actual is None else "changed"

    def to_json(self) -> dict[str, object]:
        return {
            "register": self.register,
            "index": self.index,
            "eventOfRegister": self.nth,
            "kind": self.kind,
            "role": self.role,
            "expected": None if self.expected is None else self.expected.to_json(),
            "actual": None if self.actual is None else event_json(self.register, self.actual),
            "meaning": self.meaning,
            "attack": self.attack,
            "harmless": self.why.harmless,
            "understood": self.why.is_understood,
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both logs, row by row for every compared register, and what the rows mean that differ.

    `by_row`: the difference of a register's row, by both. `differences`: the same in the order of the log. Of one
    register at most 32 are explained; `counts` has them all.
    """

    rows: Mapping[str, tuple[Row, ...]]
    by_row: Mapping[tuple[str, int], Difference]
    differences: tuple[Difference, ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many rows of each compared register differ."""
        return {name: sum(not row.equal for row in rows) for name, rows in self.rows.items()}

    @property
    def first(self) -> Difference | None:
        """The difference that comes first in the log."""
        return next(iter(self.differences), None)

    @property
    def firsts(self) -> tuple[Difference, ...]:
        """The first difference of every register that has one, in the order of the log."""
        chosen: dict[str, Difference] = {}
        for difference in self.differences:
            chosen.setdefault(difference.register, difference)
        return tuple(chosen.values())

    @property
    def cause(self) -> Cause | None:
        """What likely made the logs differ; None where they do not."""
        return cause_of(difference.why for difference in self.differences)

    @property
    def explainable(self) -> tuple[str, ...]:
        """The compared registers whose events are the expected ones, or differ by nothing that is not understood."""
        understood: dict[str, int] = {}
        for difference in self.differences:
            understood[difference.register] = understood.get(difference.register, 0) + difference.why.is_understood
        return tuple(name for name, count in self.counts.items() if understood.get(name, 0) == count)


def compare(
    expected: Sequence[ExpectedEvent],
    log: EventLog,
    registers: Collection[str] | None = None,
    *,
    known: Known | None = None,
    ours: str = THIS_RELEASE,
) -> Comparison:
    """All that differs. `registers` as for `rows.align_logs`; `known`: what the prediction's inputs say, so that causes
    can be computed; `ours`: whose the expected events are. FormatError where both have no bank in common.
    """
    given = roles(log)
    rows, scene = align_logs(expected, log, registers, given), _scene(expected, log, given, known or Known(), ours)
    moved = _moved(rows, common_banks(expected, log))
    found: dict[tuple[str, int], Difference] = {}
    for name, of_register in rows.items():
        differing = [at for at, row in enumerate(of_register) if not row.equal]
        for at in differing[:_MOST_PER_REGISTER]:
            row = of_register[at]
            place = Place(name, row.expected, row.actual, row.role, moved.get((name, at)))
            why = explain(place, scene)
            found[name, at] = Difference(name, row.index, row.nth, row.expected, row.actual, row.role, why)
    return Comparison(rows, found, tuple(sorted(found.values(), key=lambda difference: difference.index)))


def differences(
    expected: Sequence[ExpectedEvent],
    log: EventLog,
    registers: Collection[str] | None = None,
    *,
    command_line: str | None = None,
    known: Known | None = None,
) -> tuple[Difference, ...]:
    """The first difference of every register that has one, in the order of the log.

    `registers` as for `rows.align_logs` (`Profile.logged`). `command_line`, where known, tells an addition from a
    replacement. FormatError where log and expectation have no bank in common.
    """
    what = known or Known(command_line=command_line)
    return compare(expected, log, registers, known=what).firsts


def first_difference(
    expected: Sequence[ExpectedEvent],
    log: EventLog,
    registers: Collection[str] | None = None,
    *,
    command_line: str | None = None,
) -> Difference | None:
    """The difference that comes first in the log; None where every compared register has the expected events."""
    return next(iter(differences(expected, log, registers, command_line=command_line)), None)


def expected_from_log(log: EventLog) -> tuple[ExpectedEvent, ...]:
    """Another machine's log as the expectation."""
    return tuple(
        ExpectedEvent(log.register(event), event.type, dict(event.digests), describe(event), f"event {position}", role)
        for position, (event, role) in enumerate(zip(log.events, roles(log), strict=True))
        if event.type != EventType.EV_NO_ACTION
    )


def _scene(expected: Sequence[ExpectedEvent], log: EventLog, given: Sequence[str], known: Known, ours: str) -> Scene:
    predicted: dict[str, list[ExpectedEvent]] = {}
    for wanted in expected:
        predicted.setdefault(wanted.register, []).append(wanted)
    actual: dict[str, list[LogEvent]] = {}
    by_register: dict[str, list[str]] = {}
    for event, role in zip(log.events, given, strict=True):
        if event.type != EventType.EV_NO_ACTION:
            actual.setdefault(log.register(event), []).append(event)
            by_register.setdefault(log.register(event), []).append(role)
    return Scene(predicted, actual, by_register, known, ours)


def _moved(rows: Mapping[str, Sequence[Row]], banks: Sequence[str]) -> dict[tuple[str, int], str]:
    """For rows with an event too many or missing: the register where the same event is missing or too many."""
    missing: dict[tuple[int, tuple[bytes, ...]], deque[tuple[str, int]]] = {}
    extra: list[tuple[tuple[str, int], LogEvent]] = []
    for name, of_register in rows.items():
        for at, row in enumerate(of_register):
            if row.actual is None and row.expected is not None and row.expected.digests:
                key = row.expected.type, tuple(row.expected.digests[bank] for bank in banks)
                missing.setdefault(key, deque()).append((name, at))
            elif row.expected is None and row.actual is not None:
                extra.append(((name, at), row.actual))
    found: dict[tuple[str, int], str] = {}
    for place, event in extra:
        waiting = missing.get((event.type, tuple(event.digests[bank] for bank in banks)))
        if waiting:
            lost = waiting.popleft()
            found[place], found[lost] = lost[0], place[0]
    return found
