"""A strict, streaming reader of compressed tar archives as dpkg-deb writes them. No IO; nothing is unpacked to disk.

It reads plain files, directories, symbolic and hard links (expanded), and GNU long names; everything else (device
nodes, FIFOs, sparse files, pax headers, base-256 numbers) is refused. Bombs stop at limits that count every byte
that comes out of the decompressor, so that skipped data counts too.

Header, 512 bytes (POSIX.1-1988 ustar, GNU tar manual "Basic Tar Format"; numbers are octal text):

    name[100] mode[8] uid[8] gid[8] size[12] mtime[12] chksum[8] typeflag[1] linkname[100]
    magic[8] uname[32] gname[32] devmajor[8] devminor[8] prefix[155] pad[12]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from struct import Struct
from typing import Final

from pluto_image.formats.decompress import decompressed
from pluto_image.tree import Kind
from pluto_measure.errors import FormatError

_BLOCK: Final = 512
_HEADER: Final = Struct("100s8s8s8s12s12s8s1s100s8s32s32s8s8s155s12x")
_GNU_MAGIC, _POSIX_MAGIC = b"ustar  \0", b"ustar\x0000"
_KINDS: Final = {b"0": Kind.FILE, b"\0": Kind.FILE, b"1": Kind.FILE, b"2": Kind.SYMLINK, b"5": Kind.DIRECTORY}
_REFUSED: Final = {
    b"3": "character device",
    b"4": "block device",
    b"6": "FIFO",
    b"S": "sparse file",
    b"x": "pax header",
    b"g": "pax header",
}

Want = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one package may cost. Sizes in bytes; `ratio` counts above `ratio_free` bytes of output only."""

    total: int = 2 << 30
    ratio: int = 200
    ratio_free: int = 64 << 20
    members: int = 200_000
    path: int = 4096
    names: int = 64 << 20  # all paths and their parents together: deep paths cost much more than they weigh
    control: int = 16 << 20


DEFAULT_LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class Member:
    """One path of a package, relative to the root, without `.`, `..` and trailing slash.

    `mode` holds permission bits only (setuid and sticky included). `data` is a file's content, otherwise empty;
    `link` is a symbolic link's target as written (it may be absolute), otherwise empty. Hard links are files.
    """

    path: str
    kind: Kind
    mode: int
    data: bytes
    uid: int
    gid: int
    link: str


def members(data: bytes, compression: str, *, what: str, limits: Limits, want: Want | None = None) -> Iterator[Member]:
    """The members of the archive that `want` accepts (all by default), in the order of the archive.

    `compression` is "", "gz", "xz" or "zst". Data that nobody wants is decompressed but never copied. Raises
    FormatError, possibly after some members were given out: use nothing before the iteration has ended.
    """
    allowed = min(limits.total, max(limits.ratio_free, limits.ratio * len(data)))
    names, expanded = _Names(what, limits.names), 0
    kept: dict[str, Member] = {}
    again: dict[str, Member] | None = None
    for member, hard in _entries(_Stream(decompressed(data, compression, what), what, allowed), limits, want):
        names.add(member.path, member.kind, hard)
        wanted = want is None or want(member.path)
        if not hard:
            if wanted and member.path:
                kept[member.path] = member
                yield member
            continue
        if not wanted:
            continue
        original = kept.get(hard) or (again or {}).get(hard)
        if original is None:  # its first name was not wanted: read the archive once more, for all such links
            stream = _Stream(decompressed(data, compression, what), what, allowed)
            again = {m.path: m for m, link in _entries(stream, limits, None) if not link}
            original = again[hard]
        expanded += len(original.data)
        if expanded > allowed:
            raise FormatError(what, f"hard links expand to more than {allowed} bytes")
        yield Member(member.path, Kind.FILE, original.mode, original.data, original.uid, original.gid, "")


