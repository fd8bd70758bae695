"""Units of a root: which start, what each may do, what listens. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pluto_image.contents.recipe import Reasons
from pluto_image.lint import hardening, unit_files
from pluto_image.lint.sandbox import sandbox
from pluto_image.lint.unit_files import Unit
from pluto_image.lint.unit_graph import Graph
from pluto_image.tree import Entry
from pluto_measure.formats.strict_json import Fields

# systemd.socket(5): settings that open something, and what.
_LISTEN: Final[Mapping[str, str]] = {
    "ListenStream": "stream",
    "ListenDatagram": "datagram",
    "ListenSequentialPacket": "sequential packets",
    "ListenFIFO": "FIFO",
    "ListenSpecial": "special file",
    "ListenNetlink": "netlink",
    "ListenMessageQueue": "message queue",
    "ListenUSBFunction": "USB function",
}
_INTERNET: Final = {"ListenStream": "TCP", "ListenDatagram": "UDP"}


@dataclass(frozen=True, slots=True)
class UnitFacts:
    """One unit. `starts`: whether anything starts it at boot. `score` is None for what runs no program."""

    name: str
    kind: str
    description: str
    starts: bool
    user: str
    program: str
    path: str
    drop_ins: tuple[str, ...]
    why: str
    score: hardening.Score | None


@dataclass(frozen=True, slots=True)
class Listener:
    """Something that others can connect to. `reach`: "network", or "machine" for what only its own programs see."""

    unit: str
    address: str
    protocol: str
    reach: str
    starts: bool
    service: str


def services(entries: Sequence[Entry], reasons: Reasons) -> tuple[tuple[UnitFacts, ...], tuple[Listener, ...]]:
    """All units, and what socket units listen on.

    Services come first, the most exposed at the top, then the other units by name; of listeners those that the network
    reaches come first.
    """
    started = Graph(entries).started()
    found = unit_files.units(entries).values()
    units = [_facts(unit, unit.name in started, reasons) for unit in found]
    sockets = [unit for unit in found if unit.kind == "socket"]
    listeners = [one for unit in sockets for one in _listening(unit, unit.name in started)]
    listeners.sort(key=lambda one: (one.reach != "network", one.unit, one.address))
    return tuple(sorted(units, key=_rank)), tuple(listeners)


def container_ports(config: object) -> tuple[str, ...]:
    """ExposedPorts of an OCI image's configuration (image-spec, config.md), such as "8443/tcp", sorted. FormatError."""
    fields = Fields(config, what="container configuration")
    inner = fields.optional("config")
    ports = {} if inner is None else inner.get("ExposedPorts", {}, dict)
    return tuple(sorted(ports))


def _facts(unit: Unit, starts: bool, reasons: Reasons) -> UnitFacts:
    runs = hardening.starts_program(unit)
    return UnitFacts(
        name=unit.name,
        kind=unit.kind,
        description=unit.last("Unit", "Description"),
        starts=starts,
        user=_user(unit) if runs else "",
        program=_program(unit),
        path=unit.path,
        drop_ins=unit.drop_ins,
        why=reasons.units.get(unit.name, ""),
        score=hardening.score(unit) if runs else None,
    )


def _rank(unit: UnitFacts) -> tuple[int, int, str]:
    return (0, -unit.score.tenths, unit.name) if unit.score is not None else (1, 0, unit.name)


def _user(unit: Unit) -> str:
    own = sandbox(unit)
    return "root" if own.is_root else own.user or "(one of its own)"


def _program(unit: Unit) -> str:
    """The last command line of ExecStart=, without systemd's own signs before it."""
    return unit.last("Service", "ExecStart").lstrip("-@:+!|")


def _listening(unit: Unit, starts: bool) -> Iterator[Listener]:
    service = unit.last("Socket", "Service") or f"{unit.name.rpartition('.')[0]}.service"
    for key, protocol in _LISTEN.items():
        values: list[str] = []
        for value in unit.all("Socket", key):
            values = [*values, value] if value else []
        for value in values:
            local = value.startswith(("/", "@", "vsock:")) or key not in _INTERNET
            reach = "machine" if local and not value.startswith("vsock:") else "network"
            shown = protocol if local else _INTERNET[key]
            yield Listener(unit.name, value, shown, reach, starts, service)
