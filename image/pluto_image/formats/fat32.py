"""A FAT32 volume with a few files, each in one run of clusters, as chunks of a sparse image. Pure and deterministic.

Format: Microsoft FAT specification (2005): §3 boot sector, §4 FAT, §5 FSInfo, §6 directories, §7 long names. Every
time stamp is 1980-01-01, the format's zero. Names are ASCII; a name that is not upper-case 8.3 gets a long entry.

    reserved sectors (boot, FSInfo, copies of both at 6 and 7) | FAT | FAT | clusters from number 2 on
    directory entry, 32 bytes: name[11] u8 attributes, nt, tenths; u16 time, date, access_date, cluster_high,
                               write_time, write_date, cluster_low; u32 size
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from struct import Struct
from typing import Final

from pluto_measure.errors import FormatError

_SECTOR: Final = 512
_RESERVED: Final = 32
_FATS: Final = 2
_FEWEST, _MOST = 65_525, 0x0FFF_FFF5  # clusters: with fewer it is FAT16 by definition
_ROOT: Final = 2
_END, _MEDIA = 0x0FFF_FFFF, 0x0FFF_FFF8
_DIRECTORY, _ARCHIVE, _LONG = 0x10, 0x20, 0x0F
_EPOCH: Final = 1 << 5 | 1  # 1980-01-01
_BOOT: Final = Struct("<3s8sHBHBHHBHHHIIIHHIHH12sBBBI11s8s")
_ENTRY: Final = Struct("<11sBBBHHHHHHHI")
_SHORT: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'()-@^_`{}~")
_FORBIDDEN: Final = frozenset('"*/:<>?\\|')

Chunk = tuple[int, bytes]  # offset in bytes, data


def volume(size: int, files: Mapping[str, bytes], *, volume_id: int, hidden_sectors: int) -> Iterator[Chunk]:
    """(offset in the volume, bytes) in ascending order; what no chunk covers is zero.

    `size` in bytes; `files` maps paths with slashes to content; `hidden_sectors` lie before the volume on its disk.
    Raises FormatError: size unfit for FAT32, names that FAT cannot hold or tell apart, content that does not fit.
    """
    shape = _Shape.of(size)
    root = _tree(files)
    used = _place(root, _ROOT, shape.cluster)
    if used - _ROOT > shape.clusters:
        raise FormatError("FAT32", f"content needs {used - _ROOT} clusters, but the volume has {shape.clusters}")
    nodes = list(_walk(root))
    boot = _boot_sector(shape, volume_id, hidden_sectors)
    information = _information_sector(shape.clusters - (used - _ROOT), used)
    yield 0, boot + information
    yield 6 * _SECTOR, boot + information
    table = _table(nodes, used)
    for number in range(_FATS):
        yield (_RESERVED + number * shape.fat) * _SECTOR, table
    for node in nodes:
        data = node.data if node.children is None else _listing(node, shape.cluster)
        if data:
            yield shape.data + (node.cluster - _ROOT) * shape.cluster, data


@dataclass(frozen=True, slots=True)
class _Shape:
    """Sizes of a volume: `total` and `fat` in sectors, `cluster` and the offset `data` in bytes."""

    total: int
    fat: int
    cluster: int
    clusters: int
    data: int

    @classmethod
    def of(cls, size: int) -> _Shape:
        """The shape with the largest clusters, up to 4 KiB, that still make it a FAT32."""
        total, rest = divmod(size, _SECTOR)
        for per_cluster in (8, 4, 2, 1):
            # Each FAT sector maps 128 clusters; the FATs themselves take room, so this is a little generous.
            fat = -(-max(total - _RESERVED, 0) // (128 * per_cluster + _FATS)) + 1
            clusters = (total - _RESERVED - _FATS * fat) // per_cluster
            if _FEWEST <= clusters <= _MOST and not rest and total <= 0xFFFFFFFF:
                return cls(total, fat, per_cluster * _SECTOR, clusters, (_RESERVED + _FATS * fat) * _SECTOR)
        raise FormatError("FAT32", f"a volume of {size} bytes has no number of clusters that FAT32 allows")


@dataclass(slots=True)
class _Node:
    """A file or directory while it is being placed."""

    name: str
    data: bytes = b""
    children: dict[str, _Node] | None = None
    parent: _Node | None = field(default=None, repr=False)
    cluster: int = 0
    count: int = 0


def _tree(files: Mapping[str, bytes]) -> _Node:
    root = _Node("", children={})
    for path in sorted(files):
        node = root
        *folders, name = path.split("/")
        for folder in folders:
            node = _child(node, folder, _Node(folder, children={}, parent=node), path)
        _child(node, name, _Node(name, files[path], parent=node), path)
    return root


def _child(parent: _Node, name: str, new: _Node, path: str) -> _Node:
    """`new`, or the folder of that name which is there already."""
    plain = name.isascii() and name.isprintable() and not _FORBIDDEN & set(name)
    if not plain or not 0 < len(name) <= 255 or name.rstrip(". ") != name or name.startswith(" "):
        raise FormatError("FAT32", f"{name!r} in {path!r} is not a name that we write")
    if len(new.data) > 0xFFFFFFFF:
        raise FormatError("FAT32", f"{path} has 4 GiB or more")
    children = parent.children if parent.children is not None else {}
    found = children.setdefault(name.upper(), new)
    if found is not new and (new.children is None or found.children is None or found.name != name):
        raise FormatError("FAT32", f"{path} is there already, but for upper and lower case")
    return found


def _walk(node: _Node) -> Iterator[_Node]:
    yield node
    for child in (node.children or {}).values():
        yield from _walk(child)


def _place(root: _Node, first: int, cluster: int) -> int:
    """Give every node its run of clusters, in the order of the walk; returns the first cluster that stays free."""
    for node in _walk(root):
        size = len(node.data) if node.children is None else len(_listing(node, 1))
        node.count = -(-size // cluster) or int(node is root)
        node.cluster = first if node.count else 0
        first += node.count
    return first


def _table(nodes: list[_Node], used: int) -> bytes:
    chain = array("I", range(1, used + 1))
    chain[0], chain[1] = _MEDIA, _END
    for node in nodes:
        if node.count:
            chain[node.cluster + node.count - 1] = _END
    if sys.byteorder == "big":
        chain.byteswap()
    return chain.tobytes()


def _listing(node: _Node, multiple: int) -> bytes:
    """A directory's entries, padded with zeros to a multiple of that many bytes."""
    out = bytearray()
    if node.parent is not None:
        above = node.parent.cluster if node.parent.parent is not None else 0  # the root is written as cluster 0
        out += _entry(b".".ljust(11), _DIRECTORY, node.cluster, 0) + _entry(b"..".ljust(11), _DIRECTORY, above, 0)
    taken: set[bytes] = set()
    for child in (node.children or {}).values():
        short = _short_name(child.name)
        if short is None:
            short = _alias(child.name, taken)
            out += _long_entries(child.name, short)
        if short in taken:
            raise FormatError("FAT32", f"the short name of {child.name} is taken by another file")
        taken.add(short)
        attributes = _ARCHIVE if child.children is None else _DIRECTORY
        out += _entry(short, attributes, child.cluster, len(child.data))
    return bytes(out) + bytes(-len(out) % multiple)


