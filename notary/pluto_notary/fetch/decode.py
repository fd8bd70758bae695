"""Codings of a body taken off piece by piece: gzip, deflate, br, and at most two of them in a row. Pure.

Nothing decodes into more than the limit, however small the coded bytes are; an end that comes early, a checksum that
does not hold and bytes after the end are errors. Sources: RFC 9110, section 8.4.1; RFC 1950, 1951, 1952; RFC 7932.
"""

from __future__ import annotations

import io
import zlib

import brotli

from pluto_notary.fetch.errors import TargetError
from pluto_notary.fetch.limits import FetchLimits
from pluto_notary.web import Headers

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Final, Protocol

    class Decoder(Protocol):
        """One coding. Raises TargetError (http)."""

        def feed(self, data: bytes) -> Iterator[bytes]:
            """The next pieces of decoded bytes, each of a bounded size."""

        def end(self) -> Iterator[bytes]:
            """The coded bytes are over: what was still to come."""


CODINGS: Final = ("br", "deflate", "gzip", "identity", "x-gzip")
MOST_CODINGS: Final = 2

_PIECE: Final = 64 * 1024
_BR_LIMITS: Final = hasattr(brotli.Decompressor, "can_accept_more_data")  # since 1.2.0
# Without that, one call decodes all that it is given. A meta-block has at most 16 MiB (RFC 7932, section 9.2) and needs
# more than half of these bytes, so that at most two of them come at once.
_BR_INPUT: Final = _PIECE if _BR_LIMITS else 16


def codings(headers: Headers) -> tuple[str, ...]:
    """The codings of a body in the order in which they were applied. Raises TargetError (http)."""
    listed = ",".join(value for name, value in headers if name == "content-encoding")
    names = tuple(text for item in listed.split(",") if (text := item.strip(" \t").lower()))
    if not set(names) <= set(CODINGS):
        raise TargetError("http", "the answer's body has a coding that was not asked for")
    names = tuple(name.removeprefix("x-") for name in names if name != "identity")
    if len(names) > MOST_CODINGS:
        raise TargetError("http", "the answer's body has too many codings")
    return names


class Body:
    """Collects a body. `feed` takes coded bytes, `end` gives the decoded ones. Raises TargetError (http, size)."""

    def __init__(self, names: tuple[str, ...], limits: FetchLimits, *, length: int | None = None) -> None:
        self._decoders: list[Decoder] = [_DECODERS[name]() for name in reversed(names)]
        self._limits, self._length = limits, length
        self._coded = self._pieces = 0
        self._decoded = io.BytesIO()

    def count_piece(self) -> None:
        """Another chunk or frame begins: too many tiny ones are refused."""
        self._pieces += 1
        if self._pieces > self._limits.pieces_for(self._coded):
            raise TargetError("http", "the answer's body comes in too many pieces")

    def feed(self, data: bytes) -> None:
        """Take coded bytes, cut anywhere."""
        self._coded += len(data)
        if self._coded > self._limits.body_bytes:
            raise TargetError("size", "the answer's body is too large")
        self._through(0, data)

    def end(self) -> bytes:
        """The whole body. Nothing is copied: the bytes are the buffer's own."""
        if self._length not in (None, self._coded):
            raise TargetError("http", "the answer's body has not the length that its head says")
        for stage, decoder in enumerate(self._decoders):
            for piece in decoder.end():
                self._through(stage + 1, piece)
        return self._decoded.getvalue()

    def _through(self, stage: int, data: bytes) -> None:
        if stage < len(self._decoders):
            for piece in self._decoders[stage].feed(data):
                self._through(stage + 1, piece)
            return
        if self._decoded.tell() + len(data) > self._limits.body_bytes:
            raise TargetError("size", "the answer's body is too large when decoded")
        self._decoded.write(data)


class _Zlib:
    """RFC 1950, 1951 or 1952, as `window_bits` says (see zlib's inflateInit2); one member, and nothing after it."""

    def __init__(self, window_bits: int) -> None:
        self._zlib = zlib.decompressobj(window_bits)

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._zlib.eof:
                raise _broken("bytes follow the end of the coded body")
            piece = self._decode(data)
            yield piece
            data = self._zlib.unconsumed_tail or self._zlib.unused_data
            while not data and len(piece) == _PIECE and not self._zlib.eof:  # zlib may hold more than it gave
                piece = self._decode(b"")
                yield piece

    def end(self) -> Iterator[bytes]:
        if not self._zlib.eof:
            raise _broken("the coded body is cut short")
        yield b""

    def _decode(self, data: bytes) -> bytes:
        try:
            return self._zlib.decompress(data, _PIECE)
        except zlib.error as error:
            raise _broken("the coded body is broken") from error


class _Deflate:
    """deflate as it is met: with zlib's header, as it should be, or bare. Both differ in their first two bytes."""

    def __init__(self) -> None:
        self._start = b""
        self._inner: _Zlib | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        if self._inner is None:
            data = self._start + data
            if len(data) < 2:
                self._start = data
                return
            # RFC 1950, section 2.2: method 8, a window of at most 32 KiB, a multiple of 31.
            wrapped = data[0] & 0x0F == 8 and data[0] >> 4 <= 7 and int.from_bytes(data[:2], "big") % 31 == 0
            self._inner = _Zlib(zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS)
        yield from self._inner.feed(data)

    def end(self) -> Iterator[bytes]:
        if self._inner is None:  # the shortest of either form has two bytes
            raise _broken("the coded body is cut short")
        yield from self._inner.end()


class _Brotli:
    """RFC 7932. The last byte is held back: where a stream ends before it, bytes follow that are not its own."""

    def __init__(self) -> None:
        self._brotli = brotli.Decompressor()
        self._held = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        data = self._held + data
        data, self._held = data[:-1], data[-1:]
        for at in range(0, len(data), _BR_INPUT):
            yield from self._decode(data[at : at + _BR_INPUT])
            if self._brotli.is_finished():
                raise _broken("bytes follow the end of the coded body")

    def end(self) -> Iterator[bytes]:
        yield from self._decode(self._held)
        if not self._brotli.is_finished():
            raise _broken("the coded body is cut short")

    def _decode(self, data: bytes) -> Iterator[bytes]:
        try:
            if not _BR_LIMITS:
                yield self._brotli.process(data)
                return
            yield self._brotli.process(data, output_buffer_limit=_PIECE)
            while not self._brotli.can_accept_more_data():
                yield self._brotli.process(b"", output_buffer_limit=_PIECE)
        except brotli.error as error:
            raise _broken("the coded body is broken") from error


def _broken(problem: str) -> TargetError:
    return TargetError("http", problem)


_DECODERS: Final[dict[str, Callable[[], Decoder]]] = {
    "gzip": lambda: _Zlib(zlib.MAX_WBITS | 16),
    "deflate": _Deflate,
    "br": _Brotli,
}
