"""A keeper and an authority without sockets, on a clock that only waiting moves. For the tests of this folder."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pluto_measure.record import replace
from pluto_notary.acme.keeper import CertificateKeeper, Pace, Surroundings
from pluto_notary.certificate import OuterIdentity, make_identity, server_context
from pluto_notary.config import Acme
from pluto_notary.fetch.errors import TargetError
from pluto_notary.web import Exchange, WebRequest, WebResponse
from simulators.acme_ca import BASE, AcmeCa, Asked
from simulators.intel import NOW

ACME: Final = Acme(f"{BASE}/directory", "notary.example")


@dataclass
class World:
    """What happens around one keeper. `now`: seconds since it began; `told`: what its events say."""

    now: float = 0.0
    error: Exception | None = None  # of the clock
    down: TargetError | None = None  # instead of the authority
    identity: OuterIdentity = field(default_factory=lambda: make_identity(os.urandom))
    pending: ssl.SSLContext | None = None
    slept: list[float] = field(default_factory=list)
    told: list[tuple[float, str]] = field(default_factory=list)
    shown: list[tuple[bytes, ...]] = field(default_factory=list)
    bugs: list[BaseException] = field(default_factory=list)
    bodies: list[int] = field(default_factory=list)  # what an answer's body could be at most
    on_sleep: Callable[[], None] = lambda: None
    named: Callable[[], Awaitable[object]] = lambda: asyncio.sleep(0)
    ca: AcmeCa = field(init=False)

    def __post_init__(self) -> None:
        self.ca = AcmeCa(now=NOW, look=self.look)

    def look(self, name: str) -> bytes | None:
        """The authority's handshake, in memory."""
        return None if self.pending is None else handshake(self.pending, name)[0]

    def interval(self, now: float) -> tuple[float, float]:
        if self.error is not None:
            raise self.error
        at = NOW.timestamp() + now
        return at - 0.5, at + 0.5

    async def fetch(self, request: WebRequest, *, judged_at: tuple[int, int], most: int, **_: Any) -> Exchange:
        """As `server.world` has it."""
        await asyncio.sleep(0)
        assert judged_at[0] <= NOW.timestamp() + self.now <= judged_at[1]
        if self.down is not None:
            raise self.down
        self.ca.now = NOW
        reply = self.ca.answer(
            Asked(request.method, request.url, {"user-agent": "pluto-notary", **dict(request.headers)}, request.body)
        )
        self.bodies.append(most)
        if len(reply.body) > most and request.method != "HEAD":
            raise TargetError("size", "the answer's body is too large")
        response = WebResponse("HTTP/1.1", reply.status, "", tuple(reply.headers.items()), reply.body)
        return Exchange(request, response, b"", "", self.now, self.now)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)
        self.now += seconds
        self.slept.append(seconds)
        self.on_sleep()

    def show(self, chain: tuple[bytes, ...]) -> None:
        server_context(self.identity, chain)  # TLS takes it for this key
        self.shown.append(chain)

    def keeper(self, **changes: Any) -> CertificateKeeper:
        around = Surroundings(
            fetch=self.fetch,
            interval=self.interval,
            clock=lambda: self.now,
            random=lambda size: bytes(size),
            named=self.named,
            show=self.show,
            challenge=self._challenge,
            told=lambda state, code: self.told.append((self.now, state if code == "none" else code)),
            bug=self.bugs.append,
            sleep=self.sleep,
        )
        return CertificateKeeper(ACME, self.identity, replace(around, **changes), pace=Pace())

    def _challenge(self, context: ssl.SSLContext | None) -> None:
        self.pending = context

    def run(self, until: Callable[[], bool], turns: int = 20_000) -> None:
        """Let the keeper run until it holds."""
        asyncio.run(self._run(until, turns))

    async def _run(self, until: Callable[[], bool], turns: int) -> None:
        task = asyncio.ensure_future(self.keeper().run())
        try:
            for _ in range(turns):
                if until():
                    return
                assert not task.done(), task
                await asyncio.sleep(0)
            raise AssertionError(f"it does not come to hold: {self.told}, {self.ca.wrongs}")
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert self.pending is None, "the challenge is taken back, however it ends"

    def fails(self) -> str:
        """The code of the first attempt, which must fail."""
        self.run(lambda: len(self.told) > 1)
        assert self.told[0][1] == "asked"
        assert self.shown == []
        return self.told[1][1]


def public_key(identity: OuterIdentity) -> bytes:
    """SubjectPublicKeyInfo in DER."""
    return identity.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def handshake(
    server_side: ssl.SSLContext, name: str, *protocols: str, version: ssl.TLSVersion | None = None
) -> tuple[bytes | None, str | None]:
    """The certificate and the protocol that a client gets which offers acme-tls/1, or `protocols`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(list(protocols or ("acme-tls/1",)))
    if version is not None:
        context.maximum_version = version
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(back, there, server_hostname=name)
    server = server_side.wrap_bio(there, back, server_side=True)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return client.getpeercert(binary_form=True), client.selected_alpn_protocol()
