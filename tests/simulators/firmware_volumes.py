"""Firmware volumes, files and sections, made field by field; and an image in the manner of OVMF. For tests alone."""

from __future__ import annotations

import lzma
import uuid
from collections.abc import Iterable

FFS2 = uuid.UUID("8c8ce578-8a3d-4f1c-9935-896185c32dd3").bytes_le
VARIABLES = uuid.UUID("fff12b8d-7696-4c8b-a985-2747075b4f50").bytes_le
LZMA = uuid.UUID("ee4e5898-3914-4259-9d6e-dc7bd79403cf").bytes_le
CRC32 = uuid.UUID("fc1bcdb0-7d31-49aa-936a-a4600d9dd083").bytes_le
PADDING_FILE, APPLICATION, DRIVER, VOLUME_FILE = 0xF0, 0x09, 0x07, 0x0B
_ONES, _ZEROS = 0x0004FEFF, 0x0004F6FF  # attributes of a volume that is erased to ones, to zeros


def section(kind: int, body: bytes, *, large: bool = False) -> bytes:
    """One section; `large` writes its size in the longer form."""
    if large:
        return b"\xff\xff\xff" + bytes([kind]) + (8 + len(body)).to_bytes(4, "little") + body
    return (4 + len(body)).to_bytes(3, "little") + bytes([kind]) + body


def sections(*parts: bytes) -> bytes:
    """Sections one after the other, each at a multiple of 4."""
    return b"".join(part + bytes(-len(part) % 4) for part in parts[:-1]) + b"".join(parts[-1:])


def named(name: str) -> bytes:
    """The user interface section."""
    return section(0x15, f"{name}\0".encode("utf-16-le"))


def guided(guid: bytes, body: bytes, *, attributes: int = 1, skipped: bytes = b"") -> bytes:
    """A GUIDed section, with `skipped` between its header and the data."""
    head = guid + (24 + len(skipped)).to_bytes(2, "little") + attributes.to_bytes(2, "little")
    return section(0x02, head + skipped + body)


def packed(body: bytes, **options: int) -> bytes:
    """A GUIDed section of LZMA."""
    filters = [{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 16, **options}]
    return guided(LZMA, lzma.compress(body, lzma.FORMAT_ALONE, filters=filters))


def file(guid: bytes, content: bytes, *, kind: int = DRIVER, large: bool = False, state: int = 0xF8) -> bytes:
    """One file with the checksum of its header; `large` writes its size in the longer form."""
    length = 24 + 8 * large + len(content)
    head = bytearray(guid + b"\0\xaa" + bytes([kind, int(large)]))
    head += (0 if large else length).to_bytes(3, "little") + bytes([state])
    head += length.to_bytes(8, "little") if large else b""
    head[16] = -(sum(head) - head[17] - head[23]) & 0xFF
    return bytes(head) + content


def volume(
    files: Iterable[bytes],
    *,
    name: bytes | None = None,
    file_system: bytes = FFS2,
    free: int = 64,
    erased: int = 0xFF,
    length: int | None = None,
) -> bytes:
    """A volume with `free` erased bytes behind its files. With a name, the extended header lies in a padding file."""
    body = b""
    extended = 0
    if name is not None:
        body = file(b"\xff" * 16, name + (20).to_bytes(4, "little"), kind=PADDING_FILE)
        extended = 72 + 24
    for content in files:
        body += bytes([erased]) * (-len(body) % 8) + content
    body += bytes([erased]) * (-len(body) % 8 + free)
    header = bytearray(16) + file_system + (72 + len(body) if length is None else length).to_bytes(8, "little")
    header += b"_FVH" + (_ONES if erased else _ZEROS).to_bytes(4, "little") + (72).to_bytes(2, "little") + b"\0\0"
    header += extended.to_bytes(2, "little") + b"\0\2" + bytes.fromhex("0100000000100000") + bytes(8)
    total = sum(int.from_bytes(header[at : at + 2], "little") for at in range(0, len(header), 2))
    header[50:52] = (-total & 0xFFFF).to_bytes(2, "little")
    return bytes(header) + body


def ovmf(
    dxe: Iterable[bytes],
    *,
    not_in_td: Iterable[bytes] = (),
    pei: Iterable[bytes] = (),
    sec: bytes = b"",
    dxe_name: bytes = uuid.UUID("7cb8bdc9-f8eb-4f34-aaea-3ee4af6516a1").bytes_le,
    not_in_td_name: bytes = uuid.UUID("ae047c6d-bce9-426c-ae03-a68e3b8a0488").bytes_le,
) -> bytes:
    """Variables, the packed volumes, and the volume of the first code, `sec` in it as it is."""
    inside = [section(0x17, volume(pei, name=b"P" * 16)), section(0x17, volume(dxe, name=dxe_name))]
    inside.append(section(0x17, volume(not_in_td, name=not_in_td_name)))
    compact = volume([file(b"F" * 16, packed(sections(*inside)), kind=VOLUME_FILE)], name=b"C" * 16, free=4096)
    last = volume([file(b"S" * 16, section(0x10, sec), kind=0x03)], name=b"Z" * 16)
    variables = volume([], file_system=VARIABLES, free=4096 - 72)
    return variables + compact + last
