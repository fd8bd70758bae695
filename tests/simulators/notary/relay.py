"""Somebody on the way to a server, who cuts, stalls and counts; and a server behind TLS of its own. For tests."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pluto_notary.certificate import make_identity, server_context
from simulators.notary.channel import PretendNotary

_READ = 4096


class Relay:
    """Hands bytes on between its port and another. `connections` counts its clients, `passed` bytes to the client.

    `cut_after`: the connection ends after that many bytes to the client; `stall_after`: nothing comes any more.
    """

    def __init__(self, to: int, *, cut_after: int | None = None, stall_after: int | None = None) -> None:
        self._to, self._cut, self._stall = to, cut_after, stall_after
        self.connections, self.passed = 0, 0
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Relay:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the listener was closed
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._to)) as server:
            upwards = threading.Thread(target=_pump, args=(client, server), daemon=True)
            upwards.start()
            with contextlib.suppress(OSError):
                self._downwards(client, server)
            for one in (client, server):
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            upwards.join(10)

    def _downwards(self, client: socket.socket, server: socket.socket) -> None:
        passed = 0
        end = self._cut if self._stall is None else self._stall
        while end is None or passed < end:
            data = server.recv(_READ if end is None else min(_READ, end - passed))
            if not data:
                return
            client.sendall(data)
            passed += len(data)
            self.passed += len(data)
        if self._stall is not None:
            self._over.wait(30)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(_READ):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@contextmanager
def behind_tls(make: Callable[[], PretendNotary]) -> Iterator[int]:
    """A pretended notary's port, with an outer TLS. One client at a time."""
    context = server_context(make_identity(os.urandom))
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                plain, _ = listener.accept()
                with plain, contextlib.suppress(OSError, ssl.SSLError):
                    plain.settimeout(20)
                    _converse(context.wrap_socket(plain, server_side=True), make())

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(25)
        listener.close()


def _converse(secure: ssl.SSLSocket, notary: PretendNotary) -> None:
    with secure:
        while not notary.over and (data := secure.recv(_READ)):
            secure.sendall(notary.receive(data))
