"""The program that judges answers where it can be killed: one job after the other from its standard input.

    python -I -B -m pluto_notary.manifest.worker LIMITS

It limits its own memory and, for each job, its time; it starts nothing and keeps no file but the socket. A job that
ends it is a violation; `workers` says so, on the other end of the socket. Jobs and replies are frames of u32 big-endian
lengths.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import socket
import sys

from pluto_measure.errors import FormatError
from pluto_measure.record import record
from pluto_notary.manifest.manifest import Manifest
from pluto_notary.manifest.model import Value
from pluto_notary.manifest.violation import Violation
from pluto_notary.web import Exchange, WebRequest, WebResponse

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

MODULE: Final = "pluto_notary.manifest.worker"
PARTS: Final = 4  # of a job: manifest, head, the request's body, the answer's
LARGEST_PART: Final = 16 * 1024 * 1024
LARGEST_REPLY: Final = 16 * 1024 * 1024
_SIZE: Final = 4  # bytes of a length


@record
class Job:
    """An exchange to be judged; without one, only whether the manifest's selectors are any."""

    manifest: bytes
    request: WebRequest | None = None
    exchange: Exchange | None = None
    units: int = 0

    def to_frames(self) -> bytes:
        """PARTS parts, each after its length."""
        parts = [self.manifest, b"null", b"", b""]
        if self.request is not None and self.exchange is not None:
            head = {
                "units": self.units,
                "request": _head(self.request),
                "sent": _head(self.exchange.request),
                "sameBody": self.exchange.request.body == self.request.body,
                "response": _answered(self.exchange.response),
            }
            parts[1:] = [json.dumps(head).encode(), self.request.body, self.exchange.response.body]
        return b"".join(len(part).to_bytes(_SIZE, "big") + part for part in parts)

    @classmethod
    def from_parts(cls, parts: list[bytes]) -> Job:
        """What `to_frames` wrote. The other end is ours, so it is not doubted."""
        manifest, head_bytes, asked, answered = parts
        head = json.loads(head_bytes)
        if head is None:
            return cls(manifest)
        request = _request(head["request"], asked)
        sent = _request(head["sent"], asked if head["sameBody"] else asked + b"?")
        version, status, reason, headers = head["response"]
        response = WebResponse(version, status, reason, _pairs(headers), answered)
        return cls(manifest, request, Exchange(sent, response, b"", "", 0.0, 0.0), head["units"])

    def reply(self) -> dict[str, Any]:
        """Judge. What is said of it: `values`, `violation`, or `format` for the manifest's own fault."""
        try:
            manifest = Manifest.parse(self.manifest)
            if self.request is None or self.exchange is None:
                check(manifest)
                return {"values": []}
            values = manifest.values(self.request, self.exchange, units=self.units)
        except Violation as error:
            return {"violation": [error.path, error.problem]}
        except FormatError as error:
            return {"format": [error.what, error.problem]}
        return {"values": [[value.id, value.type, value.json.decode()] for value in values]}


def check(manifest: Manifest) -> None:
    """What only the library for HTML can say of a manifest: whether its selectors are any. FormatError."""
    if manifest.answered.format == "html":
        from pluto_notary.manifest.extract_html import check_selectors  # manifests for JSON do without

        for index, extractor in enumerate(manifest.answered.extractors):
            check_selectors(extractor, f"manifest.response.body.extractors[{index}]")


def parse_reply(data: bytes) -> tuple[Value, ...]:
    """The values. Violation, or FormatError for the manifest. ValueError for what is no reply."""
    reply = json.loads(data)
    match reply:
        case {"values": [*values]}:
            return tuple(Value(str(name), str(kind), str(text).encode()) for name, kind, text in values)
        case {"violation": [str(path), str(problem)]}:
            raise Violation(path, problem)
        case {"format": [str(path), str(problem)]}:
            raise FormatError(path, problem)
    raise ValueError("no reply")


def serve(receive: Callable[[int], bytes | None], send: Callable[[bytes], None], before: Callable[[], None]) -> None:
    """Jobs until there are no more. `receive` gives so many bytes, or None at the end; `before` is called each time."""
    while True:
        parts: list[bytes] = []
        while len(parts) < PARTS:
            size = receive(_SIZE)
            length = int.from_bytes(size, "big") if size is not None else LARGEST_PART + 1
            part = receive(length) if length <= LARGEST_PART else None
            if part is None:
                return
            parts.append(part)
        before()
        reply = json.dumps(Job.from_parts(parts).reply()).encode()
        send(len(reply).to_bytes(_SIZE, "big") + reply)


def main(memory: int, seconds: int) -> None:
    """Judge what comes on standard input, with so many bytes of memory and so many seconds of time for each job."""
    os.closerange(3, resource.getrlimit(resource.RLIMIT_NOFILE)[0])  # what systemd handed to the notary, for one
    for what, limit in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0),
    ):
        resource.setrlimit(what, (limit, limit))

    def before() -> None:
        gc.collect()  # a page is full of references in circles
        usage = resource.getrusage(resource.RUSAGE_SELF)
        limit = int(usage.ru_utime + usage.ru_stime) + 1 + seconds
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))

    with socket.socket(fileno=0) as channel:

        def receive(size: int) -> bytes | None:
            data = bytearray()
            while len(data) < size:
                piece = channel.recv(min(size - len(data), 65536))
                if not piece:
                    return None
                data += piece
            return bytes(data)

        serve(receive, channel.sendall, before)


def _head(request: WebRequest) -> list[Any]:
    return [request.method, request.host, request.port, request.target, request.headers]


def _answered(response: WebResponse) -> list[Any]:
    return [response.version, response.status, response.reason, response.headers]


def _request(head: list[Any], body: bytes) -> WebRequest:
    method, host, port, target, headers = head
    return WebRequest(method, host, port, target, _pairs(headers), body)


def _pairs(headers: Any) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in headers)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
