"""Metadata services of Google and Azure on loopback: strict, and able to misbehave. For tests alone.

    with metadata_service("google", {"pluto-config": text}) as service: ... service.address, service.asked
    service.script = [b"HTTP/1.1 503 …", drip, None]      one connection each, then the genuine one answers

Sources: Google Cloud, "VM metadata" (the header in question and answer, 404 as HTML); Azure, "Azure Instance Metadata
Service" (the header, no X-Forwarded-For, userData as it was given in base64, empty where there is none).
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

GOOGLE_PATH = "/computeMetadata/v1/instance/attributes/"
AZURE_PATH = "/metadata/instance/compute/userData?api-version=2021-01-01&format=text"
FLAVOUR = "Metadata-Flavor: Google\r\n"

Act = bytes | Callable[[socket.socket], None] | None  # None: the connection is closed without a word


def reply(status: int, body: bytes = b"", *headers: str) -> bytes:
    """An answer as Google's service gives it, which `headers` (whole lines) change."""
    lines = headers or (FLAVOUR,)
    return f"HTTP/1.1 {status} Word\r\nContent-Length: {len(body)}\r\n{''.join(lines)}\r\n".encode() + body


@dataclass(slots=True)
class MetadataService:
    """`items`: attributes by key (Google), or {"userData": text} (Azure). `asked`: the requests, as they came."""

    cloud: str
    items: dict[str, str]
    listener: socket.socket
    script: list[Act] = field(default_factory=list)
    asked: list[bytes] = field(default_factory=list)
    name: str = "127.0.0.1"  # what Host has to say
    patience: float = 10.0  # seconds until somebody who connected asks

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.listener.getsockname()
        return host, port

    def serve(self) -> None:
        """One connection after the other, until the listener is shut down."""
        while True:
            try:
                channel, _ = self.listener.accept()
            except OSError:
                return
            with channel, contextlib.suppress(OSError):
                channel.settimeout(self.patience)
                self._one(channel)

    def _one(self, channel: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            if not (piece := channel.recv(4096)):
                return
            request += piece
        self.asked.append(request)
        act = self.script.pop(0) if self.script else self._genuine(request)
        if isinstance(act, bytes):
            channel.sendall(act)
        elif act is not None:
            act(channel)

    def _genuine(self, request: bytes) -> bytes:
        first, *lines = request.decode("ascii").removesuffix("\r\n\r\n").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        assert len(headers) == len(lines)
        method, target, version = first.split(" ")
        if (method, version) != ("GET", "HTTP/1.1") or "x-forwarded-for" in headers:
            return reply(400)
        if headers["host"] != self.name:
            return reply(400)
        return self._google(target, headers) if self.cloud == "google" else self._azure(target, headers)

    def _google(self, target: str, headers: dict[str, str]) -> bytes:
        if headers.get("metadata-flavor") != "Google":
            return reply(403, b"<html>Forbidden")
        if target.startswith(GOOGLE_PATH) and (text := self.items.get(target.removeprefix(GOOGLE_PATH))) is not None:
            return reply(200, text.encode(), FLAVOUR, "Content-Type: application/text\r\n", "ETag: 1\r\n")
        return reply(404, b"<html>404", FLAVOUR, "Content-Type: text/html\r\n")

    def _azure(self, target: str, headers: dict[str, str]) -> bytes:
        if headers.get("metadata") != "true":
            return reply(400, b'{"error": "Bad request. Required metadata header not specified"}', "Server: IMDS\r\n")
        if target != AZURE_PATH:
            return reply(404, b'{"error": "Not found"}', "Server: IMDS\r\n")
        return reply(200, self.items.get("userData", "").encode(), "Content-Type: text/plain\r\n", "Server: IMDS\r\n")


@contextlib.contextmanager
def metadata_service(cloud: str, items: dict[str, str]) -> Iterator[MetadataService]:
    """A service that runs until the end of the block."""
    listener = socket.create_server(("127.0.0.1", 0))
    service = MetadataService(cloud, items, listener)
    thread = threading.Thread(target=service.serve)
    thread.start()
    try:
        yield service
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
