"""Sockets, TLS and time around the sans-IO session. Decides nothing about HTTP, knows nothing of evidence.

Every connection holds one of `limits.connections` places from its first packet on, so that handshakes that never end
count too; every wait has a deadline; whatever a client does ends its own connection only.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable

from pluto_notary.errors import PeerError
from pluto_notary.limits import Limits
from pluto_notary.serial import EventWriter
from pluto_notary.server.routes import Request, Response, refusal
from pluto_notary.server.session import HttpSession

Answer = Callable[[Request], Awaitable[Response]]

_READ_BYTES = 4096


class Edge:
    """Serves connections of one listening socket until `stop` is set."""

    def __init__(self, *, tls: ssl.SSLContext, limits: Limits, answer: Answer, events: EventWriter) -> None:
        self._tls, self._limits, self._answer, self._events = tls, limits, answer, events
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, listener: socket.socket, stop: asyncio.Event) -> None:
        """Accept until `stop`; then let what is in flight end within `limits.stop_seconds`."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._unhandled)
        listener.setblocking(False)
        accepting = loop.create_task(self._accept(listener))
        stopping = loop.create_task(stop.wait())
        done, _ = await asyncio.wait({accepting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for task in (accepting, stopping):
            task.cancel()
        await asyncio.gather(accepting, stopping, return_exceptions=True)
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=self._limits.stop_seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if accepting in done:
            accepting.result()  # nobody asked us to stop: say why we do

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        places = asyncio.Semaphore(self._limits.connections)
        while True:
            await places.acquire()
            try:
                connection, _ = await loop.sock_accept(listener)
            except OSError:  # a client that is gone already, or no descriptor left: neither ends the server
                places.release()
                await asyncio.sleep(0.05)
                continue
            task = loop.create_task(self._connection(connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(lambda _: places.release())

    async def _connection(self, connection: socket.socket) -> None:
        try:
            reader, writer = await self._handshake(connection)
        except (OSError, TimeoutError):  # ssl.SSLError is an OSError
            connection.close()
            self._events.emit("refused", code="tls")
            return
        try:
            async with asyncio.timeout(self._limits.connection_seconds):
                await self._converse(reader, writer)
                writer.close()
                await writer.wait_closed()
        except TimeoutError:
            self._events.emit("refused", code="time")
        except (OSError, EOFError):  # the client went away; nobody is left to tell
            return
        finally:
            writer.transport.abort()  # does nothing to a connection that was closed in order

    async def _handshake(self, connection: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reader = asyncio.StreamReader(limit=2 * self._limits.head_bytes, loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol,
            connection,
            ssl=self._tls,
            ssl_handshake_timeout=self._limits.handshake_seconds,
            ssl_shutdown_timeout=1.0,
        )
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = HttpSession(self._limits)
        while session.open:
            try:
                async with asyncio.timeout(self._limits.request_seconds):
                    request = await self._next_request(session, reader)
            except TimeoutError:
                if session.idle:
                    return None
                late = PeerError(408, "time", "the request did not come in time")
                return await self._refuse(session, writer, late)
            except PeerError as error:
                return await self._refuse(session, writer, error)
            await self._write(writer, session.respond(await self._answer(request)))
        return None

    async def _next_request(self, session: HttpSession, reader: asyncio.StreamReader) -> Request:
        while (request := session.next_request()) is None:
            session.feed(await reader.read(_READ_BYTES))
        return request

    async def _refuse(self, session: HttpSession, writer: asyncio.StreamWriter, error: PeerError) -> None:
        self._events.emit("refused", code=error.code)
        if data := session.refuse(refusal(error)):
            await self._write(writer, data)

    async def _write(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(data)
        async with asyncio.timeout(self._limits.response_seconds):
            await writer.drain()

    def _unhandled(self, _: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        # asyncio would log the exception's text, which may quote a client; an event says enough.
        if isinstance(context.get("exception"), OSError):
            self._events.emit("refused", code="tls")
            return
        asyncio.get_running_loop().default_exception_handler(context)  # our bug: to the journal, which stays inside
