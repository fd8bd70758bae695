"""Sockets, TLS and time around the sans-IO session. Decides nothing about HTTP, knows nothing of evidence.

Every connection holds one of `limits.connections` places from its first packet on, so that handshakes that never end
count too, and one client's address has only some of them; every wait has a deadline; whatever a client does ends its
own connection only, and so does a bug of ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence

from pluto_measure.record import record
from pluto_notary.errors import PeerError
from pluto_notary.limits import Limits, Shares, Unfinished
from pluto_notary.protocol.upgrade import Upgrade
from pluto_notary.serial import EventWriter
from pluto_notary.server import faults
from pluto_notary.server.outer import Outer, begins_so
from pluto_notary.server.routes import Request, Response, busy, full, late, refusal
from pluto_notary.server.session import HttpSession

Answer = Callable[[Request, str], Awaitable[Response | Upgrade]]  # a request and the client's share (see `client_of`)
# An upgraded connection, what came behind the request, and the client's share; gives how it ended.
Served = Callable[[Outer, Upgrade, bytes, str], Awaitable[str]]

_READ_BYTES = 16 * 1024
_WRITE_BYTES = 64 * 1024
_SILENCE_SECONDS = 0.3  # whoever is silent so long has said all


@record
class Aside:
    """TLS for connections that come for it and for nothing else, as their first bytes say; None: more are needed."""

    tls: ssl.SSLContext
    asks: Callable[[bytes], bool | None]


class Edge:
    """Serves connections of some listening sockets until `stop` is set."""

    def __init__(
        self, *, tls: ssl.SSLContext, limits: Limits, answer: Answer, channel: Served, events: EventWriter
    ) -> None:
        self._tls, self._limits, self._answer, self._channel, self._events = tls, limits, answer, channel, events
        self._tasks: set[asyncio.Task[None]] = set()
        self._shares = Shares(limits.connections_of_one)
        self._unfinished = Unfinished(limits.unfinished_bytes, limits.unfinished_free_bytes)
        self._channels = 0
        self._places = asyncio.Semaphore(limits.connections)
        self._aside: Aside | None = None

    def show(self, tls: ssl.SSLContext) -> None:
        """From now on new connections get this; what is open stays as it is."""
        self._tls = tls

    def set_aside(self, aside: Aside | None) -> None:
        """Connections that ask for it get a handshake with it, and nothing else; without one nobody is looked at."""
        self._aside = aside

    async def serve(self, listeners: Sequence[socket.socket], stop: asyncio.Event) -> None:
        """Accept until `stop`; then let what is in flight end within `limits.stop_seconds`."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._unhandled)
        accepting = [loop.create_task(self._accept(listener)) for listener in listeners]
        stopping = loop.create_task(stop.wait())
        done, _ = await asyncio.wait({*accepting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for task in (*accepting, stopping):
            task.cancel()
        await asyncio.gather(*accepting, stopping, return_exceptions=True)
        if self._tasks:
            _, slow = await asyncio.wait(self._tasks, timeout=self._limits.stop_seconds)
            for task in slow:
                task.cancel()
            await asyncio.gather(*slow, return_exceptions=True)
        for ended in done - {stopping}:
            ended.result()  # nobody asked us to stop: say why we do

    async def _accept(self, listener: socket.socket) -> None:
        loop, places = asyncio.get_running_loop(), self._places
        listener.setblocking(False)
        while True:
            await places.acquire()
            try:
                connection, address = listener.accept()
            except BlockingIOError:
                places.release()  # for those who come to another socket
                await _readable(listener)
                continue
            except OSError:  # a client that is gone already, or no descriptor left: neither ends the server
                places.release()
                await asyncio.sleep(0.05)
                continue
            task = loop.create_task(self._connection(connection, client_of(address)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(lambda _: places.release())

    async def _connection(self, connection: socket.socket, client: str) -> None:
        if not self._shares.take(client):
            connection.close()
            self._events.emit("refused", code="rate")
            return
        try:
            await self._served(connection, client)
        except Exception as error:  # noqa: BLE001  a bug of ours ends this connection and nothing else
            self._failed(error)
        finally:
            self._shares.give_back(client)

    async def _served(self, plain: socket.socket, client: str) -> None:
        try:
            outer, aside = await self._shaken(plain)
        except OSError:  # ssl.SSLError and TimeoutError are
            self._events.emit("refused", code="tls")
            return
        connection = _Connection(outer, client)
        try:
            if aside:
                await self._close(connection)
                return
            if (upgraded := await self._converse(connection)) is not None:
                await self._upgraded(connection, *upgraded)
        except TimeoutError:
            self._events.emit("refused", code="time")
        except (OSError, EOFError):  # the client went away; nobody is left to tell
            return
        else:
            await self._close(connection)
        finally:
            outer.abort()  # does nothing to a connection that was closed in order

    async def _shaken(self, plain: socket.socket) -> tuple[Outer, bool]:
        """The connection after its handshake, and whether it was set aside. OSError; then the socket is closed."""
        end, aside = asyncio.get_running_loop().time() + self._limits.handshake_seconds, self._aside
        asks = False
        if aside is not None:
            try:
                asks = await begins_so(plain, aside.asks, seconds=self._limits.handshake_seconds)
            except BaseException:
                plain.close()
                raise
        tls = aside.tls if aside is not None and asks else self._tls
        return await Outer.accept(plain, tls, seconds=end - asyncio.get_running_loop().time()), asks

    async def _converse(self, connection: _Connection) -> tuple[Upgrade, bytes, bytes] | None:
        """Until HTTP is over. What the connection became, the 101 and what came behind the request, if it did.

        Then it has a place among the channels. Nothing of HTTP is kept for one that is idle.
        """
        clock = asyncio.get_running_loop().time
        session, end = HttpSession(self._limits), clock() + self._limits.connection_seconds
        while session.open:
            try:
                async with asyncio.timeout(self._limits.request_seconds):
                    request = await self._next_request(session, connection)
            except TimeoutError:
                if not session.idle:
                    await self._refuse(session, connection, PeerError(408, "time", "the request did not come in time"))
                return None
            except PeerError as error:
                await self._refuse(session, connection, error)
                return None
            answer = await self._answered(request, connection)
            if isinstance(answer, Upgrade):
                if self._channels < self._limits.channels:
                    head, early = session.upgrade(answer.headers())
                    self._channels += 1
                    return answer, head, early
                self._events.emit("refused", code="busy")
                answer = busy()
            await self._write(connection, session.respond(answer, last=clock() >= end))
        return None

    async def _next_request(self, session: HttpSession, connection: _Connection) -> Request:
        held = 0
        try:
            while (request := session.next_request()) is None:
                if not self._unfinished.grows(held, session.held):
                    raise full()
                held = session.held
                if session.asks_to_go_on:
                    await self._write(connection, session.go_on())
                session.feed(await connection.outer.read(_READ_BYTES))
        finally:
            self._unfinished.grows(held, 0)
        return request

    async def _answered(self, request: Request, connection: _Connection) -> Response | Upgrade:
        """The answer, unless it takes too long. EOFError if the client does not wait for it: then no work goes on."""
        answering = asyncio.ensure_future(self._answer(request, connection.client))
        leaving = asyncio.ensure_future(connection.outer.gone())
        try:
            done, _ = await asyncio.wait(
                {answering, leaving}, timeout=self._limits.answer_seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if answering in done:
                return answering.result()
            if leaving in done:
                raise EOFError
            self._events.emit("refused", code="time")
            return late()
        finally:
            answering.cancel()
            leaving.cancel()
            await asyncio.gather(answering, leaving, return_exceptions=True)

    async def _upgraded(self, connection: _Connection, upgrade: Upgrade, head: bytes, early: bytes) -> None:
        try:
            await self._write(connection, head)
            outcome = await self._channel(connection.outer, upgrade, early, connection.client)
        finally:
            self._channels -= 1
        if outcome == "proof":
            self._events.emit("proof")
        elif outcome != "gone":
            connection.refused = True
            self._events.emit("refused", code=outcome)

    async def _refuse(self, session: HttpSession, connection: _Connection, error: PeerError) -> None:
        self._events.emit("refused", code=error.code)
        connection.refused = True
        if data := session.refuse(refusal(error, session.target.partition("?")[0])):
            await self._write(connection, data)

    async def _write(self, connection: _Connection, data: bytes) -> None:
        async with asyncio.timeout(self._limits.response_seconds):
            for start in range(0, len(data), _WRITE_BYTES):  # one long write would be out of sight of `drain`
                connection.outer.write(data[start : start + _WRITE_BYTES])
                await connection.outer.drain(self._limits.response_seconds)

    async def _close(self, connection: _Connection) -> None:
        with contextlib.suppress(OSError):  # a client need not close in order, nor in time
            if connection.refused:
                await self._linger(connection.outer)
            async with asyncio.timeout(self._limits.close_seconds):
                await connection.outer.close()

    async def _linger(self, outer: Outer) -> None:
        """Let a client say what it was saying: closing would reset the connection, and what we said would be lost."""
        async with asyncio.timeout(self._limits.close_seconds):
            with contextlib.suppress(TimeoutError):
                while True:
                    async with asyncio.timeout(_SILENCE_SECONDS):
                        if not await outer.read(_READ_BYTES):
                            return

    def _failed(self, error: BaseException) -> None:
        faults.tell(error)
        self._events.emit("refused", code="internal")

    def _unhandled(self, _: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        # asyncio would log the exception's text, which may quote a client.
        error = context.get("exception")
        if isinstance(error, OSError) and "transport" in context:  # of a connection, below all that we do
            self._events.emit("refused", code="tls")
        else:
            self._failed(error if isinstance(error, BaseException) else RuntimeError())


class _Connection:
    """One client's. `refused`: it was told that it may not do what it does, and may be doing it still."""

    def __init__(self, outer: Outer, client: str) -> None:
        self.outer, self.client = outer, client
        self.refused = False


async def _readable(listener: socket.socket) -> None:
    """Wait until somebody comes."""
    loop = asyncio.get_running_loop()
    coming = asyncio.Event()
    loop.add_reader(listener.fileno(), coming.set)
    try:
        await coming.wait()
    finally:
        loop.remove_reader(listener.fileno())


def client_of(address: object) -> str:
    """Whose share of places and rates a connection takes: an IPv4 address, or the /64 of an IPv6 one.

    RFC 4291, 2.5.4: one site has at least so much, so that a single address of it means nothing.
    """
    host = str(address[0]) if isinstance(address, tuple) and address else ""
    try:
        known = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:  # a socket without addresses: all its clients are one
        return ""
    if isinstance(known, ipaddress.IPv6Address):
        mapped = known.ipv4_mapped
        return str(mapped) if mapped is not None else str(ipaddress.ip_network((known, 64), strict=False))
    return str(known)
