"""Small PE images and kernel modules made by tests."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

_ALIGNMENT, _FILE_ALIGNMENT = 0x1000, 0x200


def pe(sections: Mapping[str, bytes], *, headers_size: int = 0x600, nx: bool = True, signed: bool = False) -> bytes:
    """A PE32+ EFI application with these sections (name, content), laid out as systemd's stub is."""
    optional = bytearray(112 + 16 * 8)
    names, raw, table, body = len(sections), headers_size, b"", b""
    address = _ALIGNMENT
    for name, content in sections.items():
        size = len(content) + -len(content) % _FILE_ALIGNMENT
        table += struct.pack("<8sIIIIIIHHI", name.encode(), len(content), address, size, raw, 0, 0, 0, 0, 0x40000040)
        body += content.ljust(size, b"\0")
        raw, address = raw + size, address + len(content)
        address += -address % _ALIGNMENT
    struct.pack_into("<HBBIII", optional, 0, 0x20B, 0, 0, 0, 0x100, 0)
    struct.pack_into("<II", optional, 16, _ALIGNMENT, _ALIGNMENT)
    struct.pack_into("<QII", optional, 24, 0x140000000, _ALIGNMENT, _FILE_ALIGNMENT)
    struct.pack_into("<IIIHH", optional, 56, address, headers_size, 0x1234, 10, 0x100 if nx else 0)
    struct.pack_into("<I", optional, 108, 16)
    if signed:
        struct.pack_into("<II", optional, 144, raw, 8)
    coff = struct.pack("<HHIIIHH", 0x8664, names, 0, 0, 0, len(optional), 0x22E)
    head = b"MZ".ljust(60, b"\0") + struct.pack("<I", 64) + b"PE\0\0" + coff + bytes(optional) + table
    return head.ljust(headers_size, b"\0") + body


def module(
    name: str,
    *,
    depends: Sequence[str] = (),
    info: Sequence[str] = (),
    exports: Sequence[str] = (),
    uses: Sequence[str] = (),
) -> bytes:
    """A kernel module (ELF relocatable) with .modinfo, exported symbols and undefined ones."""
    items = [*info, f"depends={','.join(depends)}", f"name={name}", "vermagic=6.12.0 SMP"]
    modinfo = b"".join(item.encode() + b"\0" for item in items)
    names, symbols = b"\0", struct.pack("<IBBHQQ", 0, 0, 0, 0, 0, 0)
    for symbol, info_byte, section in [
        *((f"__ksymtab_{export}", 0x00, 1) for export in exports),
        *((f"__crc_{export}", 0x00, 1) for export in exports),
        *((export, 0x12, 1) for export in exports),
        *((use, 0x10, 0) for use in uses),
    ]:
        symbols += struct.pack("<IBBHQQ", len(names), info_byte, 0, section, 0, 0)
        names += symbol.encode() + b"\0"
    strings = b"".join(export.encode() + b"\0" for export in exports)
    contents = [b"", modinfo, strings, symbols, names]
    labels = ["", ".modinfo", "__ksymtab_strings", ".symtab", ".strtab", ".shstrtab"]
    label_table = b"\0".join(label.encode() for label in labels) + b"\0"
    contents.append(label_table)
    offset, body, headers = 64, b"", b""
    for number, content in enumerate(contents):
        kind, link, size = {0: (0, 0, 0), 3: (2, 4, 24), 4: (3, 0, 0), 5: (3, 0, 0)}.get(number, (1, 0, 0))
        place = label_table.index(labels[number].encode() + b"\0") if number else 0
        at = offset + len(body)
        headers += struct.pack("<IIQQQQIIQQ", place, kind, 2, 0, at, len(content), link, 0, 8, size)
        body += content + bytes(-len(content) % 8)
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    rest = struct.pack("<HHIQQQIHHHHHH", 1, 62, 1, 0, 0, 64 + len(body), 0, 64, 0, 0, 64, len(contents), 5)
    return ident + rest + body + headers
