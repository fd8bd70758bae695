"""Small PE images, made field by field. For tests alone."""

from __future__ import annotations

import struct
from collections.abc import Iterable

HEADERS = 0x400
CHECKSUM_AT = 64 + 24 + 64
CERTIFICATE_ENTRY_AT = 64 + 24 + 112 + 4 * 8
_ALIGNMENT, _FILE_ALIGNMENT = 0x1000, 0x200
_NX = 0x100  # DllCharacteristics: no code in data


def image(
    sections: Iterable[tuple[str, bytes]] = ((".text", b"\xc3" * 16), (".data", b"data")),
    *,
    headers: int = HEADERS,
    nx: bool = True,
    certificates: bytes = b"",
    checksum: int = 0x1234,
    trailing: bytes = b"",
) -> bytes:
    """A PE32+ EFI application laid out as systemd's stub is: headers, sections, what trails, the certificates."""
    table, body, address, count = b"", b"", _ALIGNMENT, 0
    for name, content in sections:
        size, raw = len(content) + -len(content) % _FILE_ALIGNMENT, headers + len(body)
        table += struct.pack("<8sIIIIIIHHI", name.encode(), len(content), address, size, raw, 0, 0, 0, 0, 0x40000040)
        body += content.ljust(size, b"\0")
        address += len(content) + -len(content) % _ALIGNMENT
        count += 1
    body += trailing
    directories = [(0, 0)] * 16
    if certificates:
        directories[4] = (headers + len(body), len(certificates))
    optional = struct.pack("<HBBIIIII", 0x20B, 0, 0, 0, 0x100, 0, _ALIGNMENT, _ALIGNMENT)
    optional += struct.pack("<QIIHHHHHHI", 0x140000000, _ALIGNMENT, _FILE_ALIGNMENT, 0, 0, 0, 0, 0, 0, 0)
    optional += struct.pack("<IIIHHQQQQII", address, headers, checksum, 10, _NX if nx else 0, 0, 0, 0, 0, 0, 16)
    optional += b"".join(struct.pack("<II", *entry) for entry in directories)
    coff = b"PE\0\0" + struct.pack("<HHIIIHH", 0x8664, count, 0, 0, 0, len(optional), 0x22E)
    head = b"MZ".ljust(60, b"\0") + struct.pack("<I", 64) + coff + optional + table
    return head.ljust(headers, b"\0") + body + certificates


# A stub with room for the headers of the sections that a build adds, and a kernel.
STUB = image(
    [(".text", b"\xc3" * 700), (".data", b"d" * 33), (".sbat", b"sbat,1\n"), (".reloc", bytes(12))], headers=0x600
)
KERNEL = image([(".text", b"kernel" * 300)], headers=0x600)


def patched(data: bytes, at: int, new: bytes) -> bytes:
    """`data` with `new` at offset `at`."""
    return data[:at] + new + data[at + len(new) :]
