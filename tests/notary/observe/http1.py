"""Requests and answers of HTTP/1.1 put together for tests, and what is read of them."""

from __future__ import annotations

from typing import Any

import pytest

from pluto_notary.fetch.limits import FetchLimits
from pluto_notary.observe.errors import ObserveError
from pluto_notary.observe.exchanges import exchanges
from simulators.notary.sites import chunked, whole

LIMITS = FetchLimits(
    head_bytes=2048, headers=16, body_bytes=50_000, request_bytes=20_000, target_bytes=200, pieces=32, interim=2
)
HOST = "site.example"
GET = b"GET /a HTTP/1.1\r\nHost: site.example\r\n\r\n"
POST = b"POST /b?c HTTP/1.1\r\nhost:SITE.example\r\nX-A: 1 \r\nContent-Length: 5\r\n\r\nhello"
OK = b"HTTP/1.1 200 OK\r\n"
ONE = whole(b"one", ("X-A", "b"))
TWO = OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(b"tw", b"o")
NOTHING = b"HTTP/1.1 204 No Content\r\n\r\n"
TO_THE_END = OK + b"\r\nthe rest"


def read(client: bytes, site: bytes, *, closed: bool = False, port: int = 443, limits: FetchLimits = LIMITS) -> Any:
    return exchanges(client, site, host=HOST, port=port, closed=closed, limits=limits)


def refused(client: bytes, site: bytes, **changes: Any) -> str:
    """The code with which this is refused."""
    with pytest.raises(ObserveError) as caught:
        read(client, site, **changes)
    assert caught.value.code in ("http", "size")
    return caught.value.code


def asked(*lines: bytes, first: bytes = b"GET /a HTTP/1.1", host: bytes = b"Host: site.example") -> bytes:
    """A request without body."""
    return b"\r\n".join((first, *([host] if host else []), *lines, b"", b""))


def answered(*lines: bytes, first: bytes = b"HTTP/1.1 200 OK", body: bytes = b"") -> bytes:
    return b"\r\n".join((first, *lines, b"", body))
