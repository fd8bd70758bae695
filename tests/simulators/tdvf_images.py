"""TDVF images, made field by field: the content is noise, the metadata is as asked for. For tests alone."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

SIZE = 256 * 1024
CFV_SIZE = 0x8000
BFV, CFV, TD_HOB, TEMP_MEM, PERM_MEM, PAYLOAD, PAYLOAD_PARAM, TD_INFO = range(8)

DESCRIPTOR_BACK = 0x800  # the descriptor begins so many bytes before the end
_END = 32  # bytes behind the table of GUIDs: the reset vector
_FOOTER = "96b582de-1fb2-45f7-baea-a366c55a082d"
_TDX = "e47a6535-984a-4798-865e-4685a7bf8ec2"
_TD_SHIM = "e9eaf9f3-168e-44d5-a8eb-7f4d8738f6ae"
SEV_ES = ("00f771de-1a7e-4fcb-890e-68c77e2fb44e", bytes.fromhex("0410fc00"))
SEV_SECRET = ("4c2eb361-7d9b-4cc3-8081-127c90d3d294", bytes.fromhex("00bc00000004000000"))
EMPTY = ("7255371f-3a3b-4b04-927b-1da6efa8d454", b"")


class Entry(NamedTuple):
    """One section of the metadata, its fields in their order."""

    data_offset: int
    raw_size: int
    address: int
    memory_size: int
    type: int
    attributes: int

    def encode(self) -> bytes:
        widths = (4, 4, 8, 8, 4, 4)
        return b"".join(value.to_bytes(width, "little") for value, width in zip(self, widths, strict=True))


def temporary(address: int, size: int, kind: int = TEMP_MEM) -> Entry:
    """Memory without content."""
    return Entry(0, 0, address, size, kind, 0)


def ovmf(size: int = SIZE, cfv: int = CFV_SIZE, mailbox: int = 0x811000) -> tuple[Entry, ...]:
    """The sections of an OVMF of `size` bytes that ends at 4 GiB, in its order; `mailbox` differs by build."""
    base = (4 << 30) - size
    return (
        Entry(cfv, size - cfv, base + cfv, size - cfv, BFV, 1),
        Entry(0, cfv, base, cfv, CFV, 0),
        temporary(mailbox, 0x820000 - mailbox),
        temporary(0x80B000, 0x2000),
        temporary(0x809000, 0x2000, TD_HOB),
        temporary(0x800000, 0x6000),
    )


@cache
def noise(size: int, seed: str = "") -> bytes:
    """Bytes that do not repeat, the same ones each time."""
    return hashlib.shake_128(f"firmware {seed}".encode()).digest(size)


def descriptor(
    entries: Iterable[Entry],
    *,
    signature: bytes = b"TDVF",
    length: int | None = None,
    version: int = 1,
    count: int | None = None,
) -> bytes:
    """The metadata; what is given replaces what the sections make of it."""
    encoded = [entry.encode() for entry in entries]
    numbers = (16 + 32 * len(encoded) if length is None else length, version, len(encoded) if count is None else count)
    return signature + b"".join(number.to_bytes(4, "little") for number in numbers) + b"".join(encoded)


def table_entry(guid: str, data: bytes, length: int | None = None) -> bytes:
    """One entry of the table of GUIDs."""
    size = len(data) + 18 if length is None else length
    return data + size.to_bytes(2, "little") + uuid.UUID(guid).bytes_le


def tdx_entry(back: int = DESCRIPTOR_BACK) -> tuple[str, bytes]:
    """The entry that says how far from the end the descriptor begins."""
    return _TDX, back.to_bytes(4, "little")


def table(entries: Iterable[tuple[str, bytes]], *, length: int | None = None) -> bytes:
    """The table of GUIDs with its footer, whose length counts the whole table."""
    body = b"".join(table_entry(guid, data) for guid, data in entries)
    return body + table_entry(_FOOTER, b"", len(body) + 18 if length is None else length)


def laid(content: bytes, parts: Iterable[tuple[int, bytes]]) -> bytes:
    """`content` with each part at its offset; a negative one counts from the end."""
    data = bytearray(content)
    for at, part in parts:
        start = at % len(data)
        assert start + len(part) <= len(data)
        data[start : start + len(part)] = part
    return bytes(data)


def with_table(content: bytes, metadata: bytes, entries: bytes, back: int = DESCRIPTOR_BACK) -> bytes:
    """An image with this metadata and this table of GUIDs."""
    return laid(content, [(-back, metadata), (-_END - len(entries), entries)])


def image(
    entries: Iterable[Entry] | None = None,
    *,
    size: int = SIZE,
    seed: str = "",
    before: Iterable[tuple[str, bytes]] = (SEV_ES, EMPTY),
    behind: Iterable[tuple[str, bytes]] = (SEV_SECRET,),
) -> bytes:
    """An image in the manner of OVMF; other entries stand `before` and `behind` the one for TDX in its table."""
    sections = ovmf(size) if entries is None else entries
    return with_table(noise(size, seed), descriptor(sections), table([*before, tdx_entry(), *behind]))


def large() -> bytes:
    """An image of 4 MiB with the sections of Debian's and Ubuntu's OVMF."""
    size = 4 << 20
    return image(ovmf(size, 0x84000), size=size)


def td_shim(entries: Iterable[Entry] | None = None, *, size: int = SIZE, at: int | None = None) -> bytes:
    """An image in the older form: no table, but the offset of the descriptor, a GUID in front of it."""
    start = size - DESCRIPTOR_BACK
    metadata = uuid.UUID(_TD_SHIM).bytes_le + descriptor(ovmf(size) if entries is None else entries)
    pointer = (start if at is None else at).to_bytes(4, "little")
    return laid(noise(size), [(start - 16, metadata), (-_END, pointer)])


def code_alone(firmware: bytes, variables: int = CFV_SIZE) -> bytes:
    """OVMF_CODE.fd of a combined image: without its variable store, the metadata unchanged."""
    return firmware[variables:]
