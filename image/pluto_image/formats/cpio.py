"""The root file system as a newc cpio archive, which the kernel unpacks as its initramfs. Pure and deterministic.

Format: Linux Documentation/driver-api/early-userspace/buffer-format.rst. One entry:

    "070701", then 13 numbers of 8 lower-case hex digits each:
    ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
    name NUL, zeros to a multiple of 4, data, zeros to a multiple of 4

Inodes count from 1 in the order of the archive, nlink is 1, devices and check are 0: nothing of the build host enters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from pluto_image.tree import Entry, Kind
from pluto_measure.errors import FormatError

_FORMAT: Final = {Kind.FILE: 0o100000, Kind.DIRECTORY: 0o040000, Kind.SYMLINK: 0o120000}
_TRAILER: Final = b"TRAILER!!!"
_U32: Final = 0xFFFFFFFF
_LONGEST: Final = 4095  # the kernel skips longer names and cuts longer links (PATH_MAX with its NUL), silently


def newc(entries: Iterable[Entry], mtime: int) -> Iterator[bytes]:
    """The archive of `entries` in chunks, sorted by the raw bytes of their paths, so that parents come first.

    `mtime` (seconds) holds for every entry; the root directory itself has no entry. Raises FormatError for a path
    that occurs twice, is not normal, or lies below something that is not a directory of the archive.
    """
    kinds: dict[bytes, Kind] = {}
    ordered = sorted(((e.path.encode(), e) for e in entries), key=lambda pair: pair[0])
    for inode, (name, entry) in enumerate(ordered, start=1):
        _check(name, entry, kinds)
        kinds[name] = entry.kind
        mode = _FORMAT[entry.kind] | entry.mode
        yield _header(name, inode, mode, entry.uid, entry.gid, mtime, len(entry.data))
        if entry.data:
            yield entry.data
        if pad := -len(entry.data) % 4:
            yield bytes(pad)
    yield _header(_TRAILER, 0, 0, 0, 0, 0, 0)


def _header(name: bytes, inode: int, mode: int, uid: int, gid: int, mtime: int, size: int) -> bytes:
    fields = (inode, mode, uid, gid, 1, mtime, size, 0, 0, 0, 0, len(name) + 1, 0)
    if not all(0 <= value <= _U32 for value in fields):
        raise FormatError("cpio", f"{name.decode()}: a number does not fit 32 bits")
    head = b"070701" + b"".join(b"%08x" % value for value in fields) + name + b"\0"
    return head + bytes(-len(head) % 4)


def _check(name: bytes, entry: Entry, kinds: dict[bytes, Kind]) -> None:
    if len(name) > _LONGEST or b"\0" in name or any(part in (b"", b".", b"..") for part in name.split(b"/")):
        raise FormatError("cpio", f"path {entry.path!r} is not a normal relative path")
    if name == _TRAILER:
        raise FormatError("cpio", f"path {entry.path} would end the archive")
    if name in kinds:
        raise FormatError("cpio", f"{entry.path} occurs twice")
    parent = name.rpartition(b"/")[0]
    if parent and kinds.get(parent) is not Kind.DIRECTORY:
        raise FormatError("cpio", f"{entry.path} lies below {parent.decode()}, which is no directory of the archive")
    if not 0 <= entry.mode <= 0o7777:
        raise FormatError("cpio", f"{entry.path} has mode {entry.mode:o}, more than permission bits")
    if entry.kind is Kind.DIRECTORY and entry.data:
        raise FormatError("cpio", f"directory {entry.path} has data")
    if entry.kind is Kind.SYMLINK and (not 0 < len(entry.data) <= _LONGEST or b"\0" in entry.data):
        raise FormatError("cpio", f"link {entry.path} has an empty, too long or broken target")