def _entry(name: bytes, attributes: int, cluster: int, size: int) -> bytes:
    high, low = divmod(cluster, 1 << 16)
    return _ENTRY.pack(name, attributes, 0, 0, 0, _EPOCH, _EPOCH, high, 0, _EPOCH, low, size)


def _short_name(name: str) -> bytes | None:
    """The 11 bytes of an 8.3 name in upper case, or None if the name needs a long entry."""
    stem, dot, extension = name.partition(".")
    fits = 1 <= len(stem) <= 8 and len(extension) <= 3 and bool(extension) == bool(dot)
    if not fits or not _SHORT.issuperset((stem + extension).encode()):
        return None
    return stem.encode().ljust(8) + extension.encode().ljust(3)


def _alias(name: str, taken: set[bytes]) -> bytes:
    """A short name that stands for a long one: basis, tilde, number (§7, "basis-name generation")."""
    stem, _, extension = name.upper().lstrip(".").rpartition(".")
    if not stem:
        stem, extension = extension, ""
    kept = bytes(c if c in _SHORT else 0x5F for c in stem.encode() if c not in b". ")
    tail = bytes(c if c in _SHORT else 0x5F for c in extension.encode() if c != 0x20)[:3]
    for number in range(1, 1_000_000):
        mark = b"~%d" % number
        candidate = (kept[: 8 - len(mark)] + mark).ljust(8) + tail.ljust(3)
        if candidate not in taken:
            return candidate
    raise FormatError("FAT32", f"no short name is left for {name}")


def _long_entries(name: str, short: bytes) -> bytes:
    checksum = 0
    for byte in short:
        checksum = ((checksum & 1) << 7) + (checksum >> 1) + byte & 0xFF
    text = name.encode("utf-16-le")
    if len(text) % 26:
        text = (text + b"\0\0").ljust(-(-len(text) // 26) * 26, b"\xff")
    pieces = [text[at : at + 26] for at in range(0, len(text), 26)]
    out = b""
    for number in range(len(pieces), 0, -1):
        piece = pieces[number - 1]
        order = number | (0x40 if number == len(pieces) else 0)
        out += bytes([order]) + piece[:10] + bytes([_LONG, 0, checksum]) + piece[10:22] + b"\0\0" + piece[22:]
    return out


def _boot_sector(shape: _Shape, volume_id: int, hidden_sectors: int) -> bytes:
    sector = _BOOT.pack(
        b"\xeb\x58\x90", b"PLUTOTEE",  # jump over the table, OEM name
        _SECTOR, shape.cluster // _SECTOR, _RESERVED, _FATS,
        0, 0, 0xF8, 0,  # root entries, sectors and FAT size of FAT16; medium
        63, 255, hidden_sectors, shape.total,  # geometry: nobody's, but tools want one
        shape.fat, 0, 0, _ROOT, 1, 6, b"",  # flags, version, root cluster, sectors of FSInfo and of the copies
        0x80, 0, 0x29, volume_id, b"NO NAME    ", b"FAT32   ",
    )  # fmt: skip
    return sector.ljust(510, b"\0") + b"\x55\xaa"


def _information_sector(free: int, following: int) -> bytes:
    counts = free.to_bytes(4, "little") + following.to_bytes(4, "little")
    return b"RRaA" + bytes(480) + b"rrAa" + counts + bytes(12) + b"\0\0\x55\xaa"
