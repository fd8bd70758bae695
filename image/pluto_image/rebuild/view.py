"""Bytes that are looked at in parts: a file in memory, a sparse one, or one on disk. Mostly-zero files stay cheap.

Pure: what a view of a file on disk reads is handed to it (`pluto_image.rebuild.published`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

Extent = tuple[int, int]  # begin and end in bytes, half open
_BLOCK: Final = 1 << 20
_ZEROS: Final = bytes(_BLOCK)


@dataclass(frozen=True, slots=True)
class View:
    """`size` bytes. `fetch(at, count)` gives exactly `count` of them, and is asked inside the size only.

    `extents`: where bytes may be other than zero, ascending and apart.
    """

    size: int
    fetch: Callable[[int, int], bytes]
    extents: tuple[Extent, ...]

    @classmethod
    def of(cls, data: bytes) -> View:
        """Bytes in memory."""
        return cls(len(data), lambda at, count: data[at : at + count], ((0, len(data)),))

    @classmethod
    def sparse(cls, size: int, chunks: Iterable[tuple[int, bytes]]) -> View:
        """Zeros with `chunks` (offset, bytes) in them, ascending and apart."""
        kept = tuple((at, data) for at, data in chunks if data)

        def fetch(at: int, count: int) -> bytes:
            end, parts, reached = at + count, [], at
            for begin, data in kept:
                if begin < end and at < begin + len(data):
                    parts += [bytes(max(begin - reached, 0)), data[max(at - begin, 0) : end - begin]]
                    reached = min(begin + len(data), end)
            return b"".join([*parts, bytes(end - reached)])

        return cls(size, fetch, tuple((at, at + len(data)) for at, data in kept))

    def read(self, at: int, count: int) -> bytes:
        """Up to `count` bytes from `at`; fewer where the view ends."""
        return self.fetch(at, min(count, self.size - at)) if at < self.size else b""

    def part(self, at: int, size: int) -> View:
        """A stretch as a view of its own, cut where this one ends."""
        size = max(min(size, self.size - at), 0)
        inside = ((max(begin - at, 0), min(end - at, size)) for begin, end in self.extents)
        return View(size, lambda offset, count: self.fetch(at + offset, count), tuple(e for e in inside if e[0] < e[1]))

    def sha256(self) -> str:
        """SHA-256 in hex of all bytes, zeros included."""
        digest = hashlib.sha256()
        for at in range(0, self.size, _BLOCK):
            count = min(_BLOCK, self.size - at)
            digest.update(self.fetch(at, count) if self.touches(at, at + count) else _ZEROS[:count])
        return digest.hexdigest()

    def touches(self, begin: int, end: int) -> bool:
        """Whether bytes of this stretch may be other than zero."""
        return any(first < end and begin < last for first, last in self.extents)


def blocks(*views: View, until: int) -> Iterator[Extent]:
    """The blocks before `until` in which a view may hold other bytes than zero, ascending."""
    wanted: set[int] = set()
    for view in views:
        for begin, end in view.extents:
            wanted.update(range(begin // _BLOCK, -(-min(end, until) // _BLOCK)))
    for number in sorted(wanted):
        yield number * _BLOCK, min((number + 1) * _BLOCK, until)
