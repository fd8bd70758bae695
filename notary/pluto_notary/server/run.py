"""One process of the notary from start to stop: key, TLS, events, signals. For trust domain, container and `serve`."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable

from pluto_measure.record import record
from pluto_notary import __version__
from pluto_notary.certificate import make_identity, server_context
from pluto_notary.evidence.provider import EvidenceProvider
from pluto_notary.limits import Limits
from pluto_notary.serial import EventWriter
from pluto_notary.server.edge import Edge
from pluto_notary.server.notary import Node, Notary


@record
class Settings:
    """What one process needs. `ready` is called with the port and the outer key's digest once requests are answered."""

    listener: socket.socket
    build_id: bytes
    provider: EvidenceProvider
    events: EventWriter
    limits: Limits
    ready: Callable[[int, bytes], None]


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
    identity = make_identity(os.urandom)
    notary = Notary(
        Node(settings.build_id, identity.key_digest),
        settings.provider,
        limits=settings.limits,
        events=settings.events,
        clock=time.monotonic,
        wall=time.time,
    )
    edge = Edge(tls=server_context(identity), limits=settings.limits, answer=notary.answer, events=settings.events)
    port: int = settings.listener.getsockname()[1]
    settings.listener.listen(settings.limits.connections)
    settings.events.emit("ready", port=port, buildid=settings.build_id.hex())
    settings.ready(port, identity.key_digest)
    await edge.serve(settings.listener, stop)
