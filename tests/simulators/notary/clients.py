"""A client of a notary that stops, stalls, resets or misbehaves at whatever step a test wants. Blocking; for tests.

STEPS                    connect -> TLS -> the request -> 101 -> inner hello -> inner TLS -> hello -> evidence -> fetch
client.go("evidence")    up to and with this step
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import struct
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self

from pluto_measure.formats.strict_json import canonical
from pluto_notary.manifest import Manifest
from pluto_notary.protocol.errors import ChannelError
from pluto_notary.protocol.frames import encode
from pluto_notary.protocol.inner import InnerTls, client_context
from pluto_notary.protocol.messages import Fetch, Hello
from pluto_notary.protocol.stream import Stream
from pluto_notary.protocol.upgrade import Upgrading

STEPS: Final = ("connect", "tls", "request", "upgraded", "inner-hello", "established", "hello", "evidence", "fetch")
HELLO, EVIDENCE, FETCH, PROGRESS, PROOF, ERROR = range(1, 7)
HOST: Final = "notary.example"


class Client:
    """One connection. `order` is what it asks for; `query` is of the upgrade's request; `source` its own address."""

    def __init__(
        self,
        port: int,
        order: Fetch,
        *,
        protocol: str = "websocket",
        query: str = "",
        source: str = "127.0.0.1",
        fresh: bool = False,
        version: int = 2,
        receive_buffer: int | None = None,
    ) -> None:
        self._port, self._order, self._protocol = port, order, protocol
        self._query, self._source, self._fresh, self._version = query, source, fresh, version
        self._receive_buffer = receive_buffer
        self._socket: socket.socket | None = None
        self._upgrading = Upgrading(protocol=protocol, authority=HOST, random=os.urandom(16), query=query)
        self._stream: Stream | None = None
        self.inner: InnerTls | None = None
        self._buffer = b""
        self.done = 0  # steps
        self.steps: list[str] = []  # of progress
        self.evidence: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._socket is not None:
            self._socket.close()

    @property
    def socket(self) -> socket.socket:
        assert self._socket is not None
        return self._socket

    def go(self, step: str) -> Self:
        """All steps up to this one."""
        while self.done <= STEPS.index(step):
            getattr(self, f"_{STEPS[self.done].replace('-', '_')}")()
            self.done += 1
        return self

    def say(self, kind: int, body: object) -> None:
        """A frame, whatever it is."""
        text = body if isinstance(body, bytes) else canonical(body)
        self.send(bytes([kind]) + len(text).to_bytes(4, "big") + text)

    def send(self, data: bytes) -> None:
        """Bytes of the session."""
        assert self.inner is not None
        self.inner.write(data)
        self.flush()

    def raw(self, data: bytes) -> None:
        """Bytes of the connection, below the stream."""
        self.socket.sendall(data)

    def hear(self) -> tuple[int, bytes] | None:
        """Type and body of the next frame; None at the end."""
        assert self.inner is not None
        while len(self._buffer) < 5 or len(self._buffer) < 5 + int.from_bytes(self._buffer[1:5], "big"):
            if self.inner.ended or not self.more():
                return None
            self._buffer += self.inner.read()
        end = 5 + int.from_bytes(self._buffer[1:5], "big")
        kind, body, self._buffer = self._buffer[0], self._buffer[5:end], self._buffer[end:]
        if kind == PROGRESS:
            self.steps.append(json.loads(body)["step"])
        return kind, body

    def ending(self) -> str:
        """How the session ends: "proof", the code of the error, or "gone"."""
        with contextlib.suppress(OSError, ChannelError):
            while (heard := self.hear()) is not None:
                if heard[0] == PROOF:
                    return "proof"
                if heard[0] == ERROR:
                    return str(json.loads(heard[1])["code"])
        return "gone"

    def closed_in_order(self) -> bool:
        """Whether the inner TLS is ended by the notary's close_notify."""
        assert self.inner is not None
        with contextlib.suppress(OSError, ChannelError):
            while not self.inner.ended and self.more():
                self.inner.read()
        return self.inner.ended

    def more(self) -> bool:
        """Take what the notary sends; whether there was something."""
        assert self.inner is not None
        assert self._stream is not None
        if not (data := self.socket.recv(65536)):
            return False
        if inner := self._stream.feed(data):
            self.inner.feed(inner)
        self.flush()
        return True

    def flush(self) -> None:
        """Send what waits."""
        assert self.inner is not None
        assert self._stream is not None
        self.socket.sendall(self._stream.replies())
        while data := self.inner.data_to_send():
            self.socket.sendall(self._stream.send(data))

    def reset(self) -> None:
        """The connection ends by RST, without a word on any layer."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if isinstance(self.socket, ssl.SSLSocket):
            socket.socket(fileno=self.socket.detach()).close()
        else:
            self.socket.close()

    def cut(self) -> None:
        """The connection ends by FIN, without a word on any layer."""
        if isinstance(self.socket, ssl.SSLSocket):
            socket.socket(fileno=self.socket.detach()).close()
        else:
            self.socket.close()

    def _connect(self) -> None:
        plain = socket.socket()
        if self._receive_buffer is not None:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        plain.settimeout(20)
        plain.bind((self._source, 0))
        plain.connect(("127.0.0.1", self._port))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = plain

    def _tls(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self._socket = context.wrap_socket(self.socket)

    def _request(self) -> None:
        self.socket.sendall(self._upgrading.start())

    def _upgraded(self) -> None:
        while (granted := self._upgrading.feed(self.socket.recv(65536))) is None:
            pass
        self._stream = granted[0]
        assert granted[1] == b""

    def _inner_hello(self) -> None:
        self.inner = InnerTls(client_context(version=self._version), server=False)
        self.flush()

    def _established(self) -> None:
        assert self.inner is not None
        while not self.inner.established:
            if not self.more():
                raise EOFError

    def _hello(self) -> None:
        digest = Manifest.parse(self._order.manifest).digest()
        self.send(encode(Hello(os.urandom(32), digest, self._fresh)))

    def _evidence(self) -> None:
        heard = self.hear()
        assert heard is not None
        assert heard[0] == EVIDENCE, heard[1]
        self.evidence = json.loads(heard[1])

    def _fetch(self) -> None:
        self.send(encode(self._order))


def json_of(answer: bytes) -> tuple[int, dict[str, str], Any]:
    """Status, headers and JSON of one whole HTTP answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(first.split(" ")[1]), headers, json.loads(body) if body else None


def until_closed(connection: socket.socket) -> bytes:
    """All that comes."""
    data = b""
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while piece := connection.recv(65536):
            data += piece
    return data


def post(path: str, body: bytes, headers: Mapping[str, str] = {}, *, close: bool = True) -> bytes:
    """The bytes of a request."""
    fields = {"host": HOST, "content-length": str(len(body)), **({"connection": "close"} if close else {}), **headers}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode() + body