class _Stream:
    """Takes or skips bytes of the decompressed archive, counting them."""

    def __init__(self, chunks: Iterator[bytes], what: str, allowed: int) -> None:
        self._chunks, self.what, self._allowed = chunks, what, allowed
        self._chunk, self._at, self._before, self._seen = b"", 0, 0, 0

    def take(self, size: int) -> bytes:
        start = self._at
        if start + size <= len(self._chunk):
            self._at = start + size
            return self._chunk[start : self._at]
        parts, left = [self._chunk[start:]], size - (len(self._chunk) - start)
        while left > 0:
            self._next()
            parts.append(self._chunk if left >= len(self._chunk) else self._chunk[:left])
            self._at = min(left, len(self._chunk))
            left -= self._at
        return b"".join(parts)

    def skip(self, size: int) -> None:
        self._at += size
        while self._at > len(self._chunk):
            beyond = self._at - len(self._chunk)
            self._next()
            self._at = beyond

    def rest(self) -> Iterator[bytes]:
        yield self._chunk[self._at :]
        yield from self._counted()

    def error(self, problem: str) -> FormatError:
        return FormatError(self.what, problem, offset=self._before + self._at)

    def _next(self) -> None:
        for chunk in self._counted():
            self._before += len(self._chunk)
            self._chunk, self._at = chunk, 0
            return
        self._at = len(self._chunk)
        raise self.error("archive ends too early")

    def _counted(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self._seen += len(chunk)
            if self._seen > self._allowed:
                raise FormatError(self.what, f"unpacks to more than {self._allowed} bytes")
            yield chunk


def _entries(stream: _Stream, limits: Limits, want: Want | None) -> Iterator[tuple[Member, str]]:
    """Every entry with the target of a hard link, else "". Content is empty where `want` says so."""
    long_name: bytes | None = None
    long_link: bytes | None = None
    count = 0
    while any(block := stream.take(_BLOCK)):
        name, mode, uid, gid, size_, _, checksum, type_, link, magic, _, _, _, _, prefix = _HEADER.unpack(block)
        if _octal(stream, checksum, "chksum") != sum(block) - sum(checksum) + 8 * 0x20:
            raise stream.error("header checksum is wrong")
        if magic not in (_GNU_MAGIC, _POSIX_MAGIC):
            raise stream.error(f"magic is {magic!r}")
        size = _octal(stream, size_, "size")
        if type_ in (b"L", b"K"):
            text = _long_text(stream, size, limits)
            if (long_name if type_ == b"L" else long_link) is not None:
                raise stream.error("two long names for one member")
            long_name, long_link = (text, long_link) if type_ == b"L" else (long_name, text)
            continue
        if (count := count + 1) > limits.members:
            raise stream.error(f"more than {limits.members} members")
        kind = _kind(stream, type_, size)
        short = _text(name) if magic == _GNU_MAGIC or not _text(prefix) else _text(prefix) + b"/" + _text(name)
        path = _path(stream, short if long_name is None else long_name, kind, limits)
        target = _text(link) if long_link is None else long_link
        hard = _path(stream, target, Kind.FILE, limits) if type_ == b"1" else ""
        symlink = _target(stream, path, target, limits) if type_ == b"2" else ""
        content = _content(stream, size, want is None or (bool(size) and want(path)))
        ids = _octal(stream, uid, "uid"), _octal(stream, gid, "gid")
        yield Member(path, kind, _octal(stream, mode, "mode") & 0o7777, content, *ids, symlink), hard
        long_name = long_link = None
    if long_name is not None or long_link is not None:
        raise stream.error("long name without a member")
    if any(chunk.count(0) != len(chunk) for chunk in stream.rest()):
        raise stream.error("data after the end of the archive")


def _kind(stream: _Stream, type_: bytes, size: int) -> Kind:
    if type_ not in _KINDS:
        raise stream.error(f"a {_REFUSED.get(type_, f'member of type {type_!r}')} is not accepted")
    if size and type_ not in (b"0", b"\0"):
        raise stream.error(f"member of type {type_!r} has {size} bytes of data")
    return _KINDS[type_]


def _content(stream: _Stream, size: int, wanted: bool) -> bytes:
    content = stream.take(size) if wanted else b""
    stream.skip((0 if wanted else size) + -size % _BLOCK)
    return content


def _long_text(stream: _Stream, size: int, limits: Limits) -> bytes:
    if not 0 < size <= limits.path + 1:
        raise stream.error(f"long name of {size} bytes")
    text = stream.take(size)
    stream.skip(-size % _BLOCK)
    return _text(text)


def _octal(stream: _Stream, field: bytes, name: str) -> int:
    digits = field.strip(b" \0")
    if digits.translate(None, b"01234567"):
        raise stream.error(f"{name} {field!r} is not octal")
    return int(digits or b"0", 8)


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _path(stream: _Stream, raw: bytes, kind: Kind, limits: Limits) -> str:
    """The normal form of a path; "" is the root itself, which dpkg-deb writes as "./"."""
    text = _decoded(stream, raw, limits).removeprefix("./")
    if kind is Kind.DIRECTORY:
        text = text.removesuffix("/")
        if text in ("", "."):
            return ""
    parts = text.split("/")
    if any(part in ("", ".", "..") or len(part.encode()) > 255 for part in parts):
        raise stream.error(f"path {text!r} is absolute, leaves the root or is not normal")
    return text


def _target(stream: _Stream, path: str, raw: bytes, limits: Limits) -> str:
    """A link's target as written, after checking that it does not climb above the root."""
    text = _decoded(stream, raw, limits)
    depth = 0 if text.startswith("/") else path.count("/")
    for part in text.split("/"):
        depth += {"": 0, ".": 0, "..": -1}.get(part, 1)
        if depth < 0:
            raise stream.error(f"link {path} -> {text} leaves the root")
    return text


def _decoded(stream: _Stream, raw: bytes, limits: Limits) -> str:
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise stream.error(f"name {raw!r} is not UTF-8") from error
    if not text or len(raw) > limits.path or not text.isprintable():
        raise stream.error(f"name {text!r} is empty, too long or has control characters")
    return text


class _Names:
    """What the archive named so far: no path twice, nothing below a file or link, hard links to earlier files."""

    def __init__(self, what: str, limit: int) -> None:
        self._what, self._left = what, limit
        self._kinds: dict[str, tuple[Kind, bool]] = {}
        self._parents: set[str] = set()

    def add(self, path: str, kind: Kind, hard: str) -> None:
        if path in self._kinds:
            raise FormatError(self._what, f"{path or '/'} occurs twice")
        if kind is not Kind.DIRECTORY and path in self._parents:
            raise FormatError(self._what, f"{path} is not a directory, but members lie below it")
        if hard and self._kinds.get(hard) != (Kind.FILE, False):
            raise FormatError(self._what, f"hard link {path} names {hard}, which is no earlier file")
        self._left -= len(path)
        parent = path.rpartition("/")[0]
        while parent and parent not in self._parents:
            self._left -= len(parent)
            if self._kinds.get(parent, (Kind.DIRECTORY, False))[0] is not Kind.DIRECTORY:
                raise FormatError(self._what, f"{path} lies below {parent}, which is not a directory")
            self._parents.add(parent)
            parent = parent.rpartition("/")[0]
        if self._left < 0:
            raise FormatError(self._what, "names are too many and too long")
        self._kinds[path] = kind, bool(hard)
