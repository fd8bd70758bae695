"""A unified kernel image read back: its sections, and the root's entries from .initrd. Bytes in, values out.

The reverse of `uki`, `compress` and `cpio` in `pluto_image.formats`. The image may be a stranger's: sizes are checked
before memory is taken, and `open_uki` accepts exactly those archives that `cpio.newc` writes, so that equal entries
(and one time) mean equal archives. `records` reads any newc archive, for who wants to say what is odd about one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pluto_image.formats import cpio
from pluto_image.formats.decompress import decompressed
from pluto_image.tree import Entry, Kind
from pluto_measure.errors import FormatError
from pluto_measure.formats import pe
from pluto_measure.formats.reader import Reader

INITRD: Final = ".initrd"
MOST: Final = 512 * 1024 * 1024  # bytes of all sections together, and of the unpacked root
_MOST_ENTRIES: Final = 100_000
_MAGIC: Final = b"070701"
_TRAILER: Final = b"TRAILER!!!"
_WHAT: Final = "UKI .initrd"
_KINDS: Final = {0o100000: Kind.FILE, 0o040000: Kind.DIRECTORY, 0o120000: Kind.SYMLINK}
_FIELDS: Final = (
    "ino", "mode", "uid", "gid", "nlink", "mtime", "filesize", "devmajor", "devminor", "rdevmajor", "rdevminor",
    "namesize", "check",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class OpenedUki:
    """What a UKI holds. `sections`: name with its dot to exactly VirtualSize bytes; `entries`: sorted, origin ""."""

    sections: Mapping[str, bytes]
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """One entry of a newc archive as it stands there. `fields`: the 13 numbers by their names; `offset` in bytes."""

    offset: int
    name: bytes
    fields: Mapping[str, int]
    data: bytes


def open_uki(uki: bytes, *, most: int = MOST) -> OpenedUki:
    """Sections and root of a UKI; `most` bounds both in bytes. FormatError for anything that no build would write."""
    found = sections(uki, most=most)
    if INITRD not in found:
        raise FormatError("UKI", f"has no section {INITRD}")
    return OpenedUki(found, entries(unpacked(found[INITRD], most=most)))


def sections(uki: bytes, *, most: int = MOST) -> dict[str, bytes]:
    """The sections in their order. FormatError where two have one name, or all together exceed `most` bytes."""
    parsed = pe.parse(uki)
    total = sum(section.virtual_size for section in parsed.sections)
    if total > most:
        raise FormatError("UKI", f"sections of {total} bytes are more than {most}")
    found: dict[str, bytes] = {}
    for section in parsed.sections:
        if section.name in found:
            raise FormatError("UKI", f"section {section.name} occurs twice")
        found[section.name] = pe.section_data(uki, section)
    return found


def unpacked(initrd: bytes, *, most: int = MOST) -> bytes:
    """The archive inside .initrd: one zstd frame, or stored. FormatError, also for more than `most` bytes."""
    compression = "" if initrd.startswith(_MAGIC) else "zst"
    parts, size = [], 0
    for part in decompressed(initrd, compression, _WHAT):
        size += len(part)
        if size > most:
            raise FormatError(_WHAT, f"unpacks to more than {most} bytes")
        parts.append(part)
    return b"".join(parts)


def entries(archive: bytes) -> tuple[Entry, ...]:
    """The entries of an archive that `cpio.newc` wrote. FormatError for any other archive, however correct."""
    found: list[Entry] = []
    mtime = at = 0
    for record in records(archive):
        mtime = mtime if found else record.fields["mtime"]
        found.append(_entry(record))
    for part in cpio.newc(found, mtime):
        if not archive.startswith(part, at):
            raise FormatError(_WHAT, "is not spelled as a build spells it", offset=at)
        at += len(part)
    return tuple(found)


def records(archive: bytes) -> Iterator[Record]:
    """The entries of any newc archive as they stand, without the trailer. FormatError where it is damaged."""
    r = Reader(archive, what=_WHAT)
    for _ in range(_MOST_ENTRIES + 1):
        offset = r.offset
        if r.take(len(_MAGIC), "magic") != _MAGIC:
            raise FormatError(_WHAT, "no entry of a newc archive", offset=offset)
        fields = {name: _number(r, name) for name in _FIELDS}
        name = r.take(fields["namesize"], "name")
        if not name.endswith(b"\0") or b"\0" in name[:-1]:
            raise r.error("a name does not end with its first NUL")
        _pad(r, "padding of the name")
        data = r.take(fields["filesize"], "data")
        if name[:-1] == _TRAILER:
            r.end()
            return
        _pad(r, "padding of the data")
        yield Record(offset, name[:-1], fields, data)
    raise r.error(f"more than {_MOST_ENTRIES} entries")


def _number(r: Reader, field: str) -> int:
    digits = r.take(8, field)
    if digits.strip(b"0123456789abcdef"):
        raise r.error(f"{field} is not 8 lower-case hex digits")
    return int(digits, 16)


def _pad(r: Reader, field: str) -> None:
    if any(r.take(-r.offset % 4, field)):
        raise r.error(f"{field} is not zero")


def _entry(record: Record) -> Entry:
    mode = record.fields["mode"]
    kind = _KINDS.get(mode & ~0o7777)
    if kind is None:
        raise FormatError(_WHAT, f"mode {mode:o} is no file, folder or link", offset=record.offset)
    try:
        path = record.name.decode()
    except UnicodeDecodeError as error:
        raise FormatError(_WHAT, "a path is not UTF-8", offset=record.offset) from error
    return Entry(path, kind, mode & 0o7777, record.data, "", record.fields["uid"], record.fields["gid"])
