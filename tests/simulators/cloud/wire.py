"""What all pretended clouds have in common: real HTTP on loopback, faults on demand, complaints that fail the test.

A service is a function from a request to a reply. What it is asked and should never be, it puts into `complaints`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NoReturn
from urllib.parse import parse_qsl, urlsplit

from simulators.served import served


class Loss(Enum):
    """A connection that ends, and when."""

    BEFORE = auto()  # the request was read and had no effect
    MIDWAY = auto()  # half of its body was read; the service decides what of that counts
    AFTER = auto()  # it had its effect, and the answer is lost
    IN_ANSWER = auto()  # half of the answer came


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Request:
    """`query`: pairs in order, decoded; `target`: path and query as they came; `headers`: names in lower case."""

    method: str
    target: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    body: bytes
    whole: bool = True

    def value(self, name: str) -> str | None:
        return dict(self.query).get(name)


class ProblemError(Exception):
    """A request that no client of ours may send."""


def problem(text: str) -> NoReturn:
    raise ProblemError(text)


Service = Callable[[Request], Reply]
Matcher = Callable[[Request], bool]


@dataclass
class Wire:
    """The server's state. `delay`: seconds that each answer takes."""

    url: str
    complaints: list[str] = field(default_factory=list)
    asked: list[Request] = field(default_factory=list)
    faults: list[tuple[Matcher, Loss | Reply]] = field(default_factory=list)
    delay: float = 0.0
    keep_bodies: bool = True
    in_flight: int = 0
    most_in_flight: int = 0
    flights: list[tuple[float, int]] = field(default_factory=list)  # when, and how many there were since
    lock: threading.RLock = field(default_factory=threading.RLock)

    def fail(self, fault: Loss | Reply, when: Matcher = lambda _: True, *, times: int = 1) -> None:
        """Let the next requests that match end so."""
        self.faults += [(when, fault)] * times

    def count(self, method: str, part: str = "") -> int:
        return sum(request.method == method and part in request.target for request in self.asked)

    def fly(self, change: int) -> None:
        """What brings data is in flight from its first line until it was answered."""
        with self.lock:
            self.in_flight += change
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            if change:
                self.flights.append((time.monotonic(), self.in_flight))


@contextmanager
def serving(service: Callable[[Wire], Service]) -> Iterator[Wire]:
    """Serve on loopback until the block ends; a complaint then fails the test."""
    server = _Server(("127.0.0.1", 0), _Handler)
    wire = Wire(f"http://127.0.0.1:{server.server_address[1]}")
    server.wire, server.service = wire, service(wire)
    with served(server):
        yield wire
    assert wire.complaints == []


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    wire: Wire
    service: Service

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that go away are what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer in one piece; without Nagle's pause
    disable_nagle_algorithm = True
    server: _Server

    def _handle(self) -> None:
        wire, counts = self.server.wire, int(self.command in ("PUT", "PATCH"))
        wire.fly(counts)
        try:
            self._answer(wire)
        finally:
            wire.fly(-counts)

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _handle  # noqa: N815 - the base class names them so

    def _answer(self, wire: Wire) -> None:
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        query = tuple(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        bare = Request(self.command, self.path, parts.path, query, headers, b"")
        with wire.lock:
            at = next((at for at, (when, _) in enumerate(wire.faults) if when(bare)), None)
            fault = None if at is None else wire.faults.pop(at)[1]
        size = int(headers.get("content-length", 0))
        if self.command in ("PUT", "POST", "PATCH") and "content-length" not in headers:
            wire.complaints.append(f"{self.command} {parts.path}: no Content-Length")
        body = self.rfile.read(size // 2 if fault is Loss.MIDWAY else size)
        request = Request(self.command, self.path, parts.path, query, headers, body, fault is not Loss.MIDWAY)
        with wire.lock:
            wire.asked.append(request if wire.keep_bodies else bare)
        if fault is Loss.BEFORE:
            self.close_connection = True
            return
        reply = fault if isinstance(fault, Reply) else self._served(wire, request)
        if wire.delay:
            time.sleep(wire.delay)
        if fault in (Loss.MIDWAY, Loss.AFTER):
            self.close_connection = True
            return
        self._send(reply, cut=fault is Loss.IN_ANSWER)

    def _served(self, wire: Wire, request: Request) -> Reply:
        try:
            return self.server.service(request)
        except ProblemError as error:
            with wire.lock:
                wire.complaints.append(f"{request.method} {request.path}: {error}")
            return Reply(400, body=str(error).encode())
        except Exception as error:  # noqa: BLE001 - a mistake of ours must fail the test and not only its connection
            wire.complaints.append(f"{request.method} {request.path}: {error!r}")
            return Reply(500)

    def _send(self, reply: Reply, *, cut: bool) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if "content-length" not in {name.lower() for name in reply.headers}:
            self.send_header("Content-Length", str(len(reply.body) + (7 if cut else 0)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)
        self.close_connection = self.close_connection or cut

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Tests read `Wire.asked`."""


def only(names: Mapping[str, str] | tuple[tuple[str, str], ...], allowed: set[str], what: str) -> None:
    """Refuse what a service does not know."""
    given = [name for name, _ in (names.items() if isinstance(names, Mapping) else names)]
    if unknown := sorted(set(given) - allowed):
        problem(f"unknown {what}: {unknown[0]}")
    if len(set(given)) != len(given):
        problem(f"{what} given twice")
