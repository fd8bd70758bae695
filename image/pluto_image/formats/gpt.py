"""A GUID partition table with one EFI system partition, and its protective MBR. Pure and deterministic.

Format: UEFI Specification 2.10 §5.2.3 (protective MBR), §5.3 (GPT). Sectors of 512 bytes.

    header, 92 bytes: "EFI PART" u32 revision, header_size, header_crc, reserved; u64 my_lba, alternate_lba,
                      first_usable, last_usable; guid disk; u64 entries_lba; u32 entries, entry_size, entries_crc
    entry, 128 bytes: guid type, partition; u64 first_lba, last_lba, attributes; char16 name[36]
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import Final
from uuid import UUID

from pluto_measure.errors import FormatError

SECTOR: Final = 512
ESP_TYPE: Final = UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
_ALIGNMENT: Final = 2048  # sectors: 1 MiB, as every partitioner does
_ENTRIES, _ENTRY_SIZE, _ENTRY_SECTORS = 128, 128, 32
_HEADER: Final = Struct("<8sIIII4Q16sQIII")
_ENTRY: Final = Struct("<16s16sQQQ72s")
_MBR_ENTRY: Final = Struct("<B3sB3sII")


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the partition lies. In sectors; `last` is the partition's own last sector."""

    total: int
    first: int
    last: int

    @property
    def offset(self) -> int:
        """The partition's place on the disk, in bytes."""
        return self.first * SECTOR

    @property
    def size(self) -> int:
        """The partition's size in bytes."""
        return (self.last - self.first + 1) * SECTOR


def layout(size: int) -> Layout:
    """The layout of a disk of `size` bytes: one partition over all whole MiB that the tables leave."""
    total, rest = divmod(size, SECTOR)
    end = (total - 1 - _ENTRY_SECTORS) // _ALIGNMENT * _ALIGNMENT
    if rest or end <= _ALIGNMENT:
        raise FormatError("GPT", f"a disk of {size} bytes is no whole number of sectors or too small")
    return Layout(total, _ALIGNMENT, end - 1)


def tables(where: Layout, disk: UUID, partition: UUID, name: str) -> Iterator[tuple[int, bytes]]:
    """(offset, bytes) of the tables: MBR, primary header and entries at the front, entries and header at the end."""
    label = name.encode("utf-16-le")
    if len(label) > 72:
        raise FormatError("GPT", f"partition name {name!r} is longer than 36 characters")
    entry = _ENTRY.pack(ESP_TYPE.bytes_le, partition.bytes_le, where.first, where.last, 0, label)
    entries = entry.ljust(_ENTRIES * _ENTRY_SIZE, b"\0")
    last = where.total - 1
    primary = _header(where, disk, entries, own=1, other=last, table=2)
    backup = _header(where, disk, entries, own=last, other=1, table=last - _ENTRY_SECTORS)
    yield 0, _protective_mbr(where.total) + primary + entries
    yield (last - _ENTRY_SECTORS) * SECTOR, entries + backup


def _header(where: Layout, disk: UUID, entries: bytes, *, own: int, other: int, table: int) -> bytes:
    usable = 2 + _ENTRY_SECTORS, where.total - 2 - _ENTRY_SECTORS

    def packed(checksum: int) -> bytes:
        fields = (b"EFI PART", 0x0001_0000, _HEADER.size, checksum, 0, own, other, *usable)
        return _HEADER.pack(*fields, disk.bytes_le, table, _ENTRIES, _ENTRY_SIZE, zlib.crc32(entries))

    return packed(zlib.crc32(packed(0))).ljust(SECTOR, b"\0")


def _protective_mbr(total: int) -> bytes:
    entry = _MBR_ENTRY.pack(0, b"\x00\x02\x00", 0xEE, b"\xff\xff\xff", 1, min(total - 1, 0xFFFFFFFF))
    return bytes(446) + entry + bytes(48) + b"\x55\xaa"
