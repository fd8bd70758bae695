"""What machines will measure of the newer release, event by event and register by register, and why. Pure.

Two predictions are held against each other, profile by profile of measurements.json. Inside a register events are
aligned as `pluto-measure diff` aligns those of a log: equal ones first, then those that are for the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pluto_image.difference.causes import Causes
from pluto_image.difference.model import (
    EventChange,
    EventState,
    ProfileChange,
    RegisterChange,
    RegisterState,
    Value,
)
from pluto_image.difference.packages import values
from pluto_measure.compare.alignment import Kinship, align
from pluto_measure.formats.eventlog import type_name
from pluto_measure.formats.strict_json import canonical
from pluto_measure.measurements import Measurements, Profile
from pluto_measure.predict.events import Banks, ExpectedEvent
from pluto_measure.registers.rules import RegisterRule

# The build's own part of a profile's inputs, which is told as such.
_OF_THE_BUILD: Final = ("commandLine", "stub")
_DEEPEST: Final = 8


def profiles(before: Measurements, after: Measurements, causes: Causes) -> tuple[tuple[ProfileChange, ...], list[str]]:
    """Machines that are new, gone, or expect something else, in the order of the newer file; ids of the others."""
    one, two = ({profile.id: profile for profile in side.profiles} for side in (before, after))
    found, same = [], []
    for name in {**two, **one}:
        change = _profile(one.get(name), two.get(name), causes)
        if change is None:
            same.append(name)
        else:
            found.append(change)
    return tuple(found), same


def _profile(one: Profile | None, two: Profile | None, causes: Causes) -> ProfileChange | None:
    present = two or one
    if present is None:
        return None
    kind = "added" if one is None else "removed" if two is None else "changed"
    inputs, claims = (tuple(values(*(_flat(side, name) for side in (one, two)))) for name in ("inputs", "claims"))
    changes = () if one is None or two is None else tuple(_events(one, two, inputs, causes))
    registers = tuple(_registers(one, two, changes, inputs, causes))
    if kind == "changed" and not (inputs or claims or changes or registers):
        return None
    told = inputs if kind == "changed" else ()
    return ProfileChange(present.id, present.platform, kind, told, claims, registers, changes)


def _flat(profile: Profile | None, name: str) -> dict[str, str]:
    """Leaves of the inputs or claims by their path, as text."""
    if profile is None:
        return {}
    given = profile.inputs if name == "inputs" else profile.claims
    return dict(_leaves("", {key: value for key, value in given.items() if key not in _OF_THE_BUILD}, 0))


def _leaves(path: str, value: object, depth: int) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and depth < _DEEPEST:
        for key, inner in value.items():
            yield from _leaves(f"{path}.{key}" if path else str(key), inner, depth + 1)
    else:
        yield path, value if isinstance(value, str) else canonical(value).decode()


def _events(one: Profile, two: Profile, inputs: Sequence[Value], causes: Causes) -> Iterator[EventChange]:
    names = dict.fromkeys(event.register for event in (*two.events, *one.events))
    for register in names:
        left, right = ([event for event in side.events if event.register == register] for side in (one, two))
        for i, j in _pairs(left, right):
            before, after = None if i is None else left[i], None if j is None else right[j]
            told = after or before
            if told is not None and (before is None or after is None or _key(before) != _key(after)):
                position = j if j is not None else i or 0
                why = causes.of(told.source, inputs)
                yield EventChange(register, told.role, position, _event(before), _event(after), why)


def _pairs(one: Sequence[ExpectedEvent], two: Sequence[ExpectedEvent]) -> Sequence[tuple[int | None, int | None]]:
    left, right = [_key(event) for event in one], [_key(event) for event in two]

    def equal(i: int, j: int) -> bool:
        return left[i] == right[j]

    def like(i: int, j: int) -> bool:
        return one[i].role == two[j].role

    return align(left, right, Kinship(equal, like, lambda i, j: one[i].type == two[j].type and like(i, j)))


def _key(event: ExpectedEvent) -> tuple[object, ...]:
    """What an event expects: not its words."""
    return event.type, _hex(event.digests), tuple(map(_hex, event.allowed))


def _hex(banks: Banks) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((bank, value.hex()) for bank, value in banks.items()))


def _event(event: ExpectedEvent | None) -> EventState | None:
    if event is None:
        return None
    allowed = tuple(dict(_hex(one)) for one in event.allowed)
    return EventState(type_name(event.type), dict(_hex(event.digests)), allowed, event.description, event.source)


def _registers(
    one: Profile | None, two: Profile | None, events: Sequence[EventChange], inputs: Sequence[Value], causes: Causes
) -> Iterator[RegisterChange]:
    left, right = (({} if side is None else side.registers) for side in (one, two))
    for name in {**right, **left}:
        before, after = left.get(name), right.get(name)
        if before == after:
            continue
        moved = [event for event in events if event.register == name]
        sentences = dict.fromkeys(sentence for event in moved for sentence in event.why)
        if not moved and before is not None and after is not None:
            sentences = dict.fromkeys(causes.of("platform.firmware", inputs))  # MRTD and the like, which no log has
        roles = tuple(dict.fromkeys(event.role for event in moved))
        yield RegisterChange(name, _rule(before), _rule(after), roles, tuple(sentences))


def _rule(rule: RegisterRule | None) -> RegisterState | None:
    if rule is None:
        return None
    return RegisterState(rule.match, rule.source, tuple(dict(_hex(value)) for value in rule.values))
