"""One process of the notary from start to stop: keys, TLS, events, signals. For trust domain, container and `serve`."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine

from pluto_measure.record import record
from pluto_notary import __version__
from pluto_notary.certificate import OuterIdentity, make_identity, server_context
from pluto_notary.evidence.epochs import EpochKeeper, EpochLimits, Keeping
from pluto_notary.evidence.provider import Provider
from pluto_notary.limits import Limits, Unfinished
from pluto_notary.manifest.workers import Workers
from pluto_notary.protocol import inner
from pluto_notary.serial import EventWriter
from pluto_notary.server.edge import Edge
from pluto_notary.server.notary import Node, Notary
from pluto_notary.server.prover import Places, Prover, Tools
from pluto_notary.server.seeing import Seeing
from pluto_notary.server.world import World
from pluto_notary.statement.keys import SigningKey
from pluto_notary.statement.proof import KeyEvidence

# What runs beside the server until it is cancelled, with its key, its connections, its world and its events.
Beside = Callable[[OuterIdentity, Edge, World, EventWriter], Coroutine[object, object, None]]


@record
class Settings:
    """What one process needs. `ready` is called with the port and the outer key's digest once requests are answered.

    `listeners`: one or more; the first one's port is the one that is told. `world` is made in the running loop.
    `token`: of version 1 of the protocol, on Confidential Space. `certified`: has the outer key certified, if anybody
    is to do that (`server.certified`).
    """

    listeners: tuple[socket.socket, ...]
    build_id: bytes
    provider: Provider
    world: Callable[[], World]
    events: EventWriter
    limits: Limits
    ready: Callable[[int, bytes], None]
    token: Callable[[bytes], Awaitable[bytes]] | None = None
    certified: Beside | None = None


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. OSError if the listening socket fails."""
    settings.events.emit("started", component="notary", version=__version__)
    asyncio.run(_run(settings))
    settings.events.emit("stopping", component="notary")


async def _run(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(settings, stop)


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set, in a running loop."""
    outer = make_identity(os.urandom)
    key, events, world = SigningKey.generate(os.urandom), settings.events, settings.world()
    keeper = _keeper(settings, outer.key_digest, key)
    judges, limits = Workers(), settings.limits
    see = Seeing(world.see, threads=limits.openings, waiting=limits.openings_waiting)
    try:
        notary = _notary(settings, outer.key_digest, key, keeper, (world, judges, see))
        edge = Edge(
            tls=server_context(outer),
            limits=settings.limits,
            answer=notary.answer,
            channel=notary.channel,
            events=events,
        )
        port: int = settings.listeners[0].getsockname()[1]
        for listener in settings.listeners:
            listener.listen(settings.limits.connections)
        works = [keeper.run(), world.clock.run()]
        if settings.certified is not None:
            works.append(settings.certified(outer, edge, world, events))
        beside = [asyncio.ensure_future(one) for one in works]
        for task in beside:
            task.add_done_callback(_ended)
        events.emit("ready", port=port, buildid=settings.build_id.hex())
        settings.ready(port, outer.key_digest)
        try:
            await edge.serve(settings.listeners, stop)
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
    finally:
        see.close()
        await judges.close()


def _keeper(settings: Settings, outer_key_digest: bytes, key: SigningKey) -> EpochKeeper:
    events = settings.events
    return EpochKeeper(
        settings.provider,
        Keeping(settings.build_id, outer_key_digest, key.public),
        limits=EpochLimits(),
        clock=time.monotonic,
        wall=time.time,
        random=os.urandom,
        told=lambda purpose: events.emit("evidence", purpose=purpose),
        refused=lambda code: events.emit("refused", code=code),
    )


def _notary(
    settings: Settings,
    outer_key_digest: bytes,
    key: SigningKey,
    keeper: EpochKeeper,
    outside: tuple[World, Workers, Seeing],
) -> Notary:
    (world, judges, see), limits = outside, settings.limits

    async def key_evidence() -> KeyEvidence | None:
        return await notary.key_evidence()

    tools = Tools(
        build_id=settings.build_id,
        key=key,
        legacy_key=SigningKey.generate(os.urandom),
        key_evidence=key_evidence,
        fetch=world.fetch,
        reach=world.reach,
        see=see,
        judges=judges,
        interval=world.clock.interval,
        clock=time.monotonic,
        random=os.urandom,
    )
    places = Places(limits.fetches, limits.observed, Unfinished(limits.recorded_bytes, limits.recorded_free_bytes))
    inner_context = inner.server_context(make_identity(os.urandom))
    notary = Notary(
        Node(settings.build_id, outer_key_digest, inner_context, key, settings.token),
        settings.provider,
        keeper,
        Prover(tools, places),
        limits=limits,
        events=settings.events,
        clock=time.monotonic,
        random=os.urandom,
    )
    return notary


def _ended(task: asyncio.Future[None]) -> None:
    """What runs beside the server never ends by itself: a bug of ours goes to the journal, which stays inside."""
    if not task.cancelled() and (error := task.exception()) is not None:
        asyncio.get_running_loop().call_exception_handler({"message": "a part of the notary ended", "exception": error})
