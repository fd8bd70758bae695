"""HTTPS sites on loopback that serve HTTP/1.1 and HTTP/2 honestly, and sites that lie, stall or break off.

A site runs in threads of its own. What it does with a connection is one function, its `act`; those of this module cover
honest answers, raw bytes, and frames by hand. `Net` leads addresses to sites, so that tests use public numbers.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Self

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded
from hpack import Encoder

from simulators.notary.certificates import Identity

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Site:
    """A server on a free port of 127.0.0.1. `requests` and `names` hold what clients sent: heads and SNI."""

    def __init__(
        self,
        identity: Identity | None,
        act: Callable[[Visit], None],
        *,
        alpn: Iterable[str] = ("http/1.1",),
        versions: tuple[ssl.TLSVersion, ssl.TLSVersion] = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3),
        ciphers: str | None = None,
    ) -> None:
        self._act = act
        self._tls = None if identity is None else _server_context(identity, alpn, versions, ciphers)
        if self._tls is not None:
            self._tls.sni_callback = lambda _connection, name, _context: self.names.append(name)
        self.requests: list[bytes] = []
        self.names: list[str | None] = []
        self.visits = 0
        self.over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self.over.is_set():
                connection.close()
                return
            self.visits += 1
            self._start(self._visit, connection)

    def _visit(self, connection: socket.socket) -> None:
        connection.settimeout(10)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection, contextlib.suppress(OSError, EOFError):
            if self._tls is None:
                self._act(Visit(self, connection))
                return
            with self._tls.wrap_socket(connection, server_side=True) as secure:
                self._act(Visit(self, secure))


class Visit:
    """One connection of a client, TLS done. Ends without close_notify unless `goodbye` is called."""

    def __init__(self, site: Site, connection: socket.socket) -> None:
        self.site, self.connection = site, connection

    def read_request(self) -> bytes:
        """The head of an HTTP/1.1 request, and its body by content-length."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._read()
        head, _, body = data.partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        while len(body) < int(fields.get(b"content-length", b"0")):
            body += self._read()
        self.site.requests.append(head + b"\r\n\r\n" + body)
        return self.site.requests[-1]

    def read_frames(self) -> bytes:
        """What a client of HTTP/2 says first: the preface, settings, and headers."""
        data = b""
        while b"\x01" not in (kinds := frame_kinds(data)):
            data += self._read()
        self.site.requests.append(data)
        return kinds

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def goodbye(self) -> None:
        """close_notify, and the wait for the client's."""
        assert isinstance(self.connection, ssl.SSLSocket)
        self.connection.unwrap()

    def _read(self) -> bytes:
        if not (data := self.connection.recv(65536)):
            raise EOFError
        return data


def frame_kinds(data: bytes) -> bytes:
    """The types of all whole frames after the preface."""
    kinds, at = b"", len(PREFACE)
    while len(data) >= at + 9 and len(data) >= (end := at + 9 + int.from_bytes(data[at : at + 3], "big")):
        kinds += data[at + 3 : at + 4]
        at = end
    return kinds


def raw(*pieces: bytes, goodbye: bool = True, pause: float = 0, hang: bool = False) -> Callable[[Visit], None]:
    """After the request, these bytes; then close_notify, or a cut, or silence."""

    def act(visit: Visit) -> None:
        visit.read_request()
        for piece in pieces:
            visit.send(piece)
            time.sleep(pause)
        if hang:
            visit.site.over.wait(10)
        elif goodbye:
            visit.goodbye()

    return act


def page(body: bytes, *headers: tuple[str, str], status: str = "200 OK") -> Callable[[Visit], None]:
    """An honest HTTP/1.1 answer with a content-length."""
    return raw(whole(body, *headers, status=status))


def whole(body: bytes, *headers: tuple[str, str], status: str = "200 OK") -> bytes:
    """The bytes of such an answer."""
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers), f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    """A body in chunks."""
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + end


def page2(body: bytes, *headers: tuple[str, str], status: str = "200") -> Callable[[Visit], None]:
    """An honest HTTP/2 server, by h2: reads the whole request and answers within the client's windows."""

    def act(visit: Visit) -> None:
        server = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        server.initiate_connection()
        visit.send(server.data_to_send())
        request, content, left, ended = b"", b"", memoryview(body), False
        while not ended or left:
            for event in server.receive_data(visit._read()):
                if isinstance(event, RequestReceived):
                    request = b"".join(b"%b: %b\r\n" % (name, value) for name, value in event.headers or ())
                elif isinstance(event, DataReceived):
                    content += event.data or b""
                    server.acknowledge_received_data(event.flow_controlled_length or 0, 1)
                elif isinstance(event, StreamEnded):
                    ended = True
                    visit.site.requests.append(request + b"\r\n" + content)
                    server.send_headers(1, [(":status", status), *headers], end_stream=not body)
            while ended and left and (room := min(server.local_flow_control_window(1), 16384, len(left))):
                piece, left = bytes(left[:room]), left[room:]
                server.send_data(1, piece, end_stream=not left)
            visit.send(server.data_to_send())
        with contextlib.suppress(EOFError):
            visit._read()

    return act


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """One HTTP/2 frame by hand."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def headers_frame(*headers: tuple[str, str], end: bool = False, flags: int = 4) -> bytes:
    """HEADERS on stream 1 with a fresh table; END_HEADERS unless `flags` says otherwise."""
    return frame(1, flags | end, 1, Encoder().encode(list(headers)))


def frames(*pieces: bytes, goodbye: bool = True, hang: bool = False) -> Callable[[Visit], None]:
    """After the client's headers, our settings and these frames."""

    def act(visit: Visit) -> None:
        visit.read_frames()
        visit.send(frame(4) + b"".join(pieces))
        if hang:
            visit.site.over.wait(10)
        elif goodbye:
            visit.goodbye()

    return act


class Net:
    """The network of a test: which site stands behind an address. `connected` lists where the fetch went."""

    def __init__(self, sites: dict[str, Site | int]) -> None:
        self._sites = sites
        self.connected: list[tuple[str, int]] = []

    async def connect(self, address: str, port: int) -> socket.socket:
        """As target.connect; an address without a site refuses."""
        from pluto_notary.fetch import target

        self.connected.append((address, port))
        if address not in self._sites:
            raise ConnectionRefusedError
        site = self._sites[address]
        return await target.connect("127.0.0.1", site if isinstance(site, int) else site.port)


def _server_context(
    identity: Identity, alpn: Iterable[str], versions: tuple[ssl.TLSVersion, ssl.TLSVersion], ciphers: str | None
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        chain, key = Path(folder, "chain.pem"), Path(folder, "key.pem")
        chain.write_text(identity.chain)
        key.write_text(identity.key)
        context.load_cert_chain(chain, key)
    context.minimum_version, context.maximum_version = versions
    if ciphers is not None:
        context.set_ciphers(ciphers)
    if protocols := list(alpn):
        context.set_alpn_protocols(protocols)
    return context
