"""What an ELF file asks of the dynamic loader: needed libraries, search paths, interpreter. Pure.

Format: System V ABI, "ELF header", "Program header", "Dynamic section"; 64 bits, little-endian.

    u8 magic[4] "\\x7fELF"; u8 class (2), data (1), ...; u16 type, machine; u32 version; u64 entry, phoff, shoff;
    u32 flags; u16 ehsize, phentsize (56), phnum, ...
    program header: u32 type, flags; u64 offset, vaddr, paddr, filesz, memsz, align
    dynamic entry: i64 tag; u64 value       tags: 0 end, 1 NEEDED, 5 STRTAB (an address), 14 SONAME, 29 RUNPATH
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final

from pluto_measure.errors import FormatError
from pluto_measure.formats.reader import Reader

MAGIC: Final = b"\x7fELF"
_PROGRAM: Final = Struct("<IIQQQQQQ")
_ENTRY: Final = Struct("<qQ")
_LOAD, _DYNAMIC, _INTERP = 1, 2, 3
_END, _NEEDED, _STRTAB, _SONAME, _RPATH, _RUNPATH = 0, 1, 5, 14, 15, 29


@dataclass(frozen=True, slots=True)
class Dynamic:
    """What the loader must find: needed libraries, own name, search paths, interpreter; empty where absent."""

    needed: tuple[str, ...]
    soname: str
    runpath: str
    interpreter: str


def parse(data: bytes) -> Dynamic:
    """The dynamic facts of an ELF file (all empty for a static one). Raises FormatError."""
    head = Reader(data[:64], what="ELF")
    if head.take(6, "e_ident") != MAGIC + b"\x02\x01":
        raise head.error("not a 64-bit little-endian ELF file")
    head.take(26, "e_ident to e_entry")
    offset = head.uint(8, "e_phoff")
    head.take(14, "e_shoff to e_ehsize")
    size, count = head.uint(2, "e_phentsize"), head.uint(2, "e_phnum")
    if size != _PROGRAM.size or offset + size * count > len(data):
        raise head.error(f"{count} program headers of {size} bytes at {offset:#x} do not fit")
    loads, dynamic, interpreter = [], b"", ""
    for kind, _, at, address, _, length, _, _ in _PROGRAM.iter_unpack(data[offset : offset + size * count]):
        if kind == _LOAD:
            loads.append((address, at, length))
        elif kind == _DYNAMIC:
            dynamic = data[at : at + length - length % _ENTRY.size]
        elif kind == _INTERP:
            interpreter = data[at : at + length].rstrip(b"\0").decode("ascii", "replace")
    return _facts(data, loads, dynamic, interpreter)


def _facts(data: bytes, loads: list[tuple[int, int, int]], dynamic: bytes, interpreter: str) -> Dynamic:
    entries: list[tuple[int, int]] = []
    for tag, value in _ENTRY.iter_unpack(dynamic):
        if tag == _END:
            break
        entries.append((tag, value))
    address = next((value for tag, value in entries if tag == _STRTAB), None)
    start = 0 if address is None else _file_offset(loads, address)

    def texts(*tags: int) -> tuple[str, ...]:
        return tuple(_string(data, start + value) for tag, value in entries if tag in tags)

    return Dynamic(texts(_NEEDED), "".join(texts(_SONAME)), ":".join(texts(_RPATH, _RUNPATH)), interpreter)


def _file_offset(loads: list[tuple[int, int, int]], address: int) -> int:
    for start, at, length in loads:
        if start <= address < start + length:
            return at + address - start
    raise FormatError("ELF dynamic section", f"string table at {address:#x} is in no segment of the file")


def _string(data: bytes, offset: int) -> str:
    end = data.find(b"\0", offset, offset + 4096)
    if end < 0:
        raise FormatError("ELF dynamic section", "string has no end", offset=offset)
    return data[offset:end].decode("ascii", "replace")
