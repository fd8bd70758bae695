"""An answer of a launcher or a metadata service is an Answer within its limit, or a FormatError; no cut changes it."""

from __future__ import annotations

import h11

from pluto_measure.errors import FormatError
from pluto_notary.evidence.plain_http import Answer, Answering, asked

_LIMIT = 64


def seeds() -> list[bytes]:
    return [
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 500 No\r\nConnection: close\r\n\r\nrest",
    ]


def target(data: bytes) -> None:
    whole, pieces = _outcome([data]), _outcome([data[at : at + 1] for at in range(len(data))])
    assert whole == pieces
    assert whole is None or len(whole.body) <= _LIMIT


def _outcome(pieces: list[bytes]) -> Answer | None:
    connection = h11.Connection(h11.CLIENT)
    asked(connection, host="localhost", path="/x", body=b"{}", headers=())
    answering = Answering(connection, limit=_LIMIT)
    try:
        for piece in [*pieces, b""]:
            if (answer := answering.feed(piece)) is not None:
                return answer
    except FormatError:
        return None
    return None
