"""What a host says of itself when it is looked at: the answer of `remote.look`, strictly read. Pure.

The host is not trusted: an answer that is none is a FormatError, a name that is none of ours is left out, and nothing
of it is believed of a machine that evidence does not show.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any, Final, Self

from pluto_deploy.engine.scene import SLOTS, Generation, Machine, State
from pluto_deploy.metal import layout
from pluto_deploy.metal.layout import FIRST_LEASE, LAST_LEASE, Slot
from pluto_deploy.metal.prepare.record import Record
from pluto_measure.errors import FormatError
from pluto_measure.evidence import format_time
from pluto_measure.formats.strict_json import Fields

_WHAT: Final = "host"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_RULES: Final = re.compile(re.escape(f"{layout.TRAFFIC}/") + r"[a-z0-9][a-z0-9-]*\.nft")
_LATEST: Final = 253402300799  # the last second of the year 9999


@dataclass(frozen=True, slots=True)
class Seen:
    """One look. Sizes in bytes.

    partials  copies of ours that were not finished; rules: the rule files of other deployments
    leases    the number of each "NAME SLOT"; others: the records in the slots of other deployments
    listening the TCP ports that programs of the host listen on
    enabled   the slots that start with the host; alone: whether there is no other deployment
    """

    prepared: Record | None
    releases: frozenset[str]
    tools: frozenset[str]
    partials: tuple[PurePosixPath, ...]
    machines: tuple[Machine, ...]
    enabled: frozenset[str]
    serving: str | None
    traffic: str | None
    rules: tuple[str, ...]
    leases: Mapping[str, int]
    others: tuple[str, ...]
    listening: frozenset[int]
    alone: bool
    free: int
    memory: int

    @classmethod
    def parse(cls, answer: object) -> Self:
        """FormatError."""
        fields = Fields(answer, what=_WHAT)
        prepared = fields.take("prepared", str, type(None))
        slots = fields.sub("slots")
        shown = {letter: slots.optional(letter) for letter in SLOTS}
        machines = {letter: _machine(letter, one) for letter, one in shown.items() if one is not None}
        serving = fields.take("serving", str, type(None))
        seen = cls(
            prepared=None if prepared is None else Record.parse(prepared),
            releases=frozenset(filter(_DIGEST.fullmatch, _texts(fields, "releases"))),
            tools=frozenset(filter(_DIGEST.fullmatch, _texts(fields, "tools"))),
            partials=tuple(filter(_is_partial, map(PurePosixPath, _texts(fields, "partials")))),
            machines=tuple(machine for machine, _ in machines.values()),
            enabled=frozenset(letter for letter, (_, starts) in machines.items() if starts),
            serving=serving if serving in SLOTS else None,
            traffic=fields.take("traffic", str, type(None)),
            rules=tuple(filter(_RULES.fullmatch, _texts(fields, "rules"))),
            leases=_leases(fields.take("leases", dict)),
            others=tuple(_texts(fields, "others")),
            listening=frozenset(one for one in fields.take("listening", list) if isinstance(one, int)),
            alone=fields.take("alone", bool),
            free=fields.take("free", int),
            memory=fields.take("memory", int),
        )
        slots.end()
        fields.end()
        return seen

    @property
    def has_ipv6(self) -> bool:
        """Whether trust domains of this host are led by IPv6, too."""
        return self.prepared is not None and self.prepared.ipv6

    def slot(self, name: str, letter: str) -> Slot:
        """A slot with the number that it has; one without holds nothing, so that any number names its files."""
        return Slot(name, letter, self.leases.get(f"{name} {letter}", FIRST_LEASE))


def _machine(slot: str, fields: Fields) -> tuple[Machine, bool]:
    """What a host says of one slot, and whether it starts with the host.

    A record that is none of ours, or one without its unit, counts as a machine that is not complete.
    """
    record, unit = fields.take("record", str, type(None)), fields.take("unit", dict)
    refused, made = fields.take("refused", bool), fields.take("made", int)
    fields.end()
    starts = unit.get("UnitFileState") == "enabled"
    try:
        generation = Generation.parse(record or "")
    except FormatError:
        return Machine(slot, None, "incomplete"), starts
    if unit.get("LoadState") != "loaded":
        return Machine(slot, None, "incomplete"), starts
    since = _time(str(unit.get("ActiveEnterTimestamp", "")))
    return Machine(slot, generation, _state(unit), refused, since, made), starts


def _state(unit: Mapping[str, Any]) -> State:
    active, sub = unit.get("ActiveState"), unit.get("SubState")
    if active == "failed" or sub in ("auto-restart", "auto-restart-queued"):
        return "broken"
    return "running" if active in ("active", "activating", "deactivating", "reloading") else "stopped"


def _time(text: str) -> str:
    """RFC 3339 of what systemctl(1) says with --timestamp=unix; empty where it says nothing."""
    seconds = text.removeprefix("@")
    known = seconds.isascii() and seconds.isdigit() and len(seconds) < 13 and int(seconds) <= _LATEST
    return format_time(datetime.fromtimestamp(int(seconds), UTC)) if known else ""


def _is_partial(path: PurePosixPath) -> bool:
    """Whether it lies where copies are made: what is removed is never elsewhere."""
    return path.parent in (layout.IMAGES, layout.TOOLS) and path.name not in ("", "..")


def _leases(value: Mapping[str, Any]) -> dict[str, int]:
    known = [(number, owner) for number, owner in value.items() if isinstance(owner, str)]
    numbers = {owner: int(number) for number, owner in known if re.fullmatch(r"[0-9]{1,3}", number, re.ASCII)}
    return {owner: number for owner, number in numbers.items() if _is_number(number)}


def _is_number(number: int) -> bool:
    return FIRST_LEASE <= number <= LAST_LEASE


def _texts(fields: Fields, name: str) -> list[str]:
    values = fields.take(name, list)
    if not all(isinstance(one, str) for one in values):
        raise FormatError(_WHAT, f"{name} must hold texts")
    return list(values)
