"""A unified kernel image: sections appended to systemd's stub, nothing else of it changed. Pure.

Format: Microsoft PE/COFF specification (PE32+); layout and flags as systemd's ukify 257 gives them, with two
differences: the sections stand in the order given, and the stub's .sbat stays as it is.

    section header, 40 bytes: name[8] u32 VirtualSize, VirtualAddress, SizeOfRawData, PointerToRawData,
                              PointerToRelocations, PointerToLinenumbers, u16 counts of both, u32 Characteristics
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct, pack_into, unpack_from
from typing import Final, Self

from pluto_measure.errors import FormatError
from pluto_measure.formats.reader import Reader

_SECTION: Final = Struct("<8sIIIIIIHHI")
_PE32_PLUS: Final = 0x20B
_CODE, _DATA, _READ = 0x20, 0x40, 0x4000_0000
_NX_COMPAT: Final = 0x100
_LARGEST: Final = (1 << 31) - 1

# Offsets in the optional header, PE/COFF specification "Optional Header Windows-Specific Fields".
_INITIALIZED_DATA, _SECTION_ALIGNMENT, _FILE_ALIGNMENT, _IMAGE_SIZE = 8, 32, 36, 56
_HEADERS_SIZE, _CHECKSUM, _DLL_CHARACTERISTICS, _SECURITY = 60, 64, 70, 144


def build(stub: bytes, sections: Sequence[tuple[str, bytes]]) -> bytes:
    """The stub with `sections` (name with its dot, content) appended in the order given.

    SizeOfImage, SizeOfInitializedData and the section table follow; the checksum is zero. As in ukify, the image
    declares NX compatibility only if the kernel in .linux does. Raises FormatError: stub signed, damaged or without
    room for the headers; a name that is too long or stands there already; an empty section.
    """
    pe = _Stub.read(stub)
    header = bytearray(stub[: pe.headers_size])
    parts: list[bytes] = [b"", stub[pe.headers_size :], bytes(-len(stub) % pe.file_alignment)]
    names, offset, address = set(pe.names), len(stub) + len(parts[2]), pe.end
    at, data_size = pe.table + len(pe.names) * _SECTION.size, pe.initialized_data
    for name, content in sections:
        _check(name, content, names)
        names.add(name)
        if at + _SECTION.size > pe.headers_size:
            raise FormatError("PE stub", f"has no room for the header of section {name}")
        flags = _READ | (_CODE if name == ".linux" else _DATA)
        address += -address % pe.section_alignment
        pad = -len(content) % pe.file_alignment
        size = len(content) + pad
        _SECTION.pack_into(header, at, name.encode(), len(content), address, size, offset, 0, 0, 0, 0, flags)
        parts += [content, bytes(pad)]
        at, offset, address = at + _SECTION.size, offset + size, address + len(content)
        data_size += len(content)
    image_size = address + -address % pe.section_alignment
    if max(image_size, offset, data_size) > _LARGEST:
        raise FormatError("PE stub", f"image of {image_size} bytes is too large")
    pack_into("<H", header, pe.coff + 2, len(names))
    pack_into("<I", header, pe.optional + _INITIALIZED_DATA, data_size)
    pack_into("<I", header, pe.optional + _IMAGE_SIZE, image_size)
    pack_into("<I", header, pe.optional + _CHECKSUM, 0)
    if not all(_nx_compatible(content) for name, content in sections if name == ".linux"):
        (flags,) = unpack_from("<H", header, pe.optional + _DLL_CHARACTERISTICS)
        pack_into("<H", header, pe.optional + _DLL_CHARACTERISTICS, flags & ~_NX_COMPAT)
    parts[0] = bytes(header)
    return b"".join(parts)


@dataclass(frozen=True, slots=True)
class _Stub:
    """Where things stand in the stub: file offsets, sizes in bytes; `end` is the first unused virtual address."""

    coff: int
    optional: int
    table: int
    names: tuple[str, ...]
    headers_size: int
    section_alignment: int
    file_alignment: int
    initialized_data: int
    end: int

    @classmethod
    def read(cls, data: bytes) -> Self:
        coff, optional, table, count = _headers(data, "PE stub")

        def u32(field: int) -> int:
            return int(unpack_from("<I", data, optional + field)[0])

        names, end, file_end, first = [], 0, 0, len(data)
        r = Reader(data[table:], what="PE stub", base=table)
        for _ in range(count):
            name, size, address, raw_size, raw, *_ = _SECTION.unpack(r.take(_SECTION.size, "section header"))
            if address < end:
                raise r.error("sections overlap or are not in order")
            names.append(name.rstrip(b"\0").decode("ascii", "replace"))
            end, file_end, first = address + size, max(file_end, raw + raw_size), min(first, raw)
        found = cls(
            coff, optional, table, tuple(names), u32(_HEADERS_SIZE), u32(_SECTION_ALIGNMENT), u32(_FILE_ALIGNMENT),
            u32(_INITIALIZED_DATA), end,
        )  # fmt: skip
        if any(n == 0 or n & (n - 1) for n in (found.section_alignment, found.file_alignment)):
            raise r.error("an alignment is not a power of two")
        if any(data[optional + _SECURITY : optional + _SECURITY + 8]):
            raise r.error("is signed")
        if not r.offset <= found.headers_size <= first or file_end != len(data):
            raise r.error("headers, sections and end of file do not fit each other")
        return found


def _headers(data: bytes, what: str) -> tuple[int, int, int, int]:
    """Offsets of COFF header, optional header and section table, and the number of sections."""
    r = Reader(data, what=what)
    if r.take(2, "e_magic") != b"MZ":
        raise r.error("is no PE file")
    r.take(58, "DOS header")
    r.take(r.uint(4, "e_lfanew") - 64, "DOS program")
    if r.take(4, "signature") != b"PE\0\0":
        raise r.error("is no PE file")
    coff = r.offset
    r.take(2, "Machine")
    count = r.uint(2, "NumberOfSections")
    r.take(12, "TimeDateStamp, symbol table")
    size = r.uint(2, "SizeOfOptionalHeader")
    r.take(2, "Characteristics")
    optional = r.offset
    if r.uint(2, "Magic") != _PE32_PLUS:
        raise r.error("is not PE32+")
    if size < _SECURITY + 8:
        raise r.error(f"optional header of {size} bytes has no security directory")
    r.take(size - 2, "optional header")
    return coff, optional, r.offset, count


def _nx_compatible(kernel: bytes) -> bool:
    optional = _headers(kernel, ".linux")[1]
    return bool(unpack_from("<H", kernel, optional + _DLL_CHARACTERISTICS)[0] & _NX_COMPAT)


def _check(name: str, content: bytes, names: set[str]) -> None:
    if not (name.startswith(".") and name.isascii() and name.isprintable() and 2 <= len(name) <= 8):
        raise FormatError("UKI", f"section name {name!r} is not a dot and up to 7 ASCII characters")
    if name in names:
        raise FormatError("UKI", f"section {name} is there already")
    if not content:
        raise FormatError("UKI", f"section {name} is empty")
