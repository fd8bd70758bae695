"""What differs between two gcp.tar.gz: the gzip header, the tar header, or the disk inside. Pure.

Format: RFC 1952 (gzip); the archive holds one member, disk.raw. A GiB of zeros is unpacked without keeping any.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

from pluto_image.rebuild.compare import same, spans
from pluto_image.rebuild.explain.difference import Difference, sized
from pluto_image.rebuild.explain.disk import disk_inside
from pluto_image.rebuild.explain.fields import Layout, stretch
from pluto_image.rebuild.explain.known import Known
from pluto_image.rebuild.explain.tar import BLOCK, HEADER
from pluto_image.rebuild.view import View
from pluto_measure.errors import FormatError

_GZIP: Final = Layout.of("ID:2:hex CM:1 FLG:1 MTIME:4 XFL:1 OS:1")
_FED: Final = 1 << 14  # compressed bytes at once: what is not taken of them is copied, and a GiB has thousands of steps
_ZEROS: Final = bytes(1 << 18)
_MOST_KEPT: Final = 512 * 1024 * 1024  # bytes that are not zero


def archive_differences(
    file: str, published: bytes, rebuilt: bytes, known: Known, disk: View | None = None
) -> Iterator[Difference]:
    """By header, then by content; where both unpack to the same bytes, the compressed ones.

    `disk`: the rebuilt disk.raw, which is what the rebuilt archive holds; without it that is unpacked too.
    """
    heads = published[: _GZIP.size], rebuilt[: _GZIP.size]
    yield from _GZIP.differences(*heads, file=file, place="gzip header", meaning="another field of the gzip header")
    if published[_GZIP.size :] == rebuilt[_GZIP.size :]:
        return
    try:
        one, two = inflated(published, file), inflated(rebuilt, file) if disk is None else _around(rebuilt, disk)
    except FormatError as error:
        yield Difference(file, "", *stretch(published, rebuilt), f"is no archive that a build writes: {error.problem}")
        return
    if same(one, two):
        meaning = "the same archive in other compressed bytes: another writer made them"
        yield Difference(file, "", *stretch(published, rebuilt), meaning)
        return
    if one.size != two.size:
        yield Difference(file, "unpacked", sized(one.size), sized(two.size), "another size of the archive")
    headers = one.read(0, BLOCK), two.read(0, BLOCK)
    yield from HEADER.differences(*headers, file=file, place="tar header", meaning="another field of the tar header")
    size = int(headers[1][124:135] or b"0", 8)
    disks = one.part(BLOCK, size), two.part(BLOCK, size)
    if not same(*disks):
        yield from disk_inside(file, "disk.raw", *disks, known)
    begin = BLOCK + size
    end = one.part(begin, one.size - begin), two.part(begin, two.size - begin)
    if one.size == two.size and not same(*end):
        at = spans(*end).first or 0
        shown = stretch(end[0].read(at, BLOCK), end[1].read(at, BLOCK))
        yield Difference(file, "behind disk.raw", *shown, "bytes that no build writes")


def inflated(data: bytes, what: str, *, most: int = 1 << 33) -> View:
    """The unpacked content, of which only what is not zero is kept. `most` in bytes. FormatError."""
    chunks: list[tuple[int, bytes]] = []
    size = kept = 0
    for chunk in _pieces(data, what):
        if chunk != _ZEROS[: len(chunk)]:
            chunks.append((size, chunk))
            kept += len(chunk)
        size += len(chunk)
        if kept > _MOST_KEPT or size > most:
            raise FormatError(what, f"unpacks to more than {most} bytes, or more than {_MOST_KEPT} that are not zero")
    return View.sparse(size, chunks)


def _around(archive: bytes, disk: View) -> View:
    """What our own archive of a disk unpacks to, without unpacking it all: a header, the disk, zeros."""
    header = zlib.decompressobj(wbits=31).decompress(archive[:_FED], BLOCK)
    inside = ((BLOCK + begin, disk.fetch(begin, end - begin)) for begin, end in disk.extents)
    return View.sparse(int.from_bytes(archive[-4:], "little"), [(0, header), *inside])


def _pieces(data: bytes, what: str) -> Iterator[bytes]:
    decoder = zlib.decompressobj(wbits=31)
    for at in range(0, len(data), _FED):
        fed = data[at : at + _FED]
        while fed or decoder.unconsumed_tail:
            if decoder.eof:
                raise FormatError(what, "bytes follow the gzip data")
            try:
                piece = decoder.decompress(fed or decoder.unconsumed_tail, len(_ZEROS))
            except zlib.error as error:
                raise FormatError(what, f"not gzip: {error}") from error
            fed = b""
            if piece:
                yield piece
    if not decoder.eof or decoder.unused_data:
        raise FormatError(what, "gzip data ends too early, or bytes follow it")
