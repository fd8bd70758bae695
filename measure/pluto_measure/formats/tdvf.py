"""TDVF metadata: which parts of a firmware image a VMM puts where in a trust domain, and which it measures. Pure.

Intel TDX Virtual Firmware Design Guide, section 11; edk2 `OvmfPkg/ResetVector/X64/OvmfTdxMetadata.asm`; QEMU
`hw/i386/{pc_sysfw_ovmf,tdvf}.c`. All integers little-endian; N is the size of the file.

    GUID table   ends at N - 32; its last entry, at [N-50, N-32), has the footer GUID and the length of the whole table
      entry      u8 data[length - 18], u16 length, GUID       read from the end of the table to its beginning
      TDX entry  data = u32 X: the descriptor begins at N - X
    td-shim      no table: u32 at N - 32 is the offset of the descriptor, a GUID stands in the 16 bytes before it
    Descriptor   "TDVF", u32 length, u32 version (1), u32 count, Section[count]
      Section    u32 data_offset, u32 raw_size, u64 address, u64 memory_size, u32 type, u32 attributes
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from typing import Final, Self

from pluto_measure.errors import FormatError
from pluto_measure.formats.reader import Reader
from pluto_measure.formats.strict_json import Fields

PAGE: Final = 4096
EXTEND: Final = 1  # attribute MR.EXTEND: the content of the pages is measured into MRTD
AUGMENT: Final = 2  # attribute PAGE.AUG: the pages are added after MRTD is final

_WHAT: Final = "firmware"
_FOOTER: Final = uuid.UUID("96b582de-1fb2-45f7-baea-a366c55a082d").bytes_le
_TDX_ENTRY: Final = uuid.UUID("e47a6535-984a-4798-865e-4685a7bf8ec2").bytes_le
_TD_SHIM: Final = uuid.UUID("e9eaf9f3-168e-44d5-a8eb-7f4d8738f6ae").bytes_le
_ENTRY: Final = 18  # bytes of an entry without its data
_SMALLEST: Final = 64 * 1024
_LARGEST: Final = 64 * 1024 * 1024
_MOST_SECTIONS: Final = 64
_MOST_MEMORY: Final = 256 * 1024 * 1024  # of all sections that MRTD covers: it costs a hash for every page
_HIGHEST: Final = 1 << 52


class SectionType(IntEnum):
    """What a section is for (TDVF Design Guide, table 11-3)."""

    BFV = 0
    CFV = 1
    TD_HOB = 2
    TEMP_MEM = 3
    PERM_MEM = 4
    PAYLOAD = 5
    PAYLOAD_PARAM = 6
    TD_INFO = 7


@dataclass(frozen=True, slots=True)
class Section:
    """One section: `raw_size` bytes at `data_offset` of the file, at guest physical `address`, `memory_size` bytes."""

    data_offset: int
    raw_size: int
    address: int
    memory_size: int
    type: SectionType
    attributes: int

    @property
    def end(self) -> int:
        """The first guest physical address behind the section."""
        return self.address + self.memory_size

    @classmethod
    def from_json(cls, value: object) -> Self:
        """What `to_json` gave. FormatError."""
        fields = Fields(value, what=f"{_WHAT}.sections[]")
        if (name := fields.take("type", str)) not in SectionType.__members__:
            raise FormatError(_WHAT, f"section type {name!r} is not known")
        offset, raw_size = fields.take("offset", int), fields.take("rawSize", int)
        address, memory_size = fields.take("address", int), fields.take("memorySize", int)
        section = cls(offset, raw_size, address, memory_size, SectionType[name], fields.take("attributes", int))
        fields.end()
        if min(offset, raw_size, address, memory_size) < 0 or address + memory_size > _HIGHEST:
            raise FormatError(_WHAT, f"{name} at {address:#x}+{memory_size:#x} is nowhere")
        return section

    def to_json(self) -> dict[str, object]:
        return {
            "type": self.type.name,
            "offset": self.data_offset,
            "rawSize": self.raw_size,
            "address": self.address,
            "memorySize": self.memory_size,
            "attributes": self.attributes,
        }


def parse(firmware: bytes) -> tuple[Section, ...]:
    """The sections of a firmware image in the order of its metadata. FormatError.

    A file that holds the code without its variable store (OVMF_CODE*.fd) is refused: its metadata is that of the
    combined image, which is what a VMM starts.
    """
    if not _SMALLEST <= len(firmware) <= _LARGEST:
        raise FormatError(_WHAT, f"{len(firmware)} bytes are not between {_SMALLEST} and {_LARGEST}", offset=0)
    start = _descriptor(firmware)
    r = Reader(firmware[start : start + 16 + 32 * _MOST_SECTIONS], what=f"{_WHAT}.TDVF", base=start)
    if r.take(4, "signature") != b"TDVF":
        raise FormatError(_WHAT, "no TDVF descriptor stands where the metadata points", offset=start)
    length, version, count = r.uint(4, "length"), r.uint(4, "version"), r.uint(4, "section count")
    if version != 1:
        raise r.error(f"version {version} is not known, only 1 is")
    if count > _MOST_SECTIONS or length != 16 + 32 * count:
        raise r.error(f"length {length} does not go with {count} sections")
    sections = tuple(_section(r.sub(32, f"sections[{i}]"), len(firmware)) for i in range(count))
    _check(sections, start)
    return sections


def begins(data: bytes) -> bool:
    """Whether these bytes end, or point, as firmware of a trust domain does. `parse` says whether they are one."""
    at = int.from_bytes(data[-32:-28], "little")
    return data[-48:-32] == _FOOTER or (16 <= at <= len(data) and data[at - 16 : at] == _TD_SHIM)


def find(sections: tuple[Section, ...], kind: SectionType) -> tuple[Section, ...]:
    """All sections of one type, in order."""
    return tuple(section for section in sections if section.type is kind)


def content(firmware: bytes, section: Section) -> bytes:
    """The bytes of the file that the section takes: RawDataSize of them."""
    return firmware[section.data_offset : section.data_offset + section.raw_size]


def _descriptor(firmware: bytes) -> int:
    """Offset of the descriptor in the file."""
    size = len(firmware)
    if firmware[size - 48 : size - 32] == _FOOTER:
        return _from_table(firmware)
    at = int.from_bytes(firmware[size - 32 : size - 28], "little")
    if 16 <= at <= size - 16 and firmware[at - 16 : at] == _TD_SHIM:
        return at
    raise FormatError(
        _WHAT,
        "has neither OVMF's table of GUIDs nor td-shim's metadata, so it does not start a trust domain",
        offset=size - 48,
    )


def _from_table(firmware: bytes) -> int:
    size = len(firmware)
    table = int.from_bytes(firmware[size - 50 : size - 48], "little")
    if not _ENTRY <= table <= size - 32:
        raise FormatError(_WHAT, f"table of GUIDs of {table} bytes does not fit", offset=size - 50)
    begin, end = size - 32 - table, size - 50
    while end > begin:
        if end - begin < _ENTRY:
            raise FormatError(_WHAT, f"{end - begin} bytes at the begin of the table are no entry", offset=begin)
        length = int.from_bytes(firmware[end - 18 : end - 16], "little")
        if not _ENTRY <= length <= end - begin:
            raise FormatError(_WHAT, f"table entry of {length} bytes leaves the table", offset=end - 18)
        if firmware[end - 16 : end] == _TDX_ENTRY:
            return _pointed_at(firmware, end - length, length)
        end -= length
    raise FormatError(_WHAT, "its table of GUIDs has no entry for TDX", offset=begin)


def _pointed_at(firmware: bytes, entry: int, length: int) -> int:
    if length != _ENTRY + 4:
        raise FormatError(_WHAT, f"TDX entry of {length} bytes, not {_ENTRY + 4}", offset=entry)
    back = int.from_bytes(firmware[entry : entry + 4], "little")
    if not 16 <= back <= len(firmware):
        raise FormatError(_WHAT, f"metadata {back:#x} bytes before the end is outside the file", offset=entry)
    return len(firmware) - back


def _section(r: Reader, size: int) -> Section:
    at = r.offset
    offset, raw_size = r.uint(4, "DataOffset"), r.uint(4, "RawDataSize")
    address, memory_size = r.uint(8, "MemoryAddress"), r.uint(8, "MemoryDataSize")
    number, attributes = r.uint(4, "type"), r.uint(4, "attributes")
    try:
        kind = SectionType(number)
    except ValueError as error:
        raise FormatError(_WHAT, f"section type {number} is not known", offset=at) from error
    if offset + raw_size > size:
        hint = "give the combined image (OVMF.fd), not OVMF_CODE.fd"
        raise FormatError(_WHAT, f"{kind.name} ends at {offset + raw_size:#x}, beyond the file", offset=at, hint=hint)
    if address % PAGE or memory_size % PAGE:
        raise FormatError(_WHAT, f"{kind.name} at {address:#x}+{memory_size:#x} is not made of pages", offset=at)
    section = Section(offset, raw_size, address, memory_size, kind, attributes)
    if problem := _problem(section):
        raise FormatError(_WHAT, f"{kind.name} {problem}", offset=at)
    return section


def _problem(section: Section) -> str | None:
    """What keeps a VMM from loading this section."""
    if section.end > _HIGHEST:
        return f"at {section.address:#x}+{section.memory_size:#x} is beyond what a processor addresses"
    if section.attributes & ~(EXTEND | AUGMENT):
        return f"has unknown attributes {section.attributes:#x}"
    if section.type is SectionType.TD_INFO and section.memory_size == 0:
        return None  # td-shim: for tools that read the file; no VMM loads it
    if section.memory_size == 0 or section.raw_size > section.memory_size:
        return f"has {section.raw_size} bytes in memory of {section.memory_size}"
    if section.type in (SectionType.TD_HOB, SectionType.TEMP_MEM) and (section.raw_size or section.attributes):
        return "has content or attributes"
    if section.type in (SectionType.BFV, SectionType.CFV) and section.raw_size == 0:
        return "has no content"
    return None


def _check(sections: tuple[Section, ...], start: int) -> None:
    hobs, volumes = find(sections, SectionType.TD_HOB), find(sections, SectionType.BFV)
    if len(hobs) != 1:
        raise FormatError(_WHAT, f"{len(hobs)} TD_HOB sections, not one", offset=start)
    if not volumes:
        raise FormatError(_WHAT, "no BFV section, so nothing starts", offset=start)
    covered = sum(section.memory_size for section in sections if section.attributes != AUGMENT)
    if covered > _MOST_MEMORY:
        raise FormatError(_WHAT, f"sections of {covered} bytes are more than {_MOST_MEMORY}", offset=start)
    placed = sorted((section for section in sections if section.memory_size), key=lambda section: section.address)
    for left, right in pairwise(placed):
        if left.end > right.address:
            raise FormatError(_WHAT, f"{left.type.name} and {right.type.name} overlap in memory", offset=start)
