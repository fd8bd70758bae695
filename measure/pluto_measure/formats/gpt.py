"""GUID partition tables: the primary table of a disk, and the bytes that firmware measures of it.

Formats: UEFI 2.10 section 5.3 (header and entries); TCG PC Client Platform Firmware Profile, UEFI_GPT_DATA.

    Header  "EFI PART", u32 revision 0x00010000, u32 size, u32 crc, u32 0, u64 my_lba, u64 alternate_lba,
            u64 first_usable, u64 last_usable, GUID disk, u64 entries_lba, u32 entries, u32 entry_size, u32 entries_crc
    Entry   GUID type, GUID unique, u64 first_lba, u64 last_lba, u64 attributes, char16 name[36]
    UEFI_GPT_DATA  Header (92 bytes), u64 number of used entries, the used entries in table order
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Final

from pluto_measure.errors import FormatError
from pluto_measure.formats.reader import Reader

SECTOR: Final = 512
_WHAT: Final = "GPT"
_HEADER_SIZE: Final = 92
_CRC_AT: Final = 16
_MOST_TABLE: Final = 1024 * 1024  # bytes of all entries


@dataclass(frozen=True, slots=True)
class Partition:
    """A used entry. LBAs count 512-byte sectors; `last_lba` is inside. GUIDs as they lie on disk, 16 bytes."""

    type_guid: bytes
    unique_guid: bytes
    first_lba: int
    last_lba: int
    attributes: int
    name: str
    raw: bytes  # the whole entry


@dataclass(frozen=True, slots=True)
class Table:
    """A primary partition table whose checksums hold."""

    header: bytes  # the 92 bytes that are measured
    disk_guid: bytes
    alternate_lba: int
    first_usable: int
    last_usable: int
    partitions: tuple[Partition, ...]


def parse(disk_head: bytes) -> Table:
    """The primary table, from the first bytes of a disk up to the end of the entries. FormatError."""
    r = Reader(disk_head, what=_WHAT)
    r.take(SECTOR, "protective MBR")
    r = r.sub(SECTOR, "header")
    raw = disk_head[SECTOR : 2 * SECTOR]
    if r.take(8, "signature") != b"EFI PART":
        raise r.error("signature is not EFI PART")
    if (revision := r.uint(4, "revision")) != 0x00010000:
        raise r.error(f"revision {revision:#x} is not known")
    size, crc = r.uint(4, "header size"), r.uint(4, "header checksum")
    if not _HEADER_SIZE <= size <= SECTOR:
        raise r.error(f"header size {size} is not between {_HEADER_SIZE} and {SECTOR}")
    if zlib.crc32(raw[:_CRC_AT] + bytes(4) + raw[_CRC_AT + 4 : size]) != crc:
        raise r.error("header checksum does not hold")
    if r.uint(4, "reserved") != 0:
        raise r.error("reserved bytes are not zero")
    if (my_lba := r.uint(8, "MyLBA")) != 1:
        raise r.error(f"MyLBA is {my_lba}, not 1: this is not the primary table")
    alternate, first, last = r.uint(8, "AlternateLBA"), r.uint(8, "FirstUsableLBA"), r.uint(8, "LastUsableLBA")
    disk_guid = r.take(16, "disk GUID")
    partitions = _partitions(disk_head, r)
    return Table(raw[:_HEADER_SIZE], disk_guid, alternate, first, last, partitions)


def event_data(disk_head: bytes) -> bytes:
    """UEFI_GPT_DATA: the bytes whose digest EV_EFI_GPT_EVENT extends into PCR 5. FormatError."""
    table = parse(disk_head)
    count = len(table.partitions).to_bytes(8, "little")
    return table.header + count + b"".join(partition.raw for partition in table.partitions)


def _partitions(disk_head: bytes, r: Reader) -> tuple[Partition, ...]:
    lba, count, size = r.uint(8, "PartitionEntryLBA"), r.uint(4, "NumberOfPartitionEntries"), r.uint(4, "entry size")
    crc = r.uint(4, "entries checksum")
    if size < 128 or size & (size - 1):
        raise r.error(f"entry size {size} is not 128 times a power of two")
    if lba < 2 or count * size > _MOST_TABLE:
        raise r.error(f"{count} entries of {size} bytes at sector {lba} make no table")
    start, end = lba * SECTOR, lba * SECTOR + count * size
    if end > len(disk_head):
        raise FormatError(_WHAT, f"entries end at {end:#x}, beyond {len(disk_head):#x} bytes given", offset=start)
    table = disk_head[start:end]
    if zlib.crc32(table) != crc:
        raise FormatError(_WHAT, "entries checksum does not hold", offset=start)
    entries = [(start + at, table[at : at + size]) for at in range(0, len(table), size)]
    return tuple(_partition(Reader(raw, what=_WHAT, base=at), raw) for at, raw in entries if any(raw[:16]))


def _partition(r: Reader, raw: bytes) -> Partition:
    type_guid, unique_guid = r.take(16, "type GUID"), r.take(16, "unique GUID")
    first, last, attributes = r.uint(8, "StartingLBA"), r.uint(8, "EndingLBA"), r.uint(8, "attributes")
    if first > last:
        raise r.error(f"partition begins at sector {first} and ends at {last}")
    try:
        name = r.take(72, "name").decode("utf-16-le").partition("\0")[0]
    except UnicodeDecodeError as error:
        raise r.error("partition name is not UTF-16") from error
    return Partition(type_guid, unique_guid, first, last, attributes, name, raw)
