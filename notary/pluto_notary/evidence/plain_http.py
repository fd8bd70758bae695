"""One HTTP/1.1 exchange in plain text with a service of the machine itself: a launcher's socket, a cloud's metadata.

`asked`, `wanted` and `Answering` are pure; `post` and `get` are thin IO. Length and time of the answer are bounded.
"""

from __future__ import annotations

import h11

from pluto_measure.errors import FormatError
from pluto_measure.record import record

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from typing import Final

_READ_BYTES: Final = 4096
_LARGEST_HEAD: Final = 16 * 1024


@record
class Answer:
    """Status, body, and two headers: retry-after in seconds (None: not there, or a date), and metadata-flavor.

    A header that is there more than once counts as not there.
    """

    status: int
    body: bytes
    retry_after: int | None
    flavour: str | None = None


def asked(
    connection: h11.Connection, *, host: str, path: str, body: bytes, headers: tuple[tuple[str, str], ...]
) -> bytes:
    """The bytes of a POST of JSON that ends its connection."""
    head = h11.Request(
        method="POST",
        target=path,
        headers=[
            ("host", host),
            ("content-type", "application/json"),  # exactly: Azure refuses a charset
            ("content-length", str(len(body))),
            ("connection", "close"),
            *headers,
        ],
    )
    return b"".join(connection.send(event) or b"" for event in (head, h11.Data(data=body), h11.EndOfMessage()))


def wanted(connection: h11.Connection, *, host: str, path: str, headers: tuple[tuple[str, str], ...]) -> bytes:
    """The bytes of a GET that ends its connection."""
    head = h11.Request(method="GET", target=path, headers=[("host", host), ("connection", "close"), *headers])
    return b"".join(connection.send(event) or b"" for event in (head, h11.EndOfMessage()))


class Answering:
    """Takes the bytes of an answer, in any pieces; b"" says that no more will come."""

    def __init__(self, connection: h11.Connection, *, limit: int) -> None:
        self._connection, self._limit = connection, limit
        self._head: h11.Response | None = None
        self._body = b""

    def feed(self, data: bytes) -> Answer | None:
        """The answer, once it is whole. FormatError for what is no answer, is cut off, or longer than the limit."""
        try:
            self._connection.receive_data(data)
            while True:
                event = self._connection.next_event()
                if event is h11.NEED_DATA:
                    return None
                if isinstance(event, h11.Response):
                    self._head = event
                elif isinstance(event, h11.Data):
                    self._take(bytes(event.data))
                elif isinstance(event, h11.EndOfMessage):
                    return self._answer()
                elif not isinstance(event, h11.InformationalResponse):
                    raise FormatError("answer", "the connection ended before it")
        except h11.RemoteProtocolError as error:
            raise FormatError("answer", "not HTTP/1.1, or cut off") from error

    def _take(self, data: bytes) -> None:
        self._body += data
        if len(self._body) > self._limit:
            raise FormatError("answer", f"more than {self._limit} bytes")

    def _answer(self) -> Answer:
        assert self._head is not None, "h11 gives a body after its head alone"
        retry_after, flavour = self._header(b"retry-after"), self._header(b"metadata-flavor")
        seconds = int(retry_after) if retry_after and retry_after.isdigit() and len(retry_after) <= 6 else None
        return Answer(
            self._head.status_code, self._body, seconds, None if flavour is None else flavour.decode("latin-1")
        )

    def _header(self, name: bytes) -> bytes | None:
        assert self._head is not None
        texts = [value for key, value in self._head.headers if key == name]
        return bytes(texts[0]) if len(texts) == 1 else None


def post(
    connect: Callable[[], socket.socket],
    *,
    host: str,
    path: str,
    body: bytes,
    headers: tuple[tuple[str, str], ...] = (),
    limit: int,
    seconds: float,
    clock: Callable[[], float],
) -> Answer:
    """One POST over a connection of its own, within `seconds`. OSError, FormatError."""
    connection = _connection()
    return _exchanged(
        connect,
        connection,
        asked(connection, host=host, path=path, body=body, headers=headers),
        limit=limit,
        seconds=seconds,
        clock=clock,
    )


def get(
    connect: Callable[[], socket.socket],
    *,
    host: str,
    path: str,
    headers: tuple[tuple[str, str], ...] = (),
    limit: int,
    seconds: float,
    clock: Callable[[], float],
) -> Answer:
    """One GET over a connection of its own, within `seconds`. No redirect is followed. OSError, FormatError."""
    connection = _connection()
    asking = wanted(connection, host=host, path=path, headers=headers)
    return _exchanged(connect, connection, asking, limit=limit, seconds=seconds, clock=clock)


def _connection() -> h11.Connection:
    return h11.Connection(h11.CLIENT, max_incomplete_event_size=_LARGEST_HEAD)


def _exchanged(
    connect: Callable[[], socket.socket],
    connection: h11.Connection,
    asking: bytes,
    *,
    limit: int,
    seconds: float,
    clock: Callable[[], float],
) -> Answer:
    deadline = clock() + seconds
    answering = Answering(connection, limit=limit)
    with connect() as channel:
        channel.settimeout(seconds)
        channel.sendall(asking)
        while True:
            if (left := deadline - clock()) <= 0:
                raise TimeoutError("the answer did not come in time")
            channel.settimeout(left)
            if (answer := answering.feed(channel.recv(_READ_BYTES))) is not None:
                if connection.trailing_data[0]:
                    raise FormatError("answer", "more came behind it")
                return answer
