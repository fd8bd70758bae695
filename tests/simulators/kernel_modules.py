"""Small kernel modules, made field by field. For tests alone."""

from __future__ import annotations

import struct
from collections.abc import Sequence


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
