"""The chapters on what a boot measures: events, and the registers of each machine. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pluto_image.difference.chapter import NONE, Chapter, kind_of, table_of
from pluto_image.difference.model import Difference, EventChange, EventState, ProfileChange, RegisterState


def events(found: Difference) -> Chapter:
    """Events once, however many machines expect them."""
    machines: dict[tuple[object, ...], list[str]] = {}
    first: dict[tuple[object, ...], EventChange] = {}
    for profile in found.profiles:
        for one in profile.events:
            key = (one.register, one.role, _digest(one.before), _digest(one.after), one.why)
            machines.setdefault(key, []).append(profile.id)
            first.setdefault(key, one)
    rows = tuple(
        (
            _register(one.register), _event(one), _digest(one.before), _digest(one.after), "; ".join(one.why),
            ", ".join(machines[key]),
        )
        for key, one in first.items()
    )  # fmt: skip
    columns = ("register:name", "event:text", "before:digest", "now:digest", "why:text", "machines:text")
    says = "What a boot measures, as predicted for each machine: the events that are others now, and what led to them."
    return Chapter("events", "Measured events", says, (table_of("Events that changed", columns, rows),))


def registers(found: Difference) -> Chapter:
    """Machines that change alike stand together."""
    alike: dict[tuple[str, str, tuple[tuple[str, ...], ...]], list[str]] = {}
    for one in found.profiles:
        alike.setdefault((one.platform, one.kind, tuple(_expected(one))), []).append(one.id)
    tables = []
    for (platform, kind, rows), names in alike.items():
        word = {"added": ": new", "removed": ": gone"}.get(kind, "")
        columns = ("register:name", "before:digest", "now:digest", "why:text")
        tables.append(table_of(f"{', '.join(names)} ({platform}){word}", columns, rows))
    same = f" The same as before: {', '.join(found.unchanged_machines)}." if found.unchanged_machines else ""
    says = f"What a verifier must expect of each machine from now on.{same}"
    return Chapter("registers", "Registers by machine", says, tuple(table for table in tables if table.rows))


def _expected(one: ProfileChange) -> Iterator[tuple[str, ...]]:
    for each in one.registers:
        yield _register(each.register), _rule(each.before), _rule(each.after), "; ".join(each.why)
    for value in one.claims:
        yield value.name, value.before or NONE, value.after or NONE, "a claim of the token"
    for value in one.inputs:
        yield value.name, value.before or NONE, value.after or NONE, "an input of the machine"


def _register(name: str) -> str:
    """RTMR[1], PCR 4, MRTD."""
    if name.startswith("rtmr"):
        return f"RTMR[{name[4:]}]"
    return f"PCR {name[3:]}" if name.startswith("pcr") else name.upper()


def _rule(state: RegisterState | None) -> str:
    """What a register may hold, with the strongest bank's digests."""
    if state is None:
        return NONE
    values = ", ".join(_strongest(value) for value in state.values)
    return values if state.match == "exact" else f"{state.match} {values}".strip()


def _strongest(banks: Mapping[str, str]) -> str:
    """The longest digest of all banks."""
    return max(banks.values(), key=len, default="")


def _event(one: EventChange) -> str:
    state = one.after or one.before
    kind = {"added": ": new", "removed": ": gone"}.get(kind_of(one.before, one.after), "")
    return f"{'' if state is None else state.description}{kind}"


def _digest(state: EventState | None) -> str:
    if state is None:
        return NONE
    return _strongest(state.digests) or ", ".join(_strongest(one) for one in state.allowed) or "any"
