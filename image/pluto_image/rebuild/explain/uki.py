"""What differs between two unified kernel images: a header's field, a section, a path of the root. Pure.

Format: Microsoft PE/COFF specification, "DOS Header", "COFF File Header", "Optional Header", "Section Table".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pluto_image.contents import opened
from pluto_image.rebuild.explain.difference import Difference, both, printable, sized
from pluto_image.rebuild.explain.fields import Layout, stretch
from pluto_image.rebuild.explain.known import Origins
from pluto_image.rebuild.explain.root import initrd_differences
from pluto_image.rebuild.explain.text import line_differences, word_differences
from pluto_measure.errors import FormatError
from pluto_measure.formats import pe

_COFF: Final = Layout.of(
    "Machine:2 NumberOfSections:2 TimeDateStamp:4 PointerToSymbolTable:4 NumberOfSymbols:4 SizeOfOptionalHeader:2 "
    "Characteristics:2"
)
_OPTIONAL: Final = Layout.of(
    "Magic:2 LinkerVersion:2:hex SizeOfCode:4 SizeOfInitializedData:4 SizeOfUninitializedData:4 AddressOfEntryPoint:4 "
    "BaseOfCode:4 ImageBase:8 SectionAlignment:4 FileAlignment:4 OperatingSystemVersion:4:hex ImageVersion:4:hex "
    "SubsystemVersion:4:hex Win32VersionValue:4 SizeOfImage:4 SizeOfHeaders:4 CheckSum:4 Subsystem:2 "
    "DllCharacteristics:2 SizeOfStackReserve:8 SizeOfStackCommit:8 SizeOfHeapReserve:8 SizeOfHeapCommit:8 "
    "LoaderFlags:4 NumberOfRvaAndSizes:4"
)
_SECTION: Final = Layout.of(
    "Name:8:text VirtualSize:4 VirtualAddress:4 SizeOfRawData:4 PointerToRawData:4 PointerToRelocations:4 "
    "PointerToLinenumbers:4 NumberOfRelocations:2 NumberOfLinenumbers:2 Characteristics:4"
)
_HEADER: Final = "another header of the PE image"
_FOLLOWING: Final = frozenset(
    ("SizeOfInitializedData", "SizeOfImage", "VirtualSize", "VirtualAddress", "SizeOfRawData", "PointerToRawData")
)
_MEANINGS: Final = {
    ".osrel": "another line of os-release; BUILD_ID names definition, lock and sources",
    ".cmdline": "another kernel command line",
    ".uname": "another kernel version",
    ".sbat": "another revocation entry of the stub",
}


def uki_differences(file: str, published: bytes, rebuilt: bytes, origins: Origins, kernel: str) -> Iterator[Difference]:
    """By section, then by header. `kernel`: the kernel's package and version, for people."""
    if published == rebuilt:
        return
    try:
        images = pe.parse(published), pe.parse(rebuilt)
        one, two = opened.sections(published), opened.sections(rebuilt)
    except FormatError as error:
        yield Difference(
            file, "", sized(len(published)), sized(len(rebuilt)), f"is no image that a build writes: {error}"
        )
        return
    for name in dict.fromkeys([*two, *one]):
        yield from _section(file, name, one.get(name), two.get(name), origins, kernel)
    if list(one) != list(two) and set(one) == set(two):
        yield Difference(file, "", " ".join(one), " ".join(two), "the same sections in another order")
    headers = list(_headers(file, published, rebuilt, *images))
    yield from headers
    if one == two and not headers:
        yield Difference(file, "", *stretch(published, rebuilt), "bytes that belong to no header and no section")


def _section(
    file: str, name: str, one: bytes | None, two: bytes | None, origins: Origins, kernel: str
) -> Iterator[Difference]:
    where = f"section {printable(name)}"
    if one is None or two is None:
        sizes = both(lambda data: sized(len(data)), one, two)
        meaning = "the section is " + (
            "missing in the published image" if one is None else "in the published image only"
        )
        yield Difference(file, where, *sizes, meaning)
    elif one != two:
        match name:
            case opened.INITRD:
                yield from initrd_differences(file, where, one, two, origins)
            case ".cmdline" | ".uname":
                yield from word_differences(file, where, one, two, _MEANINGS[name])
            case ".osrel" | ".sbat":
                yield from line_differences(file, where, one, two, _MEANINGS[name])
            case ".linux":
                yield Difference(file, where, *stretch(one, two), f"another kernel than that of {kernel}")
            case _:
                yield Difference(file, where, *stretch(one, two), "another part of systemd's stub")


def _headers(file: str, published: bytes, rebuilt: bytes, one: pe.Image, two: pe.Image) -> Iterator[Difference]:
    """Field by field where both headers lie at the same places; not what follows from a section of another size."""
    if _place(one) != _place(two):
        yield Difference(file, "headers", *both(_place, one, two), _HEADER)
        return
    table = two.section_table_offset
    moved = [section.virtual_size for section in one.sections] != [section.virtual_size for section in two.sections]
    parts = [
        ("DOS header", None, 0, two.coff_offset),
        ("COFF header", _COFF, two.coff_offset, two.optional_offset),
        ("optional header", _OPTIONAL, two.optional_offset, table),
        *(
            (f"header of section {s.name}", _SECTION, table + 40 * n, table + 40 * (n + 1))
            for n, s in enumerate(two.sections)
        ),
        ("behind the headers", None, table + 40 * len(two.sections), two.headers_size),
    ]
    for place, layout, begin, end in parts:
        left, right = published[begin:end], rebuilt[begin:end]
        if layout is not None:
            found = layout.differences(left, right, file=file, place=place, meaning=_HEADER)
            yield from (each for each in found if not moved or each.where.rpartition(": ")[2] not in _FOLLOWING)
        elif left != right:
            yield Difference(file, place, *stretch(left, right), _HEADER)


def _place(image: pe.Image) -> str:
    sizes = f"optional header of {image.optional_size} bytes, {len(image.sections)} sections"
    return f"COFF header at {image.coff_offset:#x}, {sizes}"
