"""The connection to a web site that a client observes, on a socket that is given: bytes in, bytes out, and an end.

Nothing is read ahead and nothing is kept: who reads waits for the site, who writes waits until the kernel took it all.
Both may wait at once, each in a task of its own; `close` only when neither does any more.
"""

from __future__ import annotations

import asyncio
import socket

READ_BYTES = 32 * 1024
_KERNEL_BYTES = 256 * 1024  # that the kernel keeps, either way; left alone it takes megabytes for each connection


class Line:
    """One connection. Takes the socket over."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._loop = asyncio.get_running_loop()
        self._deaf = False
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            connection.setsockopt(socket.SOL_SOCKET, option, _KERNEL_BYTES)

    async def read(self) -> bytes:
        """The next bytes; b"" once no more will come. How TCP ended means nothing: TLS says what is whole."""
        try:
            return await self._loop.sock_recv(self._socket, READ_BYTES)
        except OSError:
            return b""

    async def write(self, data: bytes) -> None:
        """Send all of it. A site that takes no more gets no more: what it has not heard it cannot have answered."""
        if self._deaf:
            return
        try:
            await self._loop.sock_sendall(self._socket, data)
        except OSError:
            self._deaf = True

    def close(self) -> None:
        """Let the connection go. Nothing happens the second time."""
        self._socket.close()
