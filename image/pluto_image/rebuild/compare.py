"""Published files against rebuilt ones, every byte of them, without writing any. Pure.

Where neither file may hold other bytes than zero nothing is read: a disk is a GiB of which a few MiB are used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from pluto_image.rebuild.view import Extent, View, blocks

_SECTOR: Final = 512  # the grain of what is reported
_MOST_SPANS: Final = 256


class Verdict(Enum):
    """What became of one file."""

    EQUAL = "equal"
    DIFFERENT = "different"
    MISSING = "missing"  # a build makes it, the release does not have it
    EXTRA = "extra"  # no build makes it


@dataclass(frozen=True, slots=True)
class Spans:
    """Where two files differ: stretches of whole sectors, `first` the first byte; `more` stretches are not listed.

    Bytes that only one of the files has are not among them.
    """

    listed: tuple[Extent, ...]
    first: int | None
    more: int = 0


@dataclass(frozen=True, slots=True)
class Compared:
    """One file. Sizes in bytes; None where there is no such file. `spans` is empty unless it is different."""

    name: str
    verdict: Verdict
    published_size: int | None
    rebuilt_size: int | None
    spans: Spans


def compare(published: Mapping[str, View], rebuilt: Mapping[str, View]) -> tuple[Compared, ...]:
    """A verdict for every name on either side, sorted by name."""
    return tuple(
        _one(name, published.get(name), rebuilt.get(name)) for name in sorted({*published, *rebuilt}, key=str.encode)
    )


def spans(left: View, right: View) -> Spans:
    """Where two views differ, as far as both have bytes."""
    found: list[Extent] = []
    first: int | None = None
    more, until = 0, min(left.size, right.size)
    for begin, end in blocks(left, right, until=until):
        ours, theirs = left.fetch(begin, end - begin), right.fetch(begin, end - begin)
        if ours == theirs:
            continue
        for at in range(0, end - begin, _SECTOR):
            one, two = ours[at : at + _SECTOR], theirs[at : at + _SECTOR]
            if one == two:
                continue
            if first is None:
                first = begin + at + next(i for i, (a, b) in enumerate(zip(one, two, strict=True)) if a != b)
            span = begin + at, begin + at + len(one)
            if found and not more and found[-1][1] == span[0]:
                found[-1] = found[-1][0], span[1]
            elif len(found) < _MOST_SPANS:
                found.append(span)
            else:
                more += 1
    return Spans(tuple(found), first, more)


def same(left: View, right: View) -> bool:
    """Whether two views hold the same bytes."""
    return left.size == right.size and all(
        left.fetch(begin, end - begin) == right.fetch(begin, end - begin)
        for begin, end in blocks(left, right, until=left.size)
    )


def _one(name: str, published: View | None, rebuilt: View | None) -> Compared:
    nothing = Spans((), None)
    if published is None or rebuilt is None:
        verdict = Verdict.MISSING if published is None else Verdict.EXTRA
        sizes = (None if published is None else published.size, None if rebuilt is None else rebuilt.size)
        return Compared(name, verdict, *sizes, nothing)
    found = spans(published, rebuilt)
    equal = published.size == rebuilt.size and found.first is None
    verdict = Verdict.EQUAL if equal else Verdict.DIFFERENT
    return Compared(name, verdict, published.size, rebuilt.size, found)
