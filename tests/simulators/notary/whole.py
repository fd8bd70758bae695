"""A whole notary in a thread: the real server over loopback TLS, a pretend trust domain's evidence, sites of ours.

with running(site_at={"shop.example": site}) as notary:
    proof = notary.prove(manifest)
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pluto_measure.appraise import ChannelExpected, SessionExpected, verify_expected
from pluto_measure.errors import RefusedError
from pluto_notary.client import prove as proving
from pluto_notary.client.wire import Notary, connected
from pluto_notary.config import Acme
from pluto_notary.errors import EvidenceError
from pluto_notary.evidence.provider import Issue
from pluto_notary.evidence.requests import EvidenceRequest, NodeRequest
from pluto_notary.fetch.egress import EgressRules
from pluto_notary.fetch.limits import FetchLimits
from pluto_notary.limits import Limits
from pluto_notary.manifest import Manifest
from pluto_notary.protocol.messages import Fetch
from pluto_notary.serial import EventWriter
from pluto_notary.server.certified import certified_by
from pluto_notary.server.observing import Recorder
from pluto_notary.server.run import Settings, serve
from pluto_notary.statement.proof import Proof
from simulators.intel import NOW
from simulators.notary.certificates import Authority
from simulators.notary.clients import Client
from simulators.notary.evidence import tdx_envelope
from simulators.notary.names import Names
from simulators.notary.sites import Net, Site
from simulators.notary.web import Web
from simulators.trust_domains import CONFIG, POLICY, REFERENCE, TrustDomain

ADDRESS = "93.184.215.14"  # public by its number; Net leads it to a site here
NOBODY = bytes(20)
STATEMENT_NONCE = b"\x5a" * 32


@dataclass
class TdProvider:
    """Evidence of a pretend trust domain. `down`: the code of the error that it gives instead."""

    domain: TrustDomain = field(default_factory=TrustDomain)
    down: str | None = None
    asked: list[str] = field(default_factory=list)

    async def node(self, request: NodeRequest, issue: Issue) -> dict[str, object]:
        return await self.evidence(request, issue)

    async def evidence(self, request: EvidenceRequest, issue: Issue) -> dict[str, object]:
        self.asked.append(request.purpose)
        if self.down is not None:
            raise EvidenceError(self.down, "as the test has it")
        return tdx_envelope(self.domain, request.claims(CONFIG, issue.build_id)).to_json()


@dataclass
class SetClock:
    """A trusted clock that says what the test says: seconds beside NOW, or an error."""

    error: Exception | None = None
    start: float = field(default_factory=time.monotonic)

    def interval(self, now: float) -> tuple[float, float]:
        if self.error is not None:
            raise self.error
        at = NOW.timestamp() - 1 + (now - self.start) / 1000
        return at - 0.2, at + 0.2

    async def run(self) -> None:
        await asyncio.Event().wait()


@dataclass
class Running:
    """A notary that serves. `lines`: its events."""

    provider: TdProvider
    clock: SetClock
    net: Net
    limits: Limits
    token: Any = None
    acme: Acme | None = None
    doors: tuple[socket.socket, ...] = ()
    lines: list[str] = field(default_factory=list)
    port: int = 0
    outer_key_digest: bytes = b""
    told: list[str] = field(default_factory=list)
    tasks: Callable[[], int] = lambda: 0  # that the server's loop has

    def client(self, manifest: Manifest, protocol: str = "websocket", **how: Any) -> Client:
        """A client that does what the test wants. `how`: of `Client`, and members of the fetch."""
        fetch = {name: how.pop(name) for name in tuple(how) if name in Fetch.__match_args__}
        return Client(self.port, order(manifest, **fetch), protocol=protocol, **how)

    def soon(self, holds: Callable[[], bool], seconds: float = 10) -> None:
        """Wait until it holds."""
        end = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > end:
                raise TimeoutError(f"does not come to hold; events: {self.lines}")
            time.sleep(0.005)

    @property
    def codes(self) -> list[str]:
        """What was refused, by the events."""
        return [line.split("code=")[1].strip() for line in self.lines if "refused code=" in line]

    def prove(self, manifest: Manifest, *, protocol: str = "websocket", fresh: bool = False, **changes: Any) -> Proof:
        """A proof, as the reference client gets it. `changes`: members of the fetch."""
        with self.wire(protocol) as (wire, outer):
            return proving.prove(
                wire,
                outer,
                order(manifest, **changes),
                manifest_digest=changes.get("committed", manifest.digest()),
                nonce=os.urandom(32),
                fresh=fresh,
                appraise=self.appraise,
                told=lambda text: self.told.append(text),
            )

    def rests(self) -> None:
        """Wait until no session is left: the last event of one comes after its client has gone."""
        self.soon(lambda: self.tasks() <= 5)  # the server, its accepting, its stopping, the epochs', the clock's

    def room(self) -> list[int]:
        """How many bytes each connection that is observed has of the room for recordings."""
        return [one._held for one in gc.get_objects() if isinstance(one, Recorder)]

    @contextmanager
    def wire(self, protocol: str = "websocket") -> Iterator[Any]:
        address = ("127.0.0.1", self.port)
        with connected(
            Notary("notary.example", 443), protocol=protocol, random=os.urandom, seconds=30, address=address
        ) as found:
            yield found

    def appraise(self, shown: proving.Shown) -> None:
        """RefusedError for a notary that POLICY does not accept."""
        evidence = shown.evidence
        expected: ChannelExpected | SessionExpected
        if shown.fresh:
            expected = SessionExpected(shown.ekm, shown.nonce, evidence.channel_key)
        else:
            expected = ChannelExpected(evidence.channel_key, evidence.epoch, shown.outer_key_digest)
        tdx = self.provider.domain.inputs()
        found = verify_expected(evidence.envelope, expected, [REFERENCE], POLICY, NOW, tdx)
        if not found.accepted:
            raise RefusedError(f"{found.failures[0].id}: {found.failures[0].text}")

    def https(self) -> ssl.SSLSocket:
        """A TLS connection to the server."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context.wrap_socket(socket.create_connection(("127.0.0.1", self.port), timeout=20))


