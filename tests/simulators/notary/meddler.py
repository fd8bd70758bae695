"""Somebody between a notary and a site, who changes the site's records on their way. For tests.

with Meddler(site.port, dropped(4)) as path, whole.running(authority, {HOST: path.port}) as notary:
    ...
"""

from __future__ import annotations

import contextlib
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Self

# The site's records as they come, and all bytes that the client has said so far; what the notary gets instead.
Change = Callable[[Iterator[bytes], bytearray], Iterable[bytes]]


class Path(ABC):
    """A way between a notary and a site, on which somebody stands; a subclass says what becomes of a connection."""

    def __init__(self, port: int) -> None:
        self._site = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._start(self._serve)
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        self._threads.append(threading.Thread(target=work, args=arguments, daemon=True))
        self._threads[-1].start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                notary, _ = self._listener.accept()
                self._start(self._between, notary)

    @abstractmethod
    def _between(self, notary: socket.socket) -> None:
        """One connection, until it is over."""


class Meddler(Path):
    """Hands on what the notary says, and `change` of what the site says; another one may be set between connections."""

    def __init__(self, port: int, change: Change) -> None:
        super().__init__(port)
        self.change = change

    def _between(self, notary: socket.socket) -> None:
        said = bytearray()
        notary.settimeout(10)
        notary.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with notary, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._site), 10) as site:
            there = threading.Thread(target=_there, args=(notary, site, said), daemon=True)
            there.start()
            with contextlib.suppress(OSError):
                for record in self.change(records_of(site), said):
                    notary.sendall(record)
                notary.shutdown(socket.SHUT_WR)
            there.join(10)


def _there(notary: socket.socket, site: socket.socket, said: bytearray) -> None:
    with contextlib.suppress(OSError):
        while data := notary.recv(65536):
            said += data
            site.sendall(data)
    with contextlib.suppress(OSError):
        site.shutdown(socket.SHUT_RDWR)


def records_of(connection: socket.socket) -> Iterator[bytes]:
    """TLS records as they come; what is left at the end is one, too."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            data += piece
            while len(data) >= 5 and len(data) >= (size := 5 + int.from_bytes(data[3:5], "big")):
                yield data[:size]
                data = data[size:]
    if data:
        yield data


def untouched(records: Iterator[bytes], _: bytearray) -> Iterable[bytes]:
    return records


def replaced(at: int, by: Callable[[bytes, bytearray], Iterable[bytes]]) -> Change:
    """The record of this number (from 0) becomes what `by` makes of it."""

    def change(records: Iterator[bytes], said: bytearray) -> Iterator[bytes]:
        for place, record in enumerate(records):
            yield from by(record, said) if place == at else (record,)

    return change


def flipped(at: int) -> Change:
    """A bit in the middle of it."""
    return replaced(at, lambda record, _: (record[: (middle := _middle(record))] + _flip(record[middle:]),))


def dropped(at: int) -> Change:
    return replaced(at, lambda _record, _said: ())


def repeated(at: int) -> Change:
    return replaced(at, lambda record, _: (record, record))


def swapped(at: int) -> Change:
    """It comes behind the next one."""

    def change(records: Iterator[bytes], _: bytearray) -> Iterator[bytes]:
        kept = b""
        for place, record in enumerate(records):
            if place == at:
                kept = record
                continue
            yield record
            if kept:
                yield kept
                kept = b""

    return change


def _middle(record: bytes) -> int:
    return 5 + (len(record) - 5) // 2


def _flip(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]
