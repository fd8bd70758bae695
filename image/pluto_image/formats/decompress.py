"""Decompression of hostile streams in bounded steps: the caller counts what comes out and stops when it is too much."""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Iterator
from typing import Final

from pluto_measure.errors import FormatError

_CHUNK: Final = 1 << 18  # decompressed bytes per step: large enough for speed, small beside one package
_LZMA_MEMORY: Final = 256 << 20  # what xz -9 needs, several times over; without it a header asks for gigabytes
_ZSTD_WINDOW: Final = 128 << 20
_ZSTD_STEP: Final = 256  # compressed bytes: 3 of them can stand for a block of 128 KiB, and output has no other bound


def decompressed(data: bytes, compression: str, what: str) -> Iterator[bytes]:
    """The content in chunks. FormatError for a damaged stream or bytes after it."""
    match compression:
        case "":
            return (data[at : at + _CHUNK] for at in range(0, len(data), _CHUNK))
        case "xz":
            return _xz(data, what)
        case "gz":
            return _gzip(data, what)
        case "zst":
            return _zstd(data, what)
        case _:
            raise FormatError(what, f"compression {compression!r} is not known")


def _xz(data: bytes, what: str) -> Iterator[bytes]:
    decoder, fed = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_LZMA_MEMORY), data
    while not decoder.eof:
        try:
            chunk = decoder.decompress(fed, _CHUNK)
        except (lzma.LZMAError, MemoryError) as error:
            raise FormatError(what, f"not xz: {error}") from error
        fed = b""
        if chunk:
            yield chunk
        elif decoder.needs_input and not decoder.eof:
            raise FormatError(what, "xz data ends too early")
    if decoder.unused_data:
        raise FormatError(what, "bytes follow the xz data")


def _gzip(data: bytes, what: str) -> Iterator[bytes]:
    decoder, fed = zlib.decompressobj(wbits=31), data
    while not decoder.eof:
        try:
            chunk = decoder.decompress(fed, _CHUNK)
        except zlib.error as error:
            raise FormatError(what, f"not gzip: {error}") from error
        fed = decoder.unconsumed_tail
        if chunk:
            yield chunk
        elif not fed and not decoder.eof:
            raise FormatError(what, "gzip data ends too early")
    if decoder.unused_data:
        raise FormatError(what, "bytes follow the gzip data")


def _zstd(data: bytes, what: str) -> Iterator[bytes]:
    import zstandard  # here, since Debian's own packages do not need it

    decoder = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()
    for at in range(0, len(data), _ZSTD_STEP):
        try:
            chunk = decoder.decompress(data[at : at + _ZSTD_STEP])
        except zstandard.ZstdError as error:
            raise FormatError(what, f"not zstd: {error}") from error
        if chunk:
            yield chunk
    if not decoder.eof or decoder.unused_data:
        raise FormatError(what, "zstd data ends too early, or bytes follow it")
