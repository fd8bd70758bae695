"""The operating system's network behind the protocols of `source`, for asyncio."""

from __future__ import annotations

import asyncio
import socket
from typing import Final, cast

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

_WAITING: Final = 16  # packets that nobody has taken yet; more are dropped


class SocketNetwork:
    """Plain sockets. `resolve` gives a name's addresses in numbers, or raises OSError."""

    def __init__(self, resolve: Callable[[str], Awaitable[Sequence[str]]] | None = None) -> None:
        self._resolve = resolve or _system_resolve

    async def resolve(self, host: str) -> Sequence[str]:
        return await self._resolve(host)

    async def connect(self, address: str, port: int) -> TcpStream:
        return TcpStream(*await asyncio.open_connection(address, port))

    async def datagrams(self, address: str, port: int) -> UdpPeer:
        loop = asyncio.get_running_loop()
        _, peer = await loop.create_datagram_endpoint(UdpPeer, remote_addr=(address, port))
        return peer


class TcpStream:
    """A stream as `source.Stream`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def read(self, size: int) -> bytes:
        return await self._reader.read(size)

    async def write(self, data: bytes) -> None:
        if data:
            self._writer.write(data)
            await self._writer.drain()

    def close(self) -> None:
        self._writer.transport.abort()


class UdpPeer(asyncio.DatagramProtocol):
    """A socket as `source.Datagrams`: the kernel passes on what comes from the one address alone."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes | OSError] = asyncio.Queue(_WAITING)
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # its class is no subclass before Python 3.12

    def datagram_received(self, data: bytes, addr: object) -> None:
        if not self._queue.full():
            self._queue.put_nowait(data)

    def error_received(self, exc: Exception) -> None:
        if isinstance(exc, OSError) and not self._queue.full():
            self._queue.put_nowait(exc)

    def send(self, packet: bytes) -> None:
        assert self._transport is not None
        self._transport.sendto(packet)

    async def receive(self) -> bytes:
        taken = await self._queue.get()
        if isinstance(taken, OSError):
            raise taken
        return taken

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


async def _system_resolve(host: str) -> Sequence[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
