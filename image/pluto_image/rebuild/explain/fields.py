"""Fixed binary headers as named fields, and what differs between two of a kind. Pure.

A layout is text, one field a word: `name:size` for an unsigned number in the layout's byte order, `name:size:hex` for
bytes, `name:size:guid` for a GUID as it lies on a disk, `name:size:text` for text that ends at its first NUL.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID

from pluto_image.rebuild.explain.difference import Difference, both, printable, sized

Order = Literal["little", "big"]
_MOST_HEX: Final = 32  # bytes of a field that are shown


@dataclass(frozen=True, slots=True)
class Layout:
    """A header's fields as (name, offset, size, how), in order and without gaps."""

    fields: tuple[tuple[str, int, int, str], ...]
    order: Order

    @classmethod
    def of(cls, words: str, order: Order = "little") -> Layout:
        found, at = [], 0
        for word in words.split():
            name, size, *how = word.split(":")
            found.append((name, at, int(size), how[0] if how else "number"))
            at += int(size)
        return cls(tuple(found), order)

    @property
    def size(self) -> int:
        """In bytes."""
        return self.fields[-1][1] + self.fields[-1][2]

    def differences(
        self, published: bytes, rebuilt: bytes, *, file: str, place: str, meaning: str
    ) -> Iterator[Difference]:
        """One for each field that differs. What lies behind the layout, or is too short for it, is one more."""
        for name, at, size, how in self.fields:
            one, two = published[at : at + size], rebuilt[at : at + size]
            if one != two:
                where = f"{place}: {name}" if place else name
                yield Difference(file, where, self._shown(one, how), self._shown(two, how), meaning)
        one, two = published[self.size :], rebuilt[self.size :]
        if one != two:
            where = f"{place}: the rest" if place else "the rest"
            yield Difference(file, where, *stretch(one, two), meaning)

    def _shown(self, data: bytes, how: str) -> str:
        if how == "text":
            return printable(data.partition(b"\0")[0])
        if how == "guid" and len(data) == 16:
            return str(UUID(bytes_le=data))
        if how == "hex" or len(data) > 8:
            return hexed(data)
        return f"{int.from_bytes(data, self.order):#x}" if data else ""


def hexed(data: bytes) -> str:
    """Bytes in hex; of many the first ones and how many there are."""
    return data.hex() if len(data) <= _MOST_HEX else f"{data[:_MOST_HEX].hex()}… ({sized(len(data))})"


def first_different(one: bytes, two: bytes) -> int:
    """The offset of the first byte that differs, or at which the shorter ends. They must not be equal."""
    step = 4096
    for begin in range(0, min(len(one), len(two)), step):
        left, right = one[begin : begin + step], two[begin : begin + step]
        if left != right:
            different = (i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b)
            return begin + next(different, min(len(left), len(right)))
    return min(len(one), len(two))


def stretch(one: bytes, two: bytes) -> tuple[str, str]:
    """Both from the first different byte on, a few bytes of them in hex, with their offset."""
    at = first_different(one, two)
    return both(
        lambda data: f"{hexed(data[at : at + 16])} at {at:#x}" if at < len(data) else f"ends at {at:#x}", one, two
    )
