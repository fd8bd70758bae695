"""Two logs side by side: which logged event stands where which one was expected, register by register. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pluto_measure.compare.alignment import Kinship, Pair, align
from pluto_measure.compare.roles import are_akin, is_vague, roles
from pluto_measure.digests import ALGORITHMS
from pluto_measure.errors import FormatError
from pluto_measure.formats.eventlog import EventLog, EventType, LogEvent
from pluto_measure.predict.events import ExpectedEvent

# Firmware volumes, ACPI tables, boot variables; PCR 10 is written by the kernel after the log's end.
NOT_PREDICTED: Final = ("pcr0", "pcr1", "pcr10", "mrtd")

_BY_PLACE: Final = ("acpi:", "image:")  # roles that one event more shifts

Key = tuple[int, tuple[bytes, ...]]


@dataclass(frozen=True, slots=True)
class Row:
    """What stands side by side in one register: both events, or one and nothing.

    `index` is the record's position in the log, `nth` that among the events of the register; of what is missing, where
    it should have been.
    """

    register: str
    index: int
    nth: int
    expected: ExpectedEvent | None
    actual: LogEvent | None
    role: str
    equal: bool


def align_logs(
    expected: Sequence[ExpectedEvent],
    log: EventLog,
    registers: Collection[str] | None = None,
    given: Sequence[str] | None = None,
) -> dict[str, tuple[Row, ...]]:
    """Rows by register. `registers` are those to compare; by default all that the log or the expectation names, except
    NOT_PREDICTED ones without an expected event. `given`: roles(log). FormatError where both have no bank in common.
    """
    banks = common_banks(expected, log)
    predicted: dict[str, list[ExpectedEvent]] = {}
    for wanted in expected:
        predicted.setdefault(wanted.register, []).append(wanted)
    logged: dict[str, list[int]] = {}
    for position, event in enumerate(log.events):
        if event.type != EventType.EV_NO_ACTION:
            logged.setdefault(log.register(event), []).append(position)
    if registers is None:
        registers = [name for name in {**predicted, **logged} if name in predicted or name not in NOT_PREDICTED]
    given = roles(log) if given is None else given
    return {
        name: tuple(_rows(name, predicted.get(name, []), logged.get(name, []), log, given, banks))
        for name in registers
        if name != "mrtd" or name in logged  # a log says nothing of it
    }


def common_banks(expected: Sequence[ExpectedEvent], log: EventLog) -> tuple[str, ...]:
    """The algorithms that the log has and every expected event has a digest in. FormatError where there is none."""
    offered = set(ALGORITHMS)
    for event in expected:
        for choice in (event.digests, *event.allowed):
            offered &= set(choice) if choice else offered
    banks = tuple(name for name in log.algorithms if name in offered)
    if not banks:
        raise FormatError("event log", f"has {', '.join(log.algorithms)}, and none of these is expected")
    return banks


def _rows(
    name: str,
    ours: Sequence[ExpectedEvent],
    positions: Sequence[int],
    log: EventLog,
    given: Sequence[str],
    banks: Sequence[str],
) -> Iterator[Row]:
    theirs = [log.events[position] for position in positions]
    their_roles = [given[position] for position in positions]
    meant = {_key(event.type, event.digests, banks): event.role for event in reversed(ours) if event.digests}
    nth = 0
    for left, right in _pairs(ours, theirs, their_roles, banks):
        wanted = None if left is None else ours[left]
        actual = None if right is None else theirs[right]
        nth = nth if right is None else right
        index = positions[nth] if nth < len(positions) else len(log.events)
        role = their_roles[right] if right is not None else ""
        if wanted is not None:
            # What was expected says what an event is for, unless it does not know more than its type.
            role = role if role and is_vague(wanted.role) else wanted.role
        elif actual is not None and (is_vague(role) or role.startswith(_BY_PLACE)):
            role = meant.get(_key(actual.type, actual.digests, banks), role)
        equal = wanted is not None and actual is not None and _same(wanted, actual, banks)
        yield Row(name, index, nth, wanted, actual, role, equal)
        nth += right is not None


def _pairs(
    ours: Sequence[ExpectedEvent], theirs: Sequence[LogEvent], their_roles: Sequence[str], banks: Sequence[str]
) -> tuple[Pair, ...]:
    mine = [_key(event.type, event.digests, banks) if event.digests else None for event in ours]
    others = [_key(event.type, event.digests, banks) for event in theirs]

    def equal(i: int, j: int) -> bool:
        return mine[i] == others[j] if mine[i] is not None else _same(ours[i], theirs[j], banks)

    def like(i: int, j: int) -> bool:
        return ours[i].role == their_roles[j]

    def similar(i: int, j: int) -> bool:
        if ours[i].type != theirs[j].type:
            return not ours[i].is_open and ours[i].permits(theirs[j].digests, banks)
        return are_akin(ours[i].role, their_roles[j])

    return align(mine, others, Kinship(equal, like, similar))


def _key(kind: int, digests: Mapping[str, bytes], banks: Sequence[str]) -> Key:
    return kind, tuple(digests[bank] for bank in banks)


def _same(wanted: ExpectedEvent, actual: LogEvent, banks: Sequence[str]) -> bool:
    return wanted.type == actual.type and wanted.permits(actual.digests, banks)
