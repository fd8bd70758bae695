"""Small PE images, made field by field. For tests alone."""

from __future__ import annotations

import struct
from collections.abc import Sequence

HEADERS = 0x400
CHECKSUM_AT = 64 + 24 + 64
CERTIFICATE_ENTRY_AT = 64 + 24 + 112 + 4 * 8


def image(
    sections: Sequence[tuple[str, bytes]] = ((".text", b"\xc3" * 16), (".data", b"data")),
    *,
    certificates: bytes = b"",
    checksum: int = 0,
    trailing: bytes = b"",
) -> bytes:
    """A PE32+ image: headers of 1 KiB, each section on 512 bytes, then what trails, then the certificates."""
    table, body, at = b"", b"", HEADERS
    for number, (name, content) in enumerate(sections):
        raw = content + bytes(-len(content) % 512)
        address = 0x1000 * (number + 1)
        table += struct.pack("<8sIIIIIIHHI", name.encode(), len(content), address, len(raw), at, 0, 0, 0, 0, 0x60000020)
        body += raw
        at += len(raw)
    body += trailing
    directories = [(0, 0)] * 16
    if certificates:
        directories[4] = (HEADERS + len(body), len(certificates))
    optional = struct.pack("<HBBIIIII", 0x20B, 2, 0, 512, 512, 0, 0x1000, 0x1000)
    optional += struct.pack("<QIIHHHHHHI", 0x140000000, 0x1000, 512, 0, 0, 0, 0, 0, 0, 0)
    optional += struct.pack("<IIIHHQQQQII", 0x1000 * (len(sections) + 1), HEADERS, checksum, 10, 0, 0, 0, 0, 0, 0, 16)
    optional += b"".join(struct.pack("<II", *entry) for entry in directories)
    dos = b"MZ" + bytes(58) + struct.pack("<I", 64)
    coff = b"PE\0\0" + struct.pack("<HHIIIHH", 0x8664, len(sections), 0, 0, 0, len(optional), 0x22)
    headers = dos + coff + optional + table
    return headers + bytes(HEADERS - len(headers)) + body + certificates


def patched(data: bytes, at: int, new: bytes) -> bytes:
    """`data` with `new` at offset `at`."""
    return data[:at] + new + data[at + len(new) :]
