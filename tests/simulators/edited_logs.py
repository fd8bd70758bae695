"""Honest logs with one thing changed, and how they compare with what is predicted. For tests alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pluto_measure.compare.difference import Comparison, Difference, compare
from pluto_measure.compare.explain import Known
from pluto_measure.compare.roles import roles
from pluto_measure.digests import digest
from pluto_measure.formats.eventlog import LogEvent
from pluto_measure.launch import Launch
from pluto_measure.machine.platform import Platform
from pluto_measure.measurements import profile_for
from pluto_measure.predict import predict
from simulators import boot_logs
from simulators.boot_logs import MACHINES

Edit = Callable[[list[LogEvent]], object]


def found(name: str, edit: Edit, *, ours: str = "this release") -> Comparison:
    """The comparison of an honest log of MACHINES, edited, with what is predicted."""
    launch, platform = MACHINES[name]
    expected, log = boot_logs.machine(name)
    events = list(log.events)
    edit(events)
    known = Known.of(profile_for(launch, platform).inputs)
    return compare(expected, replace(log, events=tuple(events)), known=known, ours=ours)


def against(expected: tuple[Launch | None, Platform], actual: tuple[Launch | None, Platform]) -> Comparison:
    """The honest log of one machine compared with what is predicted of another."""
    log = boot_logs.honest(predict(*actual), actual[1])
    return compare(predict(*expected), log, known=Known.of(profile_for(*expected).inputs))


def of(event: LogEvent, name: str) -> LogEvent:
    """The event as a log of MACHINES has it: with its banks, and in its RTMR."""
    cc = boot_logs.machine(name)[1].kind == "cc"
    rtmr = {1: 1, 7: 1, **dict.fromkeys(range(2, 7), 2), **dict.fromkeys(range(8, 16), 3)}
    chosen = {bank: value for bank, value in event.digests.items() if bank == "sha384" or not cc}
    return LogEvent(rtmr[event.index] if cc else event.index, event.type, chosen, event.data)


def at(name: str, role: str) -> int:
    """Where a role stands in the honest log."""
    return roles(boot_logs.machine(name)[1]).index(role)


def insert(name: str, before: str, *more: LogEvent) -> Edit:
    """Further events before the one with that role."""
    where = at(name, before)
    return lambda events: events.__setitem__(slice(where, where), [of(event, name) for event in more])


def append(name: str, *more: LogEvent) -> Edit:
    """Further events at the end."""
    return lambda events: events.extend(of(event, name) for event in more)


def drop(name: str, *gone: str) -> Edit:
    """No event with these roles."""
    wanted = roles(boot_logs.machine(name)[1])
    return lambda events: events.__setitem__(
        slice(None), [event for event, role in zip(list(events), wanted, strict=True) if role not in gone]
    )


def change(name: str, role: str, content: bytes, data: bytes | None = None) -> Edit:
    """Another digest, and other data if given."""
    where = at(name, role)

    def edit(events: list[LogEvent]) -> None:
        event = events[where]
        digests = {bank: digest(bank, content) for bank in event.digests}
        events[where] = LogEvent(event.index, event.type, digests, event.data if data is None else data)

    return edit


def one(comparison: Comparison) -> Difference:
    """The only difference."""
    (difference,) = comparison.differences
    return difference


def cause(comparison: Comparison) -> str:
    """The likely cause."""
    assert comparison.cause is not None
    return comparison.cause.text


def other_digest(event: LogEvent) -> LogEvent:
    """The event with digests of zeros."""
    return LogEvent(
        event.index, event.type, {name: bytes(len(value)) for name, value in event.digests.items()}, event.data
    )
