"""The outer TLS on sockets: bytes, ends of every kind, slow clients, and no buffer for those who say nothing."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
import threading
from collections.abc import Awaitable, Callable
from typing import Final

import pytest

from pluto_notary.certificate import make_identity, server_context
from pluto_notary.server.outer import Outer

LONG: Final = bytes(range(256)) * 16384  # 4 MiB, more than sockets take
Client = Callable[[ssl.SSLSocket], None]


def talk(server: Callable[[Outer], Awaitable[None]], client: Client) -> None:
    """Run both ends of one connection."""

    async def both() -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            other = loop.run_in_executor(None, connected, listener.getsockname()[1], client)
            plain, _ = await loop.sock_accept(listener)
            outer = await Outer.accept(plain, server_context(make_identity(os.urandom)), seconds=10)
            try:
                async with asyncio.timeout(20):
                    await server(outer)
            finally:
                outer.abort()
                outer.abort()
            await other

    asyncio.run(both())


def connected(port: int, client: Client) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    plain = socket.create_connection(("127.0.0.1", port), timeout=20)
    with context.wrap_socket(plain, suppress_ragged_eofs=False) as secure:
        client(secure)


def whole(secure: ssl.SSLSocket) -> bytes:
    """All until the goodbye; an end without one is an error."""
    data = bytearray()
    while piece := secure.recv(65536):
        data += piece
    return bytes(data)


def reset(secure: ssl.SSLSocket) -> None:
    secure.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    socket.close(secure.detach())


def test_bytes_go_both_ways_at_once_and_the_goodbye_is_answered() -> None:
    got: list[bytes] = []

    async def server(outer: Outer) -> None:
        outer.write(LONG)
        data = b""
        while piece := await outer.read(1000):
            assert len(piece) <= 1000
            data += piece
        assert data == b"x" * 50_000
        await outer.drain(10)
        await outer.close()

    def client(secure: ssl.SSLSocket) -> None:
        secure.sendall(b"x" * 50_000)
        left = len(LONG)
        while left > 0:
            got.append(secure.recv(min(left, 65536)))
            left -= len(got[-1])
        secure.unwrap()

    talk(server, client)
    assert b"".join(got) == LONG


def test_what_was_written_arrives_before_the_end() -> None:
    got: list[bytes] = []

    async def server(outer: Outer) -> None:
        outer.write(LONG)
        await outer.close()

    talk(server, lambda secure: got.append(whole(secure)))
    assert got == [LONG]


def test_a_client_that_reads_nothing_is_waited_for_so_long() -> None:
    async def server(outer: Outer) -> None:
        outer.write(b"little")
        await outer.drain(0.1)
        outer.write(LONG * 4)
        with pytest.raises(TimeoutError):
            await outer.drain(0.1)
        over.set()

    def client(secure: ssl.SSLSocket) -> None:
        assert secure.recv(6) == b"little"
        over.wait(20)

    over = threading.Event()
    talk(server, client)


@pytest.mark.parametrize("leave", [reset, lambda secure: socket.close(secure.detach())])
def test_an_end_without_goodbye_is_an_error_for_all_that_follows(leave: Client) -> None:
    async def server(outer: Outer) -> None:
        assert await outer.read(100) == b"hello"
        outer.write(b"leave")
        await outer.gone()
        with pytest.raises(OSError):
            await outer.read(100)
        outer.write(LONG)
        outer.write(LONG)
        with pytest.raises(OSError):
            await outer.drain(10)
        await outer.close()

    def client(secure: ssl.SSLSocket) -> None:
        secure.sendall(b"hello")
        assert secure.recv(100) == b"leave"
        leave(secure)

    talk(server, client)


def test_who_says_more_is_not_gone_and_nothing_of_it_is_lost() -> None:
    async def server(outer: Outer) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await outer.gone()
        outer.write(b"go on")
        data = b""
        while piece := await outer.read(1 << 16):
            data += piece
        assert data == b"x" * 100_000
        await outer.gone()
        await outer.close()

    def client(secure: ssl.SSLSocket) -> None:
        secure.sendall(b"x" * 100_000)
        assert secure.recv(100) == b"go on"
        secure.unwrap()

    talk(server, client)


def test_a_handshake_has_a_deadline_and_a_reset_socket_has_none() -> None:
    context = server_context(make_identity(os.urandom))

    async def refused(*, away: bool) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            other = socket.create_connection(listener.getsockname())
            plain, _ = listener.accept()
        if away:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            other.close()
            await asyncio.sleep(0.05)
        with pytest.raises(OSError):
            await Outer.accept(plain, context, seconds=0.1)
        assert plain.fileno() == -1
        other.close()

    asyncio.run(refused(away=False))
    asyncio.run(refused(away=True))


def test_a_reset_is_no_error_of_another_connection() -> None:
    """OpenSSL keeps errors by thread, and `ssl` of Python 3.12 and later leaves those of sockets there."""
    context = server_context(make_identity(os.urandom))
    reset_now, over = threading.Event(), threading.Event()

    def resets(secure: ssl.SSLSocket) -> None:
        reset_now.wait(20)
        reset(secure)

    def waits(secure: ssl.SSLSocket) -> None:
        over.wait(20)
        secure.sendall(b"hello")
        assert secure.recv(100) == b""

    async def server() -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            clients, ends = [], []
            for client in (resets, waits):
                clients.append(loop.run_in_executor(None, connected, listener.getsockname()[1], client))
                plain, _ = await loop.sock_accept(listener)
                ends.append(await Outer.accept(plain, context, seconds=10))
        broken, whole = ends
        reset_now.set()
        with pytest.raises(OSError):
            while True:
                await asyncio.sleep(0.01)
                broken.write(b"x")
                await broken.drain(10)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await whole.read(100)
        over.set()
        assert await whole.read(100) == b"hello"
        await whole.close()
        broken.abort()
        whole.abort()
        await asyncio.gather(*clients)

    asyncio.run(server())
