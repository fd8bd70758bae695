"""A strict reader of wheels, which are zip archives. No IO; nothing is unpacked to disk and nothing of it is run.

Plain files, stored or deflated, with printable ASCII names. Refused: names that leave the root or are written in two
ways, a path twice or below a file, links and other special files, encryption, other compressions, bytes before the
archive or after it, and more than the limits allow. Format: APPNOTE.TXT of PKWARE, "ZIP"; wheels: PEP 427.
"""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from pluto_measure.errors import FormatError
from pluto_measure.formats.reader import Reader

_LOCAL: Final = b"PK\x03\x04"
_END_MAGIC: Final = b"PK\x05\x06"  # end of central directory: 22 bytes where no comment follows
_END: Final = struct.Struct("<4xHHHHII")  # disk numbers, members on this disk, members, size and start of directory
_END_SIZE: Final = 22
_STRANGE_FLAGS: Final = 0x1 | 0x20 | 0x40 | 0x2000  # encrypted, patched data, strong encryption, masked headers
_COMPRESSIONS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_UNIX: Final = 3
# What the library raises at damage: RuntimeError for unknown features too, OverflowError for offsets of 64 bits.
_DAMAGE: Final = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, OverflowError, RuntimeError, ValueError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Limits:
    """What one wheel may cost. `total`: bytes of all files together; `members`: files; `path`: bytes of a name."""

    total: int = 256 << 20
    members: int = 20_000
    path: int = 1024


DEFAULT_LIMITS: Final = Limits()


def read(data: bytes, *, what: str, want: Callable[[str], bool], limits: Limits = DEFAULT_LIMITS) -> dict[str, bytes]:
    """The wanted files by path, in the order of the archive. The others are checked by their headers. FormatError."""
    _check_frame(data, what, limits)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            files = _checked(archive.infolist(), what, limits)
            return {info.filename: _content(archive, info, what) for info in files if want(info.filename)}
    except _DAMAGE as error:
        raise FormatError(what, f"damaged zip archive ({str(error)[:120] or type(error).__name__})") from error


def _check_frame(data: bytes, what: str, limits: Limits) -> None:
    """One archive from the first byte to the last; the library would also find one inside something else."""
    r = Reader(data[-_END_SIZE:], what=what)
    end = r.take(_END_SIZE, "end of central directory")
    _, _, _, members, size, start = _END.unpack_from(end)
    if not data.startswith(_LOCAL) or end[:4] != _END_MAGIC or start + size + _END_SIZE != len(data):
        raise FormatError(what, "is not one zip archive from its first byte to its last")
    if members > limits.members:  # asked before the library builds an object for each
        raise FormatError(what, f"holds more than {limits.members} members")


def _checked(infos: Sequence[zipfile.ZipInfo], what: str, limits: Limits) -> list[zipfile.ZipInfo]:
    """The files among the members, after every member was looked at."""
    if len(infos) > limits.members:
        raise FormatError(what, f"holds more than {limits.members} members")
    total, files, seen = 0, [], set()
    for info in infos:
        _check_name(info, what, limits)
        _check_kind(info, what)
        if info.filename.rstrip("/") in seen:
            raise FormatError(what, f"{info.filename} occurs twice")
        seen.add(info.filename.rstrip("/"))
        total += info.file_size
        if total > limits.total:
            raise FormatError(what, f"its files have more than {limits.total} bytes")
        if not info.is_dir():
            files.append(info)
    plain = {info.filename for info in files}
    for path in seen:
        if below := plain.intersection(_parents(path)):
            raise FormatError(what, f"{path} lies below {min(below)}, which is no directory")
    return files


def _check_name(info: zipfile.ZipInfo, what: str, limits: Limits) -> None:
    name = info.orig_filename  # the other one is already cut at a zero byte
    if len(name) > limits.path:
        raise FormatError(what, f"a name has more than {limits.path} bytes")
    if not (name.isascii() and name.isprintable()) or "\\" in name:
        raise FormatError(what, f"name {name[:80]!r} is not printable ASCII with slashes")
    if info.filename != name:  # an extra field may carry another one, which not every reader honours
        raise FormatError(what, f"{name} has a second name")
    if name.startswith("/") or name[1:2] == ":" or {"", ".", ".."} & set(name.removesuffix("/").split("/")):
        raise FormatError(what, f"name {name[:80]!r} is not a normal relative path")


def _check_kind(info: zipfile.ZipInfo, what: str) -> None:
    name = info.filename
    if info.flag_bits & _STRANGE_FLAGS:
        raise FormatError(what, f"{name} is encrypted or patched")
    if info.compress_type not in _COMPRESSIONS:
        raise FormatError(what, f"{name} has compression method {info.compress_type}")
    kind = stat.S_IFMT(info.external_attr >> 16) if info.create_system == _UNIX else 0
    if kind not in ((0, stat.S_IFDIR) if info.is_dir() else (0, stat.S_IFREG)):
        raise FormatError(what, f"{name} is a link or a special file")
    if info.is_dir() and info.file_size:
        raise FormatError(what, f"{name} is a directory with content")


def _content(archive: zipfile.ZipFile, info: zipfile.ZipInfo, what: str) -> bytes:
    with archive.open(info) as file:
        data = file.read(info.file_size)  # never more than announced, and `_checked` has added that up
    if len(data) != info.file_size or zlib.crc32(data) != info.CRC:
        raise FormatError(what, f"{info.filename} has not the size or the checksum that its header says")
    return data


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]
