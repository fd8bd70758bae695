"""QEMU's loader script, `etc/table-loader`: which blobs the firmware reads, in which order. Pure.

Format: QEMU hw/acpi/bios-linker-loader.c; the firmware's side is edk2 OvmfPkg/AcpiPlatformDxe/QemuLoader.h.

    script   record[]                 of 128 bytes each; the rest of the blob is zero
    record   u32 command, u8 operands[124]
    command  0 unused, 1 allocate {char name[56], u32 alignment, u8 zone}, 2 add pointer, 3 add checksum,
             4 write pointer
"""

from __future__ import annotations

from typing import Final

from pluto_measure.errors import FormatError
from pluto_measure.formats.reader import Reader

SCRIPT: Final = "etc/table-loader"
_WHAT: Final = "loader script"
_RECORD: Final = 128
_NAME: Final = 56
_UNUSED, _ALLOCATE, _LAST = 0, 1, 4


def allocated(script: bytes) -> tuple[str, ...]:
    """The fw_cfg names of the blobs in the order in which the firmware reads, and measures, them. FormatError."""
    r = Reader(script, what=_WHAT)
    names: list[str] = []
    while r.left:
        record = r.sub(_RECORD, "record")
        command = record.uint(4, "command")
        if command == _UNUSED:
            if record.rest().strip(b"\0"):
                raise record.error("an unused record is not empty")
            continue
        if command > _LAST:
            raise record.error(f"command {command} is not known")
        if command == _ALLOCATE:
            name, _, padding = record.take(_NAME, "name").partition(b"\0")
            if not name or not name.isascii() or padding.strip(b"\0"):
                raise record.error("a name is not ASCII padded with NUL")
            names.append(name.decode())
    if len(set(names)) != len(names):
        raise FormatError(_WHAT, "reads a blob twice")
    return tuple(names)