def order(manifest: Manifest, **changes: Any) -> Fetch:
    """A fetch of a manifest."""
    fields: dict[str, Any] = {
        "manifest": manifest.canonical(),
        "variables": (),
        "recipient": NOBODY,
        "chain_id": 0,
        "contract": NOBODY,
        "nonce": STATEMENT_NONCE,
        "reveal": "values",
        "legacy": False,
    }
    return Fetch(**{**fields, **{name: value for name, value in changes.items() if name in fields}})


@contextmanager
def running(
    authority: Authority,
    site_at: Mapping[str, Site | int],
    *,
    provider: TdProvider | None = None,
    clock: SetClock | None = None,
    limits: Limits | None = None,
    fetch_limits: FetchLimits | None = None,
    rules: EgressRules | None = None,
    answers: Mapping[str, Any] | None = None,
    token: Any = None,
    acme: Acme | None = None,
    doors: tuple[socket.socket, ...] = (),
    sends: int | None = None,
) -> Iterator[Running]:
    """Run one; `site_at`: host names and what serves them. `answers`: of the resolver, where it is to lie.

    `doors`: listening sockets beside its own. `sends`: so many bytes the kernel keeps for a slow client; else as many
    as it likes.
    """
    addresses = {host: f"93.184.215.{14 + index}" for index, host in enumerate(site_at)}
    net = Net({addresses[host]: site for host, site in site_at.items()})
    names = Names({**{host: [[address]] for host, address in addresses.items()}, **(answers or {})})
    found = Running(provider or TdProvider(), clock or SetClock(), net, limits or Limits(), token, acme, doors)

    web = Web(authority.pem, net, names, fetch_limits or FetchLimits(), rules or EgressRules())
    thread = _Thread(found, lambda: web.world(found.clock), sends)
    thread.start()
    try:
        if not thread.ready.wait(30):
            raise TimeoutError("the notary does not get ready")
        yield found
    finally:
        thread.end()


class _Thread(threading.Thread):
    def __init__(self, found: Running, world: Any, sends: int | None) -> None:
        super().__init__(daemon=True)
        self._found, self._world, self._sends = found, world, sends
        self.ready = threading.Event()

    def run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._ending = asyncio.get_running_loop(), asyncio.Event()
        found = self._found
        found.tasks = lambda: len(asyncio.all_tasks(self._loop))
        hours = itertools.count(step=3600)  # no event is one too many
        writer = EventWriter(lambda line: found.lines.append(line.decode()), clock=lambda: next(hours))
        with socket.create_server(("127.0.0.1", 0)) as listener:
            if self._sends is not None:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._sends)
            settings = Settings(
                (listener, *found.doors),
                found.provider.domain.build_id,
                found.provider,
                self._world,
                writer,
                found.limits,
                self._told_ready,
                found.token,
                None if found.acme is None else certified_by(found.acme),
            )
            await serve(settings, self._ending)

    def _told_ready(self, port: int, key_digest: bytes) -> None:
        self._found.port, self._found.outer_key_digest = port, key_digest
        self.ready.set()

    def end(self) -> None:
        """Stop it."""
        if self.is_alive() and self.ready.is_set():
            self._loop.call_soon_threadsafe(self._ending.set)
        self.join(20)
        if self.is_alive():
            raise TimeoutError("the notary does not stop")
