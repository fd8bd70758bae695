"""The notary's answers: routes, rates and the evidence provider put together. IO only through what it is given."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from pluto_measure.record import record
from pluto_notary import __version__
from pluto_notary.errors import EvidenceError, PeerError
from pluto_notary.evidence.messages import NodeRequest
from pluto_notary.evidence.provider import EvidenceProvider, Issue
from pluto_notary.limits import Limits, TokenBucket
from pluto_notary.serial import EventWriter
from pluto_notary.server.routes import (
    EvidenceWanted,
    Request,
    Response,
    document,
    no_evidence,
    refusal,
    route,
    too_often,
)

EPOCH_SECONDS: Final = 600.0  # the longest time for which one piece of evidence speaks


@record
class Node:
    """What stays the same while this process runs: 32 bytes each."""

    build_id: bytes
    outer_key_digest: bytes


class Notary:
    """Answers requests. `clock` gives seconds and never goes back; `wall` gives seconds since 1970, the host's word."""

    def __init__(
        self,
        node: Node,
        provider: EvidenceProvider,
        *,
        limits: Limits,
        events: EventWriter,
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._node, self._provider, self._events = node, provider, events
        self._clock, self._wall, self._start = clock, wall, clock()
        self._bucket = TokenBucket(rate=limits.evidence_rate, burst=limits.evidence_burst, now=self._start)
        self._device = asyncio.Lock()  # the helper answers one at a time; waiting here keeps its deadline honest

    async def answer(self, request: Request) -> Response:
        """The response to a request; raises nothing that a client could cause."""
        try:
            wanted = route(request, version=__version__, build_id=self._node.build_id.hex())
        except PeerError as error:
            self._events.emit("refused", code=error.code)
            return refusal(error)
        return await self._evidence(wanted) if isinstance(wanted, EvidenceWanted) else wanted

    async def _evidence(self, wanted: EvidenceWanted) -> Response:
        now = self._clock()
        if not self._bucket.take(now):
            self._events.emit("refused", code="rate")
            return too_often()
        issue = Issue(
            epoch=int((now - self._start) / EPOCH_SECONDS),
            issued_at=datetime.fromtimestamp(self._wall(), UTC),
            build_id=self._node.build_id,
        )
        try:
            async with self._device:
                envelope = await self._provider.node(NodeRequest(wanted.nonce, self._node.outer_key_digest), issue)
        except EvidenceError as error:
            self._events.emit("refused", code=error.code)
            return no_evidence(error)
        self._events.emit("evidence", purpose="node")
        return document(envelope)
