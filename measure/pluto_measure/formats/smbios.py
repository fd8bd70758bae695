"""SMBIOS structure tables: taken apart, blanked as firmware measures them, and joined as OVMF does on QEMU.

Formats: DMTF DSP0134 (SMBIOS 3.7) section 6.1. The rules are those of edk2 MdeModulePkg/Universal/
SmbiosMeasurementDxe (which fields are blanked), MdeModulePkg/Universal/SmbiosDxe and OvmfPkg/SmbiosPlatformDxe.

    table      structure..., the last of them of type 127
    structure  u8 type, u8 length, u16 handle, u8 fields[length - 4], text
    text       (char string[] NUL)..., NUL; without strings two NULs. A field names a string by its number, from 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pluto_measure.errors import FormatError
from pluto_measure.formats.reader import Reader

BIOS: Final = 0
END_OF_TABLE: Final = 127

_WHAT: Final = "SMBIOS table"
_HEADER: Final = 4
_OEM_FROM: Final = 128
_MOST_HANDLE: Final = 0xFEFF

# Types of which only the header is measured: everything behind it becomes zero, strings too.
_HEADER_ALONE: Final = frozenset({11, 15, 18, 31, 33})
# (offset, size) of the fields that become zero where the structure is long enough to have them.
_NUMBERS: Final = {
    1: ((0x08, 16), (0x18, 1)),  # UUID, wake-up type
    4: (
        (0x11, 1),
        (0x16, 2),
        (0x23, 1),
        (0x24, 1),
        (0x25, 1),
        (0x2A, 2),
        (0x2C, 2),
        (0x2E, 2),
    ),  # state, cores, threads
    22: ((0x10, 2), (0x12, 2)),  # serial number and date of a battery
    23: ((0x05, 2),),  # reset count
    27: ((0x0C, 2),),  # nominal speed
}
# Offset of the string numbers: the string becomes blanks of the same length, the number zero.
_STRINGS: Final = {
    1: (0x07,),  # serial number
    2: (0x07, 0x0A),  # serial number, location
    3: (0x07, 0x08),  # serial number, asset tag
    4: (0x20, 0x21, 0x22),  # serial number, asset tag, part number
    17: (0x18, 0x19, 0x1A),  # the same
    22: (0x07,),  # serial number
    39: (0x08, 0x09, 0x0A),  # serial number, asset tag, part number
}


@dataclass(frozen=True, slots=True)
class Structure:
    """One structure. `formatted` is its first `length` bytes, with the header; `text` is the rest, with its NULs."""

    type: int
    handle: int
    formatted: bytes
    text: bytes

    @property
    def raw(self) -> bytes:
        """The structure as it lies in the table."""
        return self.formatted + self.text

    @property
    def strings(self) -> tuple[bytes, ...]:
        """The strings, without their NULs. String n of a field is at n - 1."""
        return tuple(self.text[start:end] for start, end in self._spans())

    def measured(self) -> bytes:
        """What remains of the structure when it is measured, in the same number of bytes. FormatError."""
        if self.type >= _OEM_FROM or self.type in _HEADER_ALONE:
            return self.formatted[:_HEADER] + bytes(len(self.formatted) - _HEADER + len(self.text))
        fields, text, spans = bytearray(self.formatted), bytearray(self.text), self._spans()
        for at in _STRINGS.get(self.type, ()):
            if at >= len(fields) or fields[at] == 0:
                continue
            if not spans:
                raise FormatError(_WHAT, f"type {self.type} names string {fields[at]} and has none")
            # The firmware stops at the last string where the number is beyond it, and blanks that one.
            start, end = spans[min(fields[at], len(spans)) - 1]
            text[start:end] = b" " * (end - start)
            fields[at] = 0
        for at, size in _NUMBERS.get(self.type, ()):
            if at + size <= len(fields):
                fields[at : at + size] = bytes(size)
        return bytes(fields + text)

    def _spans(self) -> list[tuple[int, int]]:
        spans = []
        at = int(self.text[:1] == b"\0")  # one NUL in front of the strings is passed over
        while at < len(self.text) - 1:
            end = self.text.index(b"\0", at)
            spans.append((at, end))
            at = end + 1
        return spans


def parse(table: bytes) -> tuple[Structure, ...]:
    """All structures up to the one of type 127, which ends the table. FormatError."""
    r = Reader(table, what=_WHAT)
    found: list[Structure] = []
    while not found or found[-1].type != END_OF_TABLE:
        start = r.offset
        kind, length, handle = r.uint(1, "type"), r.uint(1, "length"), r.uint(2, "handle")
        if length < _HEADER:
            raise r.error(f"structure of type {kind} has length {length}")
        fields = r.take(length - _HEADER, "formatted area")
        end = table.find(b"\0\0", r.offset)
        if end < 0:
            raise r.error(f"strings of type {kind} have no end")
        text = r.take(end + 2 - r.offset, "strings")
        found.append(Structure(kind, handle, table[start : start + _HEADER] + fields, text))
    r.end()
    return tuple(found)


def measured(table: bytes) -> bytes:
    """The bytes whose digest extends PCR 1 (RTMR0) in EV_EFI_HANDOFF_TABLES: edk2 of 202211 and later. FormatError.

    As many bytes as the table has, the structure of type 127 included. Blanking twice changes nothing more, as long as
    no structure of which only the header is measured has strings: then the result is no table any more.
    """
    return b"".join(structure.measured() for structure in parse(table))


def ovmf_type0(*, vendor: str, version: str, date: str) -> bytes:
    """The BIOS information that OVMF from 202302 adds where the machine has none; the texts are those of its build.

    A text of less than three characters counts as not set. FormatError where one is not ASCII.
    """
    texts = []
    for text, unset in ((vendor, "unknown"), (version, "unknown"), (date, "02/02/2022")):
        if not text.isascii() or "\0" in text:
            raise FormatError("SMBIOS type 0", f"{text!r} is not ASCII")
        texts.append((text if len(text) >= 3 else unset).encode())
    header = bytes([BIOS, 26, 0, 0])
    # Strings 1, 2 and 3, segment 0xe800, size 0, "characteristics not supported", virtual machine and UEFI, no release.
    fields = bytes.fromhex("010200e803000800000000000000001c0000ffff0000")
    return header + fields + b"\0".join(texts) + b"\0\0"


def merge_qemu(qemu_tables: bytes, type0: bytes) -> bytes:
    """The table of an OVMF guest: QEMU's `etc/smbios/smbios-tables`, `type0` where it has none, a new type 127.

    `type0` gets the lowest handle that is free. FormatError where the firmware would drop a structure.
    """
    structures = parse(qemu_tables)[:-1]
    end = bytes([END_OF_TABLE, _HEADER]) + _MOST_HANDLE.to_bytes(2, "little") + bytes(2)
    handles = {structure.handle for structure in structures}
    if len(handles) < len(structures):
        raise FormatError(_WHAT, "two structures have one handle")
    if max(handles, default=0) > _MOST_HANDLE:
        raise FormatError(_WHAT, f"handle {max(handles):#x} is above {_MOST_HANDLE:#x}")
    parts = [structure.raw for structure in structures]
    if all(structure.type != BIOS for structure in structures):
        added = parse(type0 + end)[0]
        free = min(set(range(len(handles) + 1)) - handles)
        if free >= _MOST_HANDLE:
            raise FormatError(_WHAT, "no handle is left for the BIOS information")
        parts.append(added.raw[:2] + free.to_bytes(2, "little") + added.raw[_HEADER:])
    return b"".join(parts) + end
