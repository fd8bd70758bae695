r"""PE/COFF images: the sections, and the Authenticode digest that UEFI firmware measures. Bytes in, values out.

Formats: Microsoft "PE Format" (sections "Optional Header", "Section Table"); "Windows Authenticode Portable Executable
Signature Format", "Calculating the PE Image Hash", as UEFI firmware performs it. Nothing here judges a signature.

    DOS header   "MZ" ... u32 e_lfanew at 0x3c
    COFF header  "PE\0\0", u16 machine, u16 sections, u32 time, u32 symbols, u32 symbol_count, u16 optional_size,
                 u16 characteristics
    optional     u16 magic (0x10b PE32, 0x20b PE32+) ... u32 CheckSum at 64 ... data directories {u32 address, u32 size}
    sections[]   char name[8], u32 VirtualSize, u32 VirtualAddress, u32 SizeOfRawData, u32 PointerToRawData,
                 u32 relocations, u32 lines, u16 relocation_count, u16 line_count, u32 characteristics
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pluto_measure.digests import Digests
from pluto_measure.errors import FormatError
from pluto_measure.formats.reader import Reader

_WHAT: Final = "PE image"
_SECTION_SIZE: Final = 40
_CHECKSUM: Final = 64  # offset in the optional header, the same in both forms
_DIRECTORIES: Final = {0x10B: 96, 0x20B: 112}  # magic: offset of the data directories in the optional header
_CERTIFICATES: Final = 4  # index of the Certificate Table among the data directories
_MOST_SECTIONS: Final = 96  # the limit of the Windows loader
_MOST_ZEROS: Final = 64 * 1024 * 1024  # how far a section may be larger in memory than in the file


@dataclass(frozen=True, slots=True)
class Section:
    """One section header. Sizes and offsets in bytes; `name` without its padding NULs."""

    name: str
    virtual_size: int
    virtual_address: int
    raw_size: int
    raw_offset: int
    characteristics: int


@dataclass(frozen=True, slots=True)
class Image:
    """The headers of one image. Every `*_offset` counts from the start of the file."""

    machine: int
    magic: int  # 0x10b PE32, 0x20b PE32+
    coff_offset: int  # of the COFF header, after the signature "PE\0\0"
    optional_offset: int
    optional_size: int
    entry_point: int
    section_alignment: int
    file_alignment: int
    image_size: int  # SizeOfImage
    headers_size: int  # SizeOfHeaders
    checksum_offset: int
    section_table_offset: int
    certificate_entry_offset: int | None  # of the directory entry; None where the directory is too short to have one
    certificate_offset: int  # file offset; 0 without certificates
    certificate_size: int
    sections: tuple[Section, ...]

    def section(self, name: str) -> Section | None:
        """The only section of that name, or None. FormatError where two have it."""
        found = [section for section in self.sections if section.name == name]
        if len(found) > 1:
            raise FormatError(_WHAT, f"section {name} occurs {len(found)} times")
        return found[0] if found else None


def parse(data: bytes) -> Image:
    """The headers of a PE32 or PE32+ image. FormatError where they do not hold together."""
    pe_offset = _pe_offset(data)
    r = Reader(data[pe_offset : pe_offset + 0x10000], what=_WHAT, base=pe_offset)
    if r.take(4, "PE signature") != b"PE\0\0":
        raise FormatError(_WHAT, "no PE signature", offset=pe_offset)
    machine, count = r.uint(2, "machine"), r.uint(2, "section count")
    r.take(12, "time and symbols")
    optional_size = r.uint(2, "optional header size")
    r.take(2, "characteristics")
    optional = _optional(r.sub(optional_size, "optional header"), len(data))
    if count > _MOST_SECTIONS:
        raise r.error(f"{count} sections are more than {_MOST_SECTIONS}")
    table_offset = r.offset
    sections = tuple(_section(r.sub(_SECTION_SIZE, f"sections[{i}]"), len(data)) for i in range(count))
    if not r.offset <= optional.headers_size <= len(data):
        raise r.error(f"SizeOfHeaders {optional.headers_size:#x} does not cover the headers inside the file")
    return Image(
        machine=machine,
        magic=optional.magic,
        coff_offset=pe_offset + 4,
        optional_offset=optional.offset,
        optional_size=optional_size,
        entry_point=optional.entry_point,
        section_alignment=optional.section_alignment,
        file_alignment=optional.file_alignment,
        image_size=optional.image_size,
        headers_size=optional.headers_size,
        checksum_offset=optional.offset + _CHECKSUM,
        section_table_offset=table_offset,
        certificate_entry_offset=optional.certificate_entry_offset,
        certificate_offset=optional.certificate_offset,
        certificate_size=optional.certificate_size,
        sections=sections,
    )


def authenticode(data: bytes) -> Digests:
    """The digests that UEFI firmware measures for an image: without CheckSum and certificates.

    Adding or removing a signature does not change them. FormatError where sections overlap in the file.
    """
    return Digests.of(hashed_parts(data))


def hashed_parts(data: bytes) -> Iterator[memoryview]:
    """The parts of an image that `authenticode` digests, in order. FormatError."""
    return _hashed_parts(data, parse(data))


def section_data(data: bytes, section: Section) -> bytes:
    """Exactly VirtualSize bytes: what lies in the file, cut or extended with zeros, as the stub measures it."""
    zeros = section.virtual_size - section.raw_size
    if zeros > _MOST_ZEROS:
        raise FormatError(_WHAT, f"section {section.name} asks for {zeros} bytes of zeros")
    end = section.raw_offset + min(section.virtual_size, section.raw_size)
    return data[section.raw_offset : end] + bytes(zeros) if zeros > 0 else data[section.raw_offset : end]


@dataclass(frozen=True, slots=True)
class _Optional:
    offset: int
    magic: int
    entry_point: int
    section_alignment: int
    file_alignment: int
    image_size: int
    headers_size: int
    certificate_entry_offset: int | None
    certificate_offset: int
    certificate_size: int


def _pe_offset(data: bytes) -> int:
    r = Reader(data, what=_WHAT)
    if r.take(2, "signature") != b"MZ":
        raise FormatError(_WHAT, "does not begin with MZ", offset=0)
    r.take(58, "DOS header")
    pe_offset = r.uint(4, "e_lfanew")
    if not 64 <= pe_offset <= len(data):
        raise FormatError(_WHAT, f"e_lfanew {pe_offset:#x} is outside the file", offset=0x3C)
    return pe_offset


def _optional(r: Reader, file_size: int) -> _Optional:
    offset = r.offset
    magic = r.uint(2, "magic")
    if magic not in _DIRECTORIES:
        raise r.error(f"magic {magic:#x} is neither PE32 nor PE32+")
    r.take(14, "versions and sizes")
    entry_point = r.uint(4, "AddressOfEntryPoint")
    r.take(12, "BaseOfCode to ImageBase")
    section_alignment, file_alignment = r.uint(4, "SectionAlignment"), r.uint(4, "FileAlignment")
    for name, value in (("SectionAlignment", section_alignment), ("FileAlignment", file_alignment)):
        if value == 0 or value & (value - 1):
            raise r.error(f"{name} {value:#x} is not a power of two")
    r.take(16, "versions")
    image_size, headers_size = r.uint(4, "SizeOfImage"), r.uint(4, "SizeOfHeaders")
    r.take(_DIRECTORIES[magic] - 64 - 4, "CheckSum to LoaderFlags")
    directories = r.uint(4, "NumberOfRvaAndSizes")
    entry, at, size = None, 0, 0
    if directories > _CERTIFICATES:
        r.take(8 * _CERTIFICATES, "data directories")
        entry = r.offset
        at, size = r.uint(4, "certificate table address"), r.uint(4, "certificate table size")
    if size and not (at >= headers_size and at + size <= file_size):
        raise r.error(f"certificate table {at:#x}+{size:#x} lies outside the file")
    alignments = (section_alignment, file_alignment)
    return _Optional(offset, magic, entry_point, *alignments, image_size, headers_size, entry, at, size)


def _section(r: Reader, file_size: int) -> Section:
    raw_name = r.take(8, "name")
    name, _, padding = raw_name.partition(b"\0")
    if padding.strip(b"\0") or not name.isascii():
        raise r.error(f"section name {raw_name!r} is not ASCII padded with NUL")
    virtual_size, virtual_address = r.uint(4, "VirtualSize"), r.uint(4, "VirtualAddress")
    raw_size, raw_offset = r.uint(4, "SizeOfRawData"), r.uint(4, "PointerToRawData")
    r.take(12, "relocations and lines")
    if raw_size and raw_offset + raw_size > file_size:
        raise r.error(f"section {name.decode()} ends at {raw_offset + raw_size:#x}, beyond the file")
    return Section(name.decode(), virtual_size, virtual_address, raw_size, raw_offset, r.uint(4, "characteristics"))


def _hashed_parts(data: bytes, image: Image) -> Iterator[memoryview]:
    view = memoryview(data)  # a UKI is large, and its parts are only hashed
    after_checksum = image.checksum_offset + 4
    entry = image.certificate_entry_offset
    yield view[: image.checksum_offset]
    if entry is None:
        yield view[after_checksum : image.headers_size]
    else:
        yield view[after_checksum:entry]
        yield view[entry + 8 : image.headers_size]
    hashed = end = image.headers_size
    for section in sorted(image.sections, key=lambda section: section.raw_offset):
        if section.raw_size == 0:
            continue
        if section.raw_offset < end:
            raise FormatError(_WHAT, f"section {section.name} overlaps what lies before it", offset=section.raw_offset)
        end = section.raw_offset + section.raw_size
        hashed += section.raw_size
        yield view[section.raw_offset : end]
    # What follows the sections is found by the count of bytes hashed so far, not by their last offset: a gap between
    # sections moves it. That is how the firmware reads the rule, and so what it measures.
    extra = len(data) - image.certificate_size - hashed
    if extra < 0:
        raise FormatError(_WHAT, "certificate table overlaps the sections")
    yield view[hashed : hashed + extra]
