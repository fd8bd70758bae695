"""What the notary reaches outside of its own process: web sites, by whose roots; the time, by whose word.

In a trust domain all of it is of the image: Mozilla's roots, the policy of `fetch.egress`, the pinned operators of
`trusted_time`. No configuration changes any of it.
"""

from __future__ import annotations

import os
import socket
import ssl
import time
from functools import cache
from pathlib import Path
from typing import Final, Protocol

from pluto_measure.record import record, replace
from pluto_notary.fetch.egress import EgressRules, is_allowed
from pluto_notary.fetch.limits import FetchLimits
from pluto_notary.fetch.outgoing import prepared
from pluto_notary.fetch.resolve import Resolver
from pluto_notary.fetch.run import fetch, reached
from pluto_notary.fetch.target import HTTP_1, HTTP_2, client_context, connect
from pluto_notary.observe import roots as site_roots
from pluto_notary.observe.recording import Recording
from pluto_notary.observe.seen import seen
from pluto_notary.serial import EventWriter
from pluto_notary.server.answers import Told
from pluto_notary.server.prover import Fetcher, Reach
from pluto_notary.server.seeing import See, Sight, bounds
from pluto_notary.systemd import OS_RELEASE
from pluto_notary.trusted_time.agree import Rules
from pluto_notary.trusted_time.certificates import Roots
from pluto_notary.trusted_time.clock import TrustedClock
from pluto_notary.trusted_time.operators import OPERATORS
from pluto_notary.trusted_time.run import Pace, Round, Timekeeper
from pluto_notary.trusted_time.sockets import SocketNetwork
from pluto_notary.trusted_time.source import Asking
from pluto_notary.web import Exchange, WebRequest

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from pluto_notary.fetch.resolve import Resolve

ALPN: Final = {"HTTP/1.1": HTTP_1, "HTTP/2": HTTP_2}
ROOTS: Final = "/etc/ssl/certs/ca-certificates.crt"


class Clock(Protocol):
    """Unix time as an interval; local times are `time.monotonic`'s."""

    def interval(self, now: float) -> tuple[float, float]:
        """Earliest and latest Unix time, in seconds, at local time `now`. ClockError."""
        ...

    async def run(self) -> None:
        """Keep it right until cancelled."""
        ...


@record
class World:
    """Web sites and the time. `reach` and `see`: for sites that clients observe, by the rules and roots of `fetch`."""

    fetch: Fetcher
    reach: Reach
    see: See
    clock: Clock


class OperatorsClock:
    """The time that the pinned operators agree on. `events` hears when it becomes known, and when it is lost."""

    def __init__(self, roots: bytes, *, built_at: int, events: EventWriter) -> None:
        self._events, self._known = events, False
        self._clock = TrustedClock(Rules(built_at))
        asking = Asking(
            rules=Rules(built_at),
            roots=Roots.parse(roots),
            network=SocketNetwork(),
            allowed=lambda address: is_allowed(address, EgressRules()),
            monotonic=time.monotonic,
            random=os.urandom,
        )
        self._keeper = Timekeeper(self._clock, OPERATORS, asking, pace=Pace(), told=self._told)

    def interval(self, now: float) -> tuple[float, float]:
        return self._clock.interval(now)

    async def run(self) -> None:
        await self._keeper.run()

    def _told(self, heard: Round) -> None:
        if self._known != (heard.reason is None):
            self._known = heard.reason is None
            self._events.emit("time", state="known" if self._known else "unknown")


def trustworthy(events: EventWriter) -> World:
    """The world of an image: its own roots, and no time before its own. OSError if the image lacks something."""
    roots, built_at = Path(ROOTS).read_bytes(), int(Path(OS_RELEASE).stat().st_mtime)
    clock = OperatorsClock(roots, built_at=built_at, events=events)
    return world(roots, EgressRules(), clock)


def world(roots: bytes, rules: EgressRules, clock: Clock, *, resolve: Resolve | None = None) -> World:
    """Web sites that these roots (PEM) vouch for, where `rules` let us go. ssl.SSLError for roots that are none."""
    resolver, limits = resolve or Resolver(), FetchLimits()
    text = roots.decode("ascii")
    client_context(text)  # what is wrong with the roots shows now

    @cache
    def context(version: str | None) -> ssl.SSLContext:
        made = client_context(text)
        if version is not None:
            made.set_alpn_protocols([ALPN[version]])
        return made

    async def ask(
        request: WebRequest, *, version: str | None, judged_at: tuple[int, int], most: int, step: Told
    ) -> Exchange:
        return await fetch(
            request,
            rules=rules,
            limits=replace(limits, body_bytes=min(limits.body_bytes, most)),
            tls=context(version),
            resolve=resolver,
            connect=connect,
            clock=time.monotonic,
            judged_at=judged_at,
            step=step,
        )

    async def reach(request: WebRequest, *, step: Told) -> socket.socket:
        prepared(request, limits)  # what would not be sent is not waited for either
        _, connection = await reached(request, rules=rules, limits=limits, resolve=resolver, connect=connect, step=step)
        return connection

    return World(ask, reach, seeing(roots, limits), clock)


def seeing(roots: bytes, limits: FetchLimits) -> See:
    """What recordings show of sites that these roots (PEM) vouch for."""
    known = site_roots.Roots.load(roots)

    def see(
        recording: Recording,
        secret: bytes,
        *,
        request: WebRequest,
        exchange: int,
        judged_at: tuple[int, int],
        most: int,
    ) -> Sight:
        found = seen(
            recording,
            secret,
            request=request,
            exchange=exchange,
            roots=known,
            judged_at=judged_at,
            limits=bounds(most),
            fetch_limits=replace(limits, body_bytes=min(limits.body_bytes, most)),
        )
        return Sight(*found)

    return see
