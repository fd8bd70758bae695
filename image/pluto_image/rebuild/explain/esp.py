"""The files of a FAT32 volume, read strictly and bounded; a stranger may have written it. Pure.

Format: Microsoft FAT specification (2005): §3 boot sector, §4 FAT, §6 directories, §7 long names.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import Final

from pluto_image.rebuild.view import View
from pluto_measure.errors import FormatError

_WHAT: Final = "FAT32"
_BOOT: Final = Struct(
    "<11sHBHB15xII4xI"
)  # jump and OEM, sector, sectors of a cluster, reserved, FATs, total, FAT, root
_ENTRY: Final = Struct("<11sB8xH4xHI")  # name, attributes, cluster high, cluster low, size
_DIRECTORY, _VOLUME, _LONG = 0x10, 0x08, 0x0F
_MOST_FILES: Final = 1000
_DEEPEST: Final = 8
_LARGEST_FOLDER: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Node:
    """A file or folder with its clusters in order. `size` in bytes: as its entry says, a folder's by its clusters."""

    path: str
    folder: bool
    clusters: tuple[int, ...]
    size: int


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume and its nodes; the root folder has the path "". Offsets and sizes in bytes."""

    view: View
    cluster: int
    data: int  # offset of cluster 2
    nodes: tuple[Node, ...]

    @classmethod
    def read(cls, view: View) -> Volume:
        """FormatError where boot sector, FAT and folders do not hold together."""
        _, sector, per_cluster, reserved, fats, total, fat, root = _BOOT.unpack(_take(view, 0, _BOOT.size))
        if sector != 512 or per_cluster not in (1, 2, 4, 8, 16, 32, 64, 128) or not fats or not fat:
            raise FormatError(_WHAT, "the boot sector is none of a FAT32 volume")
        data = (reserved + fats * fat) * sector
        if not data < total * sector <= view.size:
            raise FormatError(_WHAT, "the volume does not lie in its partition")
        chains = array("I")
        count = min(fat * sector // 4, (total * sector - data) // (per_cluster * sector) + 2)
        chains.frombytes(_take(view, reserved * sector, 4 * count))
        if sys.byteorder == "big":
            chains.byteswap()
        volume = cls(view, per_cluster * sector, data, ())
        nodes: list[Node] = []
        taken: set[int] = set()
        for node in volume._walk("", volume._chain(chains, root), chains, 0):  # it goes on only while all is well
            if len(nodes) >= _MOST_FILES or not taken.isdisjoint(node.clusters):
                raise FormatError(_WHAT, f"more than {_MOST_FILES} files, or two of them share a cluster")
            taken.update(node.clusters)
            nodes.append(node)
        return cls(view, per_cluster * sector, data, tuple(nodes))

    def content(self, node: Node) -> bytes:
        """The bytes of a file, or of a folder's entries."""
        parts, at = [], 0
        while at < len(node.clusters):  # one read for each run
            end = at + 1
            while end < len(node.clusters) and node.clusters[end] == node.clusters[end - 1] + 1:
                end += 1
            parts.append(_take(self.view, self._offset(node.clusters[at]), (end - at) * self.cluster))
            at = end
        return b"".join(parts)[: node.size]

    def owner(self, at: int) -> str:
        """What the byte at this offset of the volume belongs to, in words; `at` lies in the clusters."""
        number = (at - self.data) // self.cluster + 2
        for node in self.nodes:
            if number in node.clusters:
                place = node.clusters.index(number) * self.cluster + (at - self.data) % self.cluster
                kind = "folder" if node.folder else "file" if place < node.size else "behind the end of file"
                return f"{kind} {node.path or '/'}"
        return "a cluster that no file uses"

    def _offset(self, cluster: int) -> int:
        return self.data + (cluster - 2) * self.cluster

    def _chain(self, chains: array[int], first: int) -> tuple[int, ...]:
        found: list[int] = []
        while 2 <= first < len(chains):
            if len(found) > len(chains):
                raise FormatError(_WHAT, "a chain of clusters runs in a circle")
            found.append(first)
            first = chains[first] & 0x0FFF_FFFF
        if found and first < 0x0FFF_FFF8:
            raise FormatError(_WHAT, f"a chain of clusters leads to {first:#x}")
        return tuple(found)

    def _walk(self, path: str, clusters: tuple[int, ...], chains: array[int], depth: int) -> Iterator[Node]:
        folder = Node(path, True, clusters, len(clusters) * self.cluster)
        if folder.size > _LARGEST_FOLDER or depth > _DEEPEST:
            raise FormatError(_WHAT, f"folder {path or '/'} is too large or too deep")
        yield folder
        for number, (name, attributes, cluster, size) in enumerate(_entries(self.content(folder))):
            if number >= _MOST_FILES:
                raise FormatError(_WHAT, f"folder {path or '/'} holds more than {_MOST_FILES} entries")
            below, chain = f"{path}/{name}" if path else name, self._chain(chains, cluster)
            if attributes & _DIRECTORY:
                yield from self._walk(below, chain, chains, depth + 1)
            elif size > len(chain) * self.cluster:
                raise FormatError(_WHAT, f"{below} has {size} bytes and only {len(chain)} clusters")
            else:
                yield Node(below, False, chain, size)


def _entries(folder: bytes) -> Iterator[tuple[str, int, int, int]]:
    """Name, attributes, first cluster and size of each entry but `.`, `..` and labels."""
    long: list[bytes] = []
    for at in range(0, len(folder) - 31, 32):
        name, attributes, high, low, size = _ENTRY.unpack_from(folder, at)
        if name[0] == 0:
            return
        if attributes & 0x3F == _LONG and name[0] != 0xE5:
            raw = folder[at : at + 32]
            long.append(raw[1:11] + raw[14:26] + raw[28:32])
            continue
        pieces, long = long, []
        if name[0] == 0xE5 or attributes & _VOLUME or name in (b".".ljust(11), b"..".ljust(11)):
            continue
        yield _long(pieces) or _short(name), attributes, high << 16 | low, size


def _long(pieces: list[bytes]) -> str:
    return b"".join(reversed(pieces)).decode("utf-16-le", "replace").partition("\0")[0]


def _short(name: bytes) -> str:
    stem, extension = (part.rstrip(b" ").decode("latin-1") for part in (name[:8], name[8:]))
    return f"{stem}.{extension}" if extension else stem


def _take(view: View, at: int, size: int) -> bytes:
    data = view.read(at, size)
    if len(data) != size:
        raise FormatError(_WHAT, f"{size} bytes are beyond the end", offset=at)
    return data
