"""A client's connection under the outer TLS: bytes in, bytes out, and an end, on a socket that is given.

The event loop's own streams keep a buffer of 256 KiB for each TLS connection, used or not, which most of our idle
sessions' memory would be. Here OpenSSL works on the socket itself; an idle connection keeps no buffer at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Final, Self, TypeVar

T = TypeVar("T")

_KEPT: Final = 64 * 1024  # bytes that wait for a slow client before `drain` waits, too
_AHEAD: Final = 16 * 1024  # bytes that are read while nobody asked for them, to see whether the client is there
_LOOKED_AT: Final = 16 * 1024  # bytes of a connection's first flight
_EMPTYING: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


async def begins_so(connection: socket.socket, asks: Callable[[bytes], bool | None], *, seconds: float) -> bool:
    """Whether the first bytes are of that kind, which stay where they are. OSError, TimeoutError: it is not closed.

    `asks`: None if more bytes are needed. The kernel wakes us once there are more than we have seen.
    """
    connection.setblocking(False)
    loop, seen = asyncio.get_running_loop(), -1
    async with asyncio.timeout(seconds):
        while True:
            ready = loop.create_future()
            loop.add_reader(connection.fileno(), _settle, ready)
            try:
                await ready
            finally:
                loop.remove_reader(connection.fileno())
            data = connection.recv(_LOOKED_AT, socket.MSG_PEEK)
            if (found := asks(data)) is not None or len(data) <= seen or not data:  # the last two: no more will come
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
                return bool(found)
            seen = len(data)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, seen + 1)


class Outer:
    """One connection, after its handshake. `abort` it at the end, whatever happened; that may be said twice.

    Only one task reads at a time. OSError (ssl.SSLError is one) for a client that went away or broke TLS.
    """

    def __init__(self, connection: ssl.SSLSocket) -> None:
        self._socket = connection
        self._loop = asyncio.get_running_loop()
        self._number = connection.fileno()
        self._unsent, self._ahead = bytearray(), b""
        self._ended = False
        self._watching = False  # whether we are called once the socket takes bytes
        self._room: asyncio.Future[None] | None = None  # of who waits until little is unsent
        self._writable: asyncio.Future[None] | None = None  # of who waits until the socket takes bytes
        self._lost: OSError | None = None

    @classmethod
    async def accept(cls, connection: socket.socket, context: ssl.SSLContext, *, seconds: float) -> Self:
        """The handshake, within so many seconds. OSError, TimeoutError; then the socket is closed."""
        try:
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.getpeername()  # a socket that is reset already is lost, not closed, by `wrap_socket`
            # An end without close_notify is an error, as it may be anybody's.
            secure = context.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=False
            )
        except OSError:
            connection.close()
            raise
        outer = cls(secure)
        try:
            async with asyncio.timeout(seconds):
                await outer._done(secure.do_handshake)
        except ssl.SSLError:
            # What is left unread makes a reset of the end, which may overtake the alert that says why.
            with contextlib.suppress(OSError):
                socket.socket.recv(secure, _KEPT)
            outer.abort()
            raise
        except BaseException:
            outer.abort()
            raise
        return outer

    async def read(self, most: int) -> bytes:
        """The next bytes; b"" once the client said that no more will come."""
        if not self._ahead and not self._ended:
            await self._receive(most)
        data, self._ahead = self._ahead[:most], self._ahead[most:]
        return data

    async def gone(self) -> None:
        """Wait until the client said that no more will come, or is gone; while nobody reads."""
        with contextlib.suppress(OSError):
            while not self._ended:
                if len(self._ahead) >= _AHEAD:
                    await self._loop.create_future()  # it has said so much that it must be there
                await self._receive(_AHEAD)

    def write(self, data: bytes) -> None:
        """Send what can be sent at once, and the rest as the client takes it. Errors show in `drain`."""
        if self._lost is not None or not data:
            return
        waiting = bool(self._unsent)
        self._unsent += data
        if not waiting:
            self._send()

    @property
    def unsent(self) -> int:
        """How many bytes the client has not taken yet."""
        return len(self._unsent)

    async def drain(self, seconds: float) -> None:
        """Wait until little waits, but not longer than so many seconds. TimeoutError, and OSError for all before."""
        if len(self._unsent) > _KEPT:
            async with asyncio.timeout(seconds):
                while self._lost is None and len(self._unsent) > _KEPT:
                    await self._less()
        if self._lost is not None:
            raise self._lost

    async def close(self) -> None:
        """Send the rest and say goodbye, and wait until the client did. The caller bounds the time."""
        while self._lost is None and self._unsent:
            await self._less()
        if self._lost is None:
            with contextlib.suppress(OSError):
                await self._done(self._socket.unwrap)

    def abort(self) -> None:
        """Let the socket go as it is."""
        if self._number >= 0:
            self._loop.remove_reader(self._number)
            self._loop.remove_writer(self._number)
            self._number = -1
        self._lose(ConnectionAbortedError())
        self._socket.close()

    async def _receive(self, most: int) -> None:
        try:
            data = await self._done(lambda: self._socket.recv(most))
        except ssl.SSLZeroReturnError:
            data = b""
        except OSError as error:
            self._lose(error)  # asked again, a socket that was reset says that it ended in order
            raise
        self._ahead += data
        self._ended = not data

    async def _less(self) -> None:
        self._room = self._loop.create_future()
        try:
            await self._room
        finally:
            self._room = None

    def _send(self) -> None:
        try:
            while self._unsent:
                del self._unsent[: self._socket.send(self._unsent)]
        except ssl.SSLWantWriteError:
            self._watch()
        except OSError as error:
            _forget(error)
            self._lose(error)
        if self._room is not None and (self._lost is not None or len(self._unsent) <= _KEPT // 4):
            _settle(self._room)

    def _watch(self) -> None:
        if not self._watching and self._number >= 0:
            self._watching = True
            self._loop.add_writer(self._number, self._takes)

    def _takes(self) -> None:
        """The socket takes bytes."""
        self._watching = False
        self._loop.remove_writer(self._number)
        if self._writable is not None:
            _settle(self._writable)
        self._send()

    def _lose(self, error: OSError) -> None:
        if self._lost is None:
            self._lost = error
        self._unsent.clear()
        if self._room is not None:
            _settle(self._room)

    async def _done(self, act: Callable[[], T]) -> T:
        """What TLS gives once the socket was ready as often as it wants."""
        while True:
            if self._lost is not None:
                raise self._lost
            try:
                return act()
            except ssl.SSLWantReadError:
                await self._readable()
            except ssl.SSLWantWriteError:
                self._writable = self._loop.create_future()
                self._watch()
                await self._writable
            except OSError as error:
                _forget(error)
                raise

    async def _readable(self) -> None:
        ready, number = self._loop.create_future(), self._number
        self._loop.add_reader(number, _settle, ready)
        try:
            await ready
        finally:
            if self._number == number:  # else it may be another connection's by now
                self._loop.remove_reader(number)


def _forget(error: OSError) -> None:
    """Empty OpenSSL's queue of errors, which is the thread's, not a connection's.

    Since Python 3.12, `ssl` leaves an error of the socket in it, and the next connection that only waits for bytes gets
    that error (PySSL_SetError in Modules/_ssl.c). Ciphers that do not exist are refused, and the queue is empty.
    """
    if not isinstance(error, ssl.SSLError):
        with contextlib.suppress(ssl.SSLError):
            _EMPTYING.set_ciphers("NONE")


def _settle(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
