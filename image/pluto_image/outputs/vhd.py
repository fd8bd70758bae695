"""A fixed VHD, which Azure takes: the raw disk and a footer of 512 bytes. Pure and deterministic.

Format: Microsoft "Virtual Hard Disk Image Format Specification" (2006), "Hard Disk Footer Format", "CHS Calculation".
All integers are big-endian. Time stamp and unique id are zero: a build knows no time, and an id that followed from the
disk would say nothing that its digest does not. The creator is given as Hyper-V ("win "), because readers such as QEMU
go by it: of creators that they do not know they take the size from the geometry, which is less than the disk has.

    "conectix" u32 features, version; u64 data_offset; u32 time, creator, creator_version, creator_os
    u64 original_size, current_size; u16 cylinders; u8 heads, sectors; u32 type, checksum; uuid id; u8 saved_state
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from struct import Struct
from typing import Final

from pluto_measure.errors import FormatError

SIZE: Final = 512  # bytes of the footer
_MIB: Final = 1 << 20
_SMALLEST: Final = 20 * _MIB
_SECTOR: Final = 512
_FOOTER: Final = Struct(">8sIIQI4sI4sQQHBBII16sB")
_FIXED: Final = 2
_CHECKSUM: Final = slice(64, 68)


def footer(size: int) -> bytes:
    """The footer of a disk of `size` bytes. FormatError unless it is 20 MiB or more, in whole MiB, as Azure demands."""
    if size < _SMALLEST or size % _MIB:
        raise FormatError("VHD", f"a disk of {size} bytes is no whole number of MiB, or less than 20")
    features, version, no_offset = 2, 0x0001_0000, (1 << 64) - 1
    head = (b"conectix", features, version, no_offset, 0, b"win ", version, b"Wi2k", size, size)
    packed = bytearray(_FOOTER.pack(*head, *geometry(size), _FIXED, 0, bytes(16), 0).ljust(SIZE, b"\0"))
    packed[_CHECKSUM] = (~sum(packed) & 0xFFFF_FFFF).to_bytes(4, "big")
    return bytes(packed)


def geometry(size: int) -> tuple[int, int, int]:
    """Cylinders, heads and sectors per track of a disk of `size` bytes, by the specification's appendix."""
    total = min(size // _SECTOR, 65535 * 16 * 255)
    if total >= 65535 * 16 * 63:
        return total // 255 // 16, 16, 255
    sectors = 17
    cylinder_heads = total // sectors
    heads = max((cylinder_heads + 1023) // 1024, 4)
    if cylinder_heads >= heads * 1024 or heads > 16:
        sectors, heads = 31, 16
        cylinder_heads = total // sectors
    if cylinder_heads >= heads * 1024:
        sectors, heads = 63, 16
        cylinder_heads = total // sectors
    return cylinder_heads // heads, heads, sectors


def fixed(size: int, chunks: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """The VHD of a disk that is given as (offset, bytes): its chunks, then the footer at `size`. FormatError."""
    end = footer(size)
    for offset, data in chunks:
        if offset + len(data) > size:
            raise FormatError("VHD", "a chunk reaches beyond the disk", offset=offset)
        yield offset, data
    yield size, end
