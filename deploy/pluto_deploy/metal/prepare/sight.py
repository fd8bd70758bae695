"""What prepare must know of a host before it decides, and the one look at it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Final, Self

from pluto_deploy.metal import layout
from pluto_deploy.metal.check.facts import HostFacts
from pluto_deploy.metal.connection import Connection
from pluto_deploy.metal.prepare.record import Record
from pluto_measure.errors import FormatError, SourceError
from pluto_measure.formats.strict_json import Fields, loads

_WHAT: Final = "sight"


@dataclass(frozen=True, slots=True)
class Sight:
    """Beside what `host check` sees.

    uplink      interface of the default route
    interfaces  by name: whether it is a bridge
    networks    interface and address with prefix length, of every IPv4 network that the host is in
    grub        whether there is an update-grub
    tools       digests of the tools trees that are there
    prepared    what an earlier preparation wrote down, if there was one
    ufw         whether it is active
    drops       chains of others that drop what is forwarded unless they accept it themselves
    system      os-release(5): ID and VERSION_ID
    parameters  the words of the running kernel's command line
    """

    uplink: str | None
    interfaces: Mapping[str, bool]
    networks: tuple[tuple[str, str], ...]
    grub: bool
    tools: tuple[str, ...]
    prepared: Record | None
    ufw: bool
    drops: tuple[str, ...]
    system: tuple[str | None, str | None]
    parameters: tuple[str, ...]

    @classmethod
    def parse(cls, text: bytes, facts: HostFacts) -> Self:
        """From what `sight_probe` answers. FormatError."""
        fields = Fields(loads(text, what=_WHAT, limit=1 << 20), what=_WHAT)
        interfaces = fields.take("interfaces", dict)
        if not all(isinstance(one, bool) for one in interfaces.values()):
            raise FormatError(_WHAT, "interfaces must have true or false")
        found = cls(
            uplink=fields.take("uplink", str, type(None)),
            interfaces=interfaces,
            networks=_networks(fields.take("networks", list)),
            grub=fields.take("grub", bool),
            tools=_texts(fields, "tools"),
            prepared=_record(fields.take("prepared", str, type(None))),
            ufw=fields.take("ufw", bool),
            drops=_texts(fields, "drops"),
            system=(facts.system.id, facts.system.release),
            parameters=facts.kernel.parameters,
        )
        fields.end()
        return found


def look(connection: Connection, facts: HostFacts) -> Sight:
    """Look at the host. SourceError."""
    script = resources.files("pluto_deploy.metal.prepare").joinpath("sight_probe.py").read_bytes()
    answer = connection.check(["python3", "-I", "-", str(layout.TOOLS), str(layout.PREPARED)], data=script)
    lines = answer.splitlines()
    try:
        return Sight.parse(lines[-1] if lines else b"", facts)
    except FormatError as error:
        raise SourceError(f"{connection.login}: looking at the host failed: {error}") from error


def _texts(fields: Fields, name: str) -> tuple[str, ...]:
    values = fields.take(name, list)
    if not all(isinstance(one, str) for one in values):
        raise FormatError(_WHAT, f"{name} must hold texts")
    return tuple(values)


def _record(text: str | None) -> Record | None:
    """None also for one that cannot be read: it is then written anew."""
    try:
        return None if text is None else Record.parse(text)
    except FormatError:
        return None


def _networks(values: list[object]) -> tuple[tuple[str, str], ...]:
    found = []
    for value in values:
        match value:
            case [str(interface), str(network)]:
                found.append((interface, network))
            case _:
                raise FormatError(_WHAT, "networks must hold pairs of texts")
    return tuple(found)
