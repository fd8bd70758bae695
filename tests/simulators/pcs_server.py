"""A collateral service on loopback, Intel's PCS or a PCCS, that answers well or badly. For tests alone.

Bodies and headers come from `simulators.intel.pcs_response`. A `Fault` is what one request gets instead of its answer.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from simulators.intel import pcs_response

Kind = Literal["tcb", "qe_identity", "pck_crl", "root_crl"]
PATHS: dict[str, Kind] = {
    "/tdx/certification/v4/tcb": "tcb",
    "/tdx/certification/v4/qe/identity": "qe_identity",
    "/sgx/certification/v4/pckcrl": "pck_crl",
    "/sgx/certification/v4/rootcacrl": "root_crl",
}


class Fault(Enum):
    """What a service may do instead of answering."""

    HANG = auto()  # accepts the request and says nothing
    DRIP_HEAD = auto()  # headers that never end, byte by byte
    DRIP = auto()  # a body that never ends, byte by byte
    ENDLESS = auto()  # a body that never ends, and fast
    ANNOUNCES_MUCH = auto()
    CUT = auto()  # the connection ends before the announced length
    SHORT = auto()  # a whole answer that lacks its last bytes
    CHUNKED = auto()  # well, but in pieces
    CHUNKED_CUT = auto()  # pieces, the last of which is missing
    RESET = auto()  # the connection ends before a word
    NO_HTTP = auto()
    WEB_PAGE = auto()  # status 200 and something else
    NO_CHAIN = auto()  # the issuer chain is missing
    TWO_CHAINS = auto()  # two that differ
    BAD_CHAIN = auto()  # not URL-encoded
    LONG_CHAIN = auto()
    NOT_FOUND = auto()
    GONE = auto()
    BAD_REQUEST = auto()
    THROTTLED = auto()  # 429, with Retry-After
    BUSY = auto()  # 503
    REDIRECT = auto()


_STATUS = {
    Fault.NOT_FOUND: 404,
    Fault.GONE: 410,
    Fault.BAD_REQUEST: 400,
    Fault.THROTTLED: 429,
    Fault.BUSY: 503,
    Fault.REDIRECT: 302,
}


@dataclass(frozen=True)
class Asked:
    """One request."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]


@dataclass
class Service:
    """The state of a server; it may change while it runs. `early` None: it knows no early update."""

    url: str
    standard: Mapping[str, Any]
    early: Mapping[str, Any] | None = None
    crl_form: Literal["der", "hex", "pem"] = "der"
    old_header: bool = False
    retry_after: str = "7"
    faults: dict[str, list[Fault]] = field(default_factory=dict)  # by kind, one per request, then it answers well
    asked: list[Asked] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)


@contextmanager
def serving(standard: Mapping[str, Any], early: Mapping[str, Any] | None = None, **how: Any) -> Iterator[Service]:
    """Serve collateral (the common JSON as a mapping) on loopback until the block ends."""

    class Handler(_Handler):
        service: Service

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    service = Service(f"http://127.0.0.1:{server.server_address[1]}", standard, early, **how)
    Handler.service = service
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        service.stop.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    service: Service

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        self.service.asked.append(Asked(parts.path, query, dict(self.headers)))
        kind = PATHS.get(parts.path)
        collateral = self.service.early if query.get("update") == "early" else self.service.standard
        if kind is None or collateral is None:
            self._refuse(404 if kind is None else 400)
            return
        headers, body = pcs_response(
            kind, collateral, crl_form=self.service.crl_form, old_header=self.service.old_header
        )
        faults = self.service.faults.get(kind)
        if faults:
            self._fail(faults.pop(0), dict(headers), body)
        else:
            self._answer(headers, body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Tests read `Service.asked`."""

    def _head(self, headers: Mapping[str, str], *more: tuple[str, str]) -> None:
        self.send_response(200)
        for name, value in (*headers.items(), *more):
            self.send_header(name, value)
        self.end_headers()

    def _answer(self, headers: Mapping[str, str], body: bytes, *more: tuple[str, str]) -> None:
        self._head(headers, ("Request-ID", "1234abcd"), ("Cache-Control", "max-age=60"), *more)
        self.wfile.write(body)

    def _refuse(self, status: int) -> None:
        self.send_response(status)
        for name, value in (
            ("Retry-After", self.service.retry_after if status == 429 else ""),
            ("Location", f"{self.service.url}/elsewhere" if status == 302 else ""),
            ("Request-ID", "5678\x01cdef"),
            ("Error-Message", "no such thing here"),
            ("Content-Length", "0"),
        ):
            if value:
                self.send_header(name, value)
        self.end_headers()

    def _fail(self, fault: Fault, headers: dict[str, str], body: bytes) -> None:
        chain = next((name for name in headers if name.endswith("Issuer-Chain")), "")
        match fault:
            case Fault.HANG:
                self.service.stop.wait(10)
            case Fault.DRIP_HEAD | Fault.DRIP | Fault.ENDLESS:
                self._pour(fault)
            case Fault.ANNOUNCES_MUCH:
                self._answer({**headers, "Content-Length": str(1 << 40)}, body)
            case Fault.CUT:
                self._answer(headers, body[:-3])
            case Fault.SHORT:
                self._answer({**headers, "Content-Length": str(len(body) - 3)}, body[:-3])
            case Fault.CHUNKED | Fault.CHUNKED_CUT:
                self._pieces(headers, body, whole=fault is Fault.CHUNKED)
            case Fault.RESET:
                self.close_connection = True
            case Fault.NO_HTTP:
                self.wfile.write(b"220 mail.example ready\r\n")
            case Fault.WEB_PAGE:
                self._answer({"Content-Length": "13"}, b"<html></html>")
            case Fault.NO_CHAIN:
                self._answer({name: value for name, value in headers.items() if name != chain}, body)
            case Fault.TWO_CHAINS:
                self._answer(headers, body, (chain, headers[chain][:-1]))
            case Fault.BAD_CHAIN:
                self._answer({**headers, chain: headers[chain] + "%4"}, body)
            case Fault.LONG_CHAIN:
                self._answer({**headers, chain: "x" * 40_000}, body)
            case _:
                self._refuse(_STATUS[fault])

    def _pieces(self, headers: dict[str, str], body: bytes, *, whole: bool) -> None:
        self.protocol_version = "HTTP/1.1"
        self._head({name: value for name, value in headers.items() if name != "Content-Length"},
                   ("Transfer-Encoding", "chunked"))  # fmt: skip
        for start in range(0, len(body), 100):
            piece = body[start : start + 100]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        if whole:
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection = True

    def _pour(self, fault: Fault) -> None:
        if fault is Fault.DRIP_HEAD:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        else:
            self.send_response(200)
            self.end_headers()
        piece, pause = (b"x" * 65536, 0.0) if fault is Fault.ENDLESS else (b"x", 0.05)
        try:
            while not self.service.stop.wait(pause):
                self.wfile.write(piece)
                self.wfile.flush()
        except OSError:
            self.close_connection = True
