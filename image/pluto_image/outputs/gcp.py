"""The archive that Google takes as an image: gzip of a tar with one member, disk.raw. Pure and deterministic.

Format: GNU tar manual, "Basic Tar Format" (old GNU magic); Google's "Import custom images": the disk's size is a whole
number of GiB.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from pluto_image.outputs.deflate import gzip
from pluto_measure.errors import FormatError

MEMBER: Final = "disk.raw"
_GIB: Final = 1 << 30
_BLOCK: Final = 512
_RECORD: Final = 20 * _BLOCK
_LARGEST_OCTAL: Final = 8**11


def archive(size: int, chunks: Iterable[tuple[int, bytes]], epoch: int) -> Iterator[bytes]:
    """The archive of a disk of `size` bytes given as (offset, bytes). `epoch`: its time, in seconds since 1970.

    FormatError for a size that is no whole number of GiB, and for chunks that are no such disk.
    """
    if size <= 0 or size % _GIB:
        raise FormatError("Google's archive", f"a disk of {size} bytes is no whole number of GiB")
    total = _BLOCK + size + 2 * _BLOCK
    total += -total % _RECORD

    def moved() -> Iterator[tuple[int, bytes]]:
        yield 0, header(size, epoch)
        for offset, data in chunks:
            if offset + len(data) > size:
                raise FormatError("Google's archive", "a chunk reaches beyond the disk", offset=offset)
            yield _BLOCK + offset, data

    yield from gzip(total, moved())


def header(size: int, epoch: int) -> bytes:
    """The member's header: mode 0644, owner 0 without a name."""
    # A number that eleven octal digits do not hold is written as 12 bytes, the first with its highest bit set.
    length = b"%011o\0" % size if size < _LARGEST_OCTAL else (1 << 95 | size).to_bytes(12, "big")
    fields = (
        MEMBER.encode().ljust(100, b"\0"),
        b"0000644\0",
        b"0000000\0" * 2,  # uid, gid
        length,
        b"%011o\0" % epoch,
        b" " * 8,  # checksum, counted as blanks
        b"0",  # regular file
        bytes(100),  # link name
        b"ustar  \0",
        bytes(32 + 32),  # owner names
        bytes(8 + 8 + 167),  # device numbers, GNU's own fields, padding
    )
    block = bytearray(b"".join(fields))
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)
