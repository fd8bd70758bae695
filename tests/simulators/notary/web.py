"""The web as a notary in a test meets it: sites of ours, under names that a resolver of ours knows."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from pluto_measure.record import replace
from pluto_notary.fetch.egress import EgressRules
from pluto_notary.fetch.limits import FetchLimits
from pluto_notary.fetch.outgoing import prepared
from pluto_notary.fetch.run import fetch, reached
from pluto_notary.fetch.target import client_context
from pluto_notary.observe.recording import Recording
from pluto_notary.server.seeing import Sight
from pluto_notary.server.world import Clock, World, seeing
from pluto_notary.web import Exchange, WebRequest
from simulators.notary.names import Names
from simulators.notary.sites import Net


@dataclass
class Web:
    """Our sites under their names, certificates of today under `roots`; `rules` and `limits` of whoever asks."""

    roots: str
    net: Net
    names: Names
    limits: FetchLimits
    rules: EgressRules

    def world(self, clock: Clock) -> World:
        """Made in the running loop."""
        return World(partial(self._fetch, tls=client_context(self.roots)), self._reach, self._see(), clock)

    async def _fetch(
        self, request: WebRequest, *, tls: Any, version: str | None, judged_at: Any, most: int, step: Any
    ) -> Exchange:
        wall = int(time.time())  # the test sites' certificates are of today
        del version, judged_at
        return await fetch(
            request,
            rules=self.rules,
            limits=replace(self.limits, body_bytes=min(self.limits.body_bytes, most)),
            tls=tls,
            resolve=self.names,
            connect=self.net.connect,
            clock=time.monotonic,
            judged_at=(wall, wall + 1),
            step=step,
        )

    async def _reach(self, request: WebRequest, *, step: Any) -> socket.socket:
        prepared(request, self.limits)
        where = {"resolve": self.names, "connect": self.net.connect, "step": step}
        return (await reached(request, rules=self.rules, limits=self.limits, **where))[1]

    def _see(self) -> Callable[..., Sight]:
        see = seeing(self.roots.encode(), self.limits)

        def see_today(recording: Recording, secret: bytes, *, judged_at: Any, **how: Any) -> Sight:
            first, last = judged_at
            assert first <= last
            wall = int(time.time())
            return see(recording, secret, judged_at=(wall, wall + last - first), **how)

        return see_today
