"""A world for development and tests: sites of one's own, the machine's own clock. No release has this module.

    {"version":1, "roots":PEM|null, "hosts":{name:address}, "ports":[n], "allowPrivate":bool, "wallClock":bool}

What a debug image may reach is such a file, measured with it; `pluto-notary serve` takes one. Whatever is signed in
such a world says nothing: no verifier accepts a debug build or insecure evidence unless told to.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields, loads
from pluto_measure.record import record
from pluto_notary.fetch.egress import EgressRules
from pluto_notary.fetch.resolve import Resolver
from pluto_notary.serial import EventWriter
from pluto_notary.server.world import ROOTS, Clock, OperatorsClock, World, world
from pluto_notary.systemd import OS_RELEASE
from pluto_notary.trusted_time.certificates import Roots

VERSION: Final = 1
_LIMIT: Final = 256 * 1024
_UNCERTAINTY: Final = 1.0  # seconds, either way


@record
class InsecureWorld:
    """What is given up. Empty, it is a world like any other."""

    insecure_roots: bytes = b""  # PEM, beside Mozilla's
    insecure_hosts: tuple[tuple[str, str], ...] = ()  # names that are not resolved, with their addresses
    insecure_ports: frozenset[int] = frozenset()  # beside 443
    insecure_allow_private: bool = False
    insecure_wall_clock: bool = False

    @classmethod
    def parse(cls, data: bytes) -> InsecureWorld:
        """FormatError."""
        fields = Fields(loads(data, what="insecure world", limit=_LIMIT), what="insecure world")
        if (version := fields.take("version", int)) != VERSION:
            raise FormatError("insecure world", f"version {version} is not known")
        roots, hosts = fields.take("roots", str, type(None)), fields.take("hosts", dict)
        ports = fields.take("ports", list)
        if not all(_is_address(one) for one in hosts.values()):
            raise FormatError("insecure world", "hosts must hold addresses")
        if not all(type(one) is int and 0 < one < 65536 for one in ports):
            raise FormatError("insecure world", "ports must hold ports")
        if roots is not None:
            Roots.parse(roots.encode())
        found = cls(
            (roots or "").encode(),
            tuple(hosts.items()),
            frozenset(ports),
            fields.take("allowPrivate", bool),
            fields.take("wallClock", bool),
        )
        fields.end()
        return found

    def world(self, roots: bytes, clock: Callable[[], Clock]) -> World:
        """The world with Mozilla's `roots` (PEM); `clock` makes the trustworthy clock, where none is given up."""
        rules = EgressRules(
            ports=EgressRules().ports | self.insecure_ports, insecure_allow_private=self.insecure_allow_private
        )
        known, resolver = dict(self.insecure_hosts), Resolver()

        async def resolve(host: str, port: int) -> tuple[str, ...]:
            return (known[host],) if host in known else await resolver(host, port)

        kept = InsecureWallClock() if self.insecure_wall_clock else clock()
        return world(roots + b"\n" + self.insecure_roots, rules, kept, resolve=resolve)


def _is_address(text: object) -> bool:
    try:
        return isinstance(text, str) and bool(ipaddress.ip_address(text))
    except ValueError:
        return False


def debug_world(path: str, events: EventWriter) -> World:
    """The world of a debug image. FormatError, OSError: then the notary does not start."""
    insecure = InsecureWorld.parse(Path(path).read_bytes())
    roots, built_at = Path(ROOTS).read_bytes(), int(Path(OS_RELEASE).stat().st_mtime)
    return insecure.world(roots, lambda: OperatorsClock(roots, built_at=built_at, events=events))


class InsecureWallClock:
    """The time as the machine's own clock has it, which its host sets."""

    def interval(self, now: float) -> tuple[float, float]:
        at = time.time() - time.monotonic() + now
        return at - _UNCERTAINTY, at + _UNCERTAINTY

    async def run(self) -> None:
        await asyncio.Event().wait()
