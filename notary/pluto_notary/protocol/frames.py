"""Frames: messages as bytes, and bytes in any pieces as messages. Pure. Format: docs/protocol.md, section 4.

    frame = type:u8 length:u32 body                          big-endian; `length` is that of the body

A length is compared with the limit of its type before a byte of the body is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final

from pluto_notary.protocol.errors import ChannelError
from pluto_notary.protocol.messages import (
    ERROR,
    EVIDENCE,
    FETCH,
    HELLO,
    LIMITS,
    PROGRESS,
    PROOF,
    Error,
    Evidence,
    Fetch,
    Hello,
    Message,
    Observe,
    Progress,
    Proof,
)
from pluto_notary.protocol.observe import (
    CLOSE,
    CLOSED,
    CONNECTED,
    DATA,
    ENDED,
    KEPT,
    OBSERVE,
    REVEAL,
    Close,
    Closed,
    Connected,
    Data,
    Ended,
    Reveal,
)

HEAD_BYTES: Final = 5
_SLACK: Final = 64 * 1024  # what may be fed beyond one frame before somebody takes it out
TYPES: Final[Mapping[type[Message], int]] = {
    Hello: HELLO, Evidence: EVIDENCE, Fetch: FETCH, Progress: PROGRESS, Proof: PROOF, Error: ERROR,
    Observe: OBSERVE, Connected: CONNECTED, Data: DATA, Ended: ENDED, Close: CLOSE, Closed: CLOSED, Reveal: REVEAL,
}  # fmt: skip
_PARSERS: Final[Mapping[int, Callable[[bytes], Message]]] = {
    HELLO: Hello.parse, EVIDENCE: Evidence.parse, FETCH: Fetch.parse,
    PROGRESS: Progress.parse, PROOF: Proof.parse, ERROR: Error.parse,
    OBSERVE: Observe.parse, CONNECTED: Connected.parse, DATA: Data.parse, ENDED: Ended.parse,
    CLOSE: Close.parse, CLOSED: Closed.parse, REVEAL: Reveal.parse,
}  # fmt: skip


def encode(message: Message) -> bytes:
    """The frame of a message. ChannelError `size` for one beyond the limit of its type."""
    kind, body = TYPES[type(message)], message.to_body()
    if len(body) > LIMITS[kind]:
        raise ChannelError("size", f"a frame of type {kind} has at most {LIMITS[kind]} bytes")
    return bytes([kind]) + len(body).to_bytes(4, "big") + body


class FrameReader:
    """Bytes in any pieces to messages. Keeps at most one frame of an expected type and a little more."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def __len__(self) -> int:
        """How many bytes wait."""
        return len(self._buffer)

    def feed(self, data: bytes, expected: Collection[int]) -> None:
        """Take bytes. ChannelError `size` if more wait than frames of these types can have."""
        most = HEAD_BYTES + max((LIMITS[kind] for kind in expected), default=0) + _SLACK
        if len(self._buffer) + len(data) > most:
            raise ChannelError("size", f"more than {most} bytes came at once")
        self._buffer += data

    def next_message(self, expected: Collection[int]) -> Message | None:
        """The next message, None if more bytes must come. ChannelError, by the head alone where that says enough."""
        if len(self._buffer) < HEAD_BYTES:
            return None
        kind, size = self._buffer[0], int.from_bytes(self._buffer[1:HEAD_BYTES], "big")
        _check_head(kind, size, expected)
        if len(self._buffer) < HEAD_BYTES + size:
            return None
        body = bytes(memoryview(self._buffer)[HEAD_BYTES : HEAD_BYTES + size])
        del self._buffer[: HEAD_BYTES + size]
        return _PARSERS[kind](body)


def _check_head(kind: int, size: int, expected: Collection[int]) -> None:
    if kind in KEPT:
        raise ChannelError("unsupported", "this version does not have this type")
    if kind not in LIMITS:
        raise ChannelError("frame", "no frame has this type")
    if kind not in expected:
        raise ChannelError("order", f"a frame of type {kind} may not come now")
    if size > LIMITS[kind]:
        raise ChannelError("size", f"a frame of type {kind} has at most {LIMITS[kind]} bytes")
