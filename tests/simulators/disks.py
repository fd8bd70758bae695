"""The first sectors of a disk with a GPT, made field by field. For tests alone."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

ESP = bytes.fromhex("28732ac11ff8d211ba4b00a0c93ec93b")


def partition(number: int = 1, first: int = 2048, last: int = 4095, name: str = "ESP", kind: bytes = ESP) -> bytes:
    """One entry of 128 bytes."""
    head = struct.pack("<16s16sQQQ", kind, bytes([number]) * 16, first, last, 0)
    return head + name.encode("utf-16-le").ljust(72, b"\0")


def head(
    entries: Sequence[bytes] = (partition(),),
    *,
    alternate: int = 8191,
    count: int = 128,
    entry_size: int = 128,
    **fields: int,
) -> bytes:
    """Protective MBR, header, entries. `fields` override: revision, size, my_lba, reserved, entries_lba."""
    table = b"".join(entry.ljust(entry_size, b"\0") for entry in entries).ljust(count * entry_size, b"\0")

    def header(crc: int) -> bytes:
        return struct.pack(
            "<8sIIIIQQQQ16sQIII",
            b"EFI PART",
            fields.get("revision", 0x00010000),
            fields.get("size", 92),
            crc,
            fields.get("reserved", 0),
            fields.get("my_lba", 1),
            alternate,
            34,
            alternate - 33,
            b"\xd1" * 16,
            fields.get("entries_lba", 2),
            count,
            entry_size,
            zlib.crc32(table),
        )

    signed = header(0).ljust(512, b"\0")[: min(fields.get("size", 92), 512)]
    return bytes(510) + b"\x55\xaa" + header(zlib.crc32(signed)).ljust(512, b"\0") + table
