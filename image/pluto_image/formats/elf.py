"""The few parts of an ELF object that a module index needs: sections by name and defined symbols. Pure.

Format: System V ABI, chapter 4, ELF-64 little-endian.

    header, 64 bytes: e_shoff at 40, e_shentsize at 58, e_shnum at 60, e_shstrndx at 62
    section header, 64 bytes: u32 name, type; u64 flags, addr, offset, size; u32 link, info; u64 align, entsize
    symbol, 24 bytes: u32 name; u8 info, other; u16 shndx; u64 value, size
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Final

from pluto_measure.errors import FormatError
from pluto_measure.formats.reader import Reader

_SECTION: Final = Struct("<IIQQQQIIQQ")
_SYMBOL: Final = Struct("<IBBHQQ")
_WITHOUT_DATA: Final = 8  # SHT_NOBITS


class Elf:
    """A relocatable or executable file in memory. Raises FormatError at construction and access."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        r = Reader(data, what="ELF")
        if (ident := r.take(6, "e_ident")) != b"\x7fELF\x02\x01":
            raise r.error(f"begins with {ident!r}, not as a 64-bit little-endian ELF")
        r.take(34, "e_ident to e_phoff")
        table = r.uint(8, "e_shoff")
        r.take(10, "e_flags to e_phnum")
        size, count, names = r.uint(2, "e_shentsize"), r.uint(2, "e_shnum"), r.uint(2, "e_shstrndx")
        if size != _SECTION.size or names >= count:
            raise r.error(f"section headers of {size} bytes, names in {names} of {count}")
        self._headers = list(_SECTION.iter_unpack(self._part(table, size * count, "section headers")))
        texts = self._content(self._headers[names])
        self._sections = {_text(texts, header[0]): header for header in self._headers}

    def section(self, name: str) -> bytes:
        """The content of a section, empty if there is none."""
        return self._content(self._sections[name]) if name in self._sections else b""

    def defined_symbols(self) -> Iterator[str]:
        """Names of the symbols that .symtab defines."""
        if ".symtab" not in self._sections:
            return
        header = self._sections[".symtab"]
        table, link = self._content(header), header[6]
        if len(table) % _SYMBOL.size or link >= len(self._headers):
            raise FormatError("ELF", "symbol table has a broken size or link")
        texts = self._content(self._headers[link])
        for name, _, _, section, _, _ in _SYMBOL.iter_unpack(table):
            if section and name:
                yield _text(texts, name)

    def _content(self, header: tuple[int, ...]) -> bytes:
        return b"" if header[1] == _WITHOUT_DATA else self._part(header[4], header[5], "section")

    def _part(self, offset: int, size: int, field: str) -> bytes:
        if offset + size > len(self._data):
            raise FormatError("ELF", f"{field} of {size} bytes ends beyond the file", offset=offset)
        return self._data[offset : offset + size]


def _text(texts: bytes, offset: int) -> str:
    end = texts.find(b"\0", offset)
    if not 0 <= offset < end:
        if end == offset:
            return ""
        raise FormatError("ELF", f"name at {offset} is not in its string table")
    return texts[offset:end].decode("utf-8", "replace")
