"""SMBIOS tables, structure by structure. For tests alone."""

from __future__ import annotations

END = bytes([127, 4, 0, 0x7F, 0, 0])


def structure(kind: int, fields: bytes, *strings: bytes, handle: int = 0x100) -> bytes:
    """A structure with `fields` behind its header and `strings` behind them."""
    text = b"".join(string + b"\0" for string in strings) or b"\0"
    return bytes([kind, 4 + len(fields)]) + handle.to_bytes(2, "little") + fields + text + b"\0"


def numbered(size: int, **at: int) -> bytes:
    """`size` bytes of fields that count up from 0x80; keyword `at_7=2` puts 2 at offset 7 of the structure."""
    fields = bytearray(range(0x80, 0x80 + size))
    for name, value in at.items():
        fields[int(name.removeprefix("at_")) - 4] = value
    return bytes(fields)


def machine() -> bytes:
    """A table in the manner of QEMU's: system, chassis, processor, memory, boot information, end."""
    return b"".join(
        [
            structure(1, numbered(23, at_7=4), b"QEMU", b"Standard PC", b"pc-q35", b"serial", handle=0x100),
            structure(3, numbered(18, at_7=2, at_8=3), b"QEMU", b"C-1", b"asset", handle=0x300),
            structure(4, numbered(44, at_32=2, at_33=0, at_34=2), b"CPU 0", b"pluto", handle=0x400),
            structure(16, numbered(19), handle=0x1000),
            structure(17, numbered(36, at_24=2, at_25=0, at_26=0), b"DIMM 0", b"S/N", handle=0x1100),
            structure(19, numbered(27), handle=0x1300),
            structure(32, numbered(7), handle=0x2000),
            END,
        ]
    )
