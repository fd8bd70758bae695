"""What carries the inner TLS once HTTP has stepped aside: messages of a WebSocket, or the raw connection. No socket.

Both look the same. Boundaries of messages mean nothing; text, extensions and unmasked frames of clients are refused.
Nothing is kept but one frame's head or one control frame. RFC 6455.
"""

from __future__ import annotations

from typing import Final, NoReturn, Protocol

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, TextMessage
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError

from pluto_notary.protocol.errors import ChannelError

NOTARY_TAKES: Final = 8 << 20  # bytes of the wire, all through a session
CLIENT_TAKES: Final = 32 << 20
_OPEN: Final = (ConnectionState.OPEN, ConnectionState.LOCAL_CLOSING)
_OVERHEAD: Final = 64 * 1024  # bytes that carry nothing, beyond as many as carry something


class Stream(Protocol):
    """A stream of bytes inside another. ChannelError `frame` or `size` for what the other side may not do."""

    ended: bool  # whether the other side said that no more will come

    def feed(self, data: bytes) -> bytes:
        """Bytes of the wire, cut anywhere, to bytes of the stream."""

    def replies(self) -> bytes:
        """What must go out because of what came in; asked for after each `feed`, also one that failed."""

    def send(self, data: bytes) -> bytes:
        """Bytes of the stream to bytes of the wire."""

    def close(self) -> bytes:
        """The last bytes for the wire."""


class TcpStream:
    """`Upgrade: tcp`: the wire is the stream."""

    def __init__(self, *, takes: int) -> None:
        self.ended = False
        self._left = takes

    def feed(self, data: bytes) -> bytes:
        self._left -= len(data)
        if self._left < 0:
            raise ChannelError("size", "more bytes came than a session has")
        return data

    def replies(self) -> bytes:
        return b""

    def send(self, data: bytes) -> bytes:
        return data

    def close(self) -> bytes:
        return b""


class WebSocketStream:
    """`Upgrade: websocket`: binary messages, whole or fragmented, with pings and a close between them."""

    def __init__(self, *, server: bool, takes: int) -> None:
        self.ended = False
        self._connection = Connection(ConnectionType.SERVER if server else ConnectionType.CLIENT)
        self._left, self._overhead = takes, _OVERHEAD
        self._replies = bytearray()
        self._failure: ChannelError | None = None
        self._closed = False

    def feed(self, data: bytes) -> bytes:
        if self._failure is not None:
            raise self._failure
        if self.ended:  # RFC 6455, 1.4: what comes behind a close is discarded
            return b""
        self._left -= len(data)
        if self._left < 0:
            self._fail("size", "more bytes came than a session has", CloseReason.MESSAGE_TOO_BIG)
        self._connection.receive_data(data)
        payload = bytearray()
        for event in self._connection.events():
            self._take(event, payload)
        self._overhead += 2 * len(payload) - len(data)
        if self._overhead < 0:
            self._fail("frame", "most of the bytes carry nothing", CloseReason.POLICY_VIOLATION)
        return bytes(payload)

    def replies(self) -> bytes:
        data = bytes(self._replies)
        self._replies.clear()
        return data

    def send(self, data: bytes) -> bytes:
        return self._connection.send(BytesMessage(data)) if data and not self._closed and not self.ended else b""

    def close(self) -> bytes:
        return self._close(CloseReason.NORMAL_CLOSURE)

    def _take(self, event: Event, payload: bytearray) -> None:
        if isinstance(event, BytesMessage):
            payload += event.data
        elif isinstance(event, TextMessage):
            self._fail("frame", "messages must be binary", CloseReason.UNSUPPORTED_DATA)
        elif isinstance(event, Ping):
            if not self._closed:
                self._replies += self._connection.send(event.response())
        elif isinstance(event, CloseConnection):
            if self._connection.state in _OPEN:  # nobody closed: it is how the library reports a broken frame
                self._fail("frame", "these are not WebSocket frames as we speak them", CloseReason(event.code))
            self.ended = True
            self._replies += self._close(CloseReason.NORMAL_CLOSURE)

    def _close(self, reason: CloseReason) -> bytes:
        if self._closed:
            return b""
        self._closed = True
        try:
            return self._connection.send(CloseConnection(code=reason))
        except LocalProtocolError:  # the other side closed first, and was answered
            return b""

    def _fail(self, code: str, problem: str, reason: CloseReason) -> NoReturn:
        self._replies += self._close(reason)
        self._failure = ChannelError(code, problem)
        raise self._failure
