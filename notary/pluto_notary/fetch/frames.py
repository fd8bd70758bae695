"""HTTP/2 frames as a site may send them to a client with one stream: whole, small, and of each kind few. Pure.

Stands before h2, so that the bounds do not depend on its version. RFC 9113, section 4.1:

    struct { u24 length; u8 type; u8 flags; u1 reserved; u31 stream; u8 payload[length]; } Frame;
"""

from __future__ import annotations

from pluto_measure.record import record
from pluto_notary.fetch.errors import TargetError

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Final

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)

LONGEST: Final = 16 * 1024  # RFC 9113, section 6.5.2: the initial SETTINGS_MAX_FRAME_SIZE, which we do not change
# How many of a kind one answer may come with. DATA is bounded with the body; kinds that are not here share UNKNOWN.
MOST: Final = {
    HEADERS: 16,  # interim answers, the answer, trailers
    PRIORITY: 16,
    RST_STREAM: 2,
    SETTINGS: 16,
    PUSH_PROMISE: 0,  # switched off in our settings
    PING: 16,
    GOAWAY: 2,
    WINDOW_UPDATE: 4096,
    CONTINUATION: 8,
}
UNKNOWN: Final = 64

_HEAD: Final = 9


@record
class Frame:
    """One frame: what it is, and its bytes with their head."""

    kind: int
    stream: int
    raw: bytes

    @property
    def payload(self) -> bytes:
        return self.raw[_HEAD:]


class FrameReader:
    """Cuts bytes into frames. Raises TargetError (http) for one that is too long, or too many of one kind."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._left = dict(MOST)
        self._unknown = UNKNOWN

    def feed(self, data: bytes) -> None:
        """Take bytes of the site; next_frame() cuts them."""
        self._buffer += data

    def next_frame(self) -> Frame | None:
        """The next frame; None if more bytes must come first."""
        if len(self._buffer) < _HEAD:
            return None
        size, kind = int.from_bytes(self._buffer[:3], "big"), self._buffer[3]
        if size > LONGEST:
            raise TargetError("http", "the answer has a frame that is too long")
        if len(self._buffer) < _HEAD + size:
            return None
        raw = bytes(self._buffer[: _HEAD + size])
        del self._buffer[: _HEAD + size]
        self._count(kind)
        return Frame(kind, int.from_bytes(raw[5:9], "big") & 0x7FFF_FFFF, raw)

    def _count(self, kind: int) -> None:
        if kind == DATA:
            return
        if kind in self._left:
            self._left[kind] -= 1
        else:
            self._unknown -= 1
        if self._left.get(kind, self._unknown) < 0:
            raise TargetError("http", "the answer has too many frames of one kind")
