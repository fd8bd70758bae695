"""Whatever bytes a web site answers with, in HTTP/1.1 or HTTP/2, they are one answer or a TargetError, however cut."""

from __future__ import annotations

import gzip

from pluto_notary.fetch.errors import TargetError
from pluto_notary.fetch.http1 import Http1Session
from pluto_notary.fetch.http2 import Http2Session
from pluto_notary.fetch.limits import FetchLimits
from pluto_notary.fetch.outgoing import prepared
from pluto_notary.web import WebRequest, WebResponse
from simulators.notary.sites import chunked, frame, headers_frame, whole

LIMITS = FetchLimits(head_bytes=4096, headers=32, body_bytes=64 * 1024, pieces=64)
REQUEST = prepared(WebRequest("GET", "site.example", 443, "/", (), b""), LIMITS)
OK = (":status", "200")


def seeds() -> list[bytes]:
    """The first byte chooses the version and where the rest is cut."""
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"ab", b"cde", end=b"0\r\nx: y\r\n\r\n")
    return [
        b"\x10" + whole(b"hello", ("X", "y")),
        b"\x20" + chunks,
        b"\x30HTTP/1.1 103 Early Hints\r\n\r\n" + whole(gzip.compress(b"hello"), ("Content-Encoding", "gzip")),
        b"\x08HTTP/1.0 200 OK\r\nContent-Encoding: br\r\n\r\n\x0b\x02\x80hello\x03",
        b"\x11" + frame(4) + headers_frame(OK, ("content-length", "5")) + frame(0, 1, 1, b"hello"),
        b"\x21" + frame(4) + frame(6, 0, 0, bytes(8)) + headers_frame(OK) + frame(0, 9, 1, b"\x02hello\0\0"),
        b"\x31" + frame(4) + headers_frame((":status", "103")) + headers_frame(OK, end=True) + frame(7, 0, 0, bytes(8)),
    ]


def answer(data: bytes, version: int, cut: int) -> WebResponse | str:
    session = Http2Session(REQUEST, LIMITS) if version else Http1Session(REQUEST, LIMITS)
    session.start()
    try:
        for piece in (data[:cut], data[cut:]):
            session.feed(piece)
        session.end()
    except TargetError as error:
        assert session.response is None
        return error.code
    assert session.response is not None
    return session.response


def target(data: bytes) -> None:
    version, cut = data[0] & 1 if data else 0, data[0] >> 1 if data else 0
    assert answer(data[1:], version, cut) == answer(data[1:], version, 0)
