"""A difference between a published and a rebuilt file, in words. Pure; values are cut to what a person reads.

Published bytes are a stranger's: nothing of them reaches a terminal but printable characters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final, TypeVar

T = TypeVar("T")
_LONGEST: Final = 200  # characters of one value
_LONGEST_SENTENCE: Final = 600  # characters of a place or a meaning, which may hold several values
MOST: Final = 20  # differences of one file that are put into words
_MOST_FOLLOWING: Final = 2  # that people are told of those that follow from others
_MOST_COUNTED: Final = 10_000


@dataclass(frozen=True, slots=True)
class Difference:
    """`where`: the place in the file; `published`, `rebuilt`: what stands there, "" for nothing; `meaning`: words.

    `follows`: a digest or the like, which differs because what it is of does; it is told last.
    """

    file: str
    where: str
    published: str
    rebuilt: str
    meaning: str
    follows: bool = False

    def __post_init__(self) -> None:
        for name in ("where", "published", "rebuilt", "meaning"):
            object.__setattr__(self, name, printable(getattr(self, name), _LONGEST_SENTENCE))

    def to_json(self) -> dict[str, object]:
        return {
            "file": printable(self.file),
            "where": self.where,
            "published": self.published,
            "rebuilt": self.rebuilt,
            "meaning": self.meaning,
            "follows": self.follows,
        }

    def to_text(self) -> str:
        """Indented lines: place and meaning, then both values where there are any."""
        lines = [f"  {self.where}: {self.meaning}" if self.where else f"  {self.meaning}"]
        for name, value in (("published", self.published), ("rebuilt", self.rebuilt)):
            if self.published or self.rebuilt:
                lines.append(f"    {name:<9}  {value or '-'}")
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class Explained:
    """The differences of one file, the telling ones first; `more` are left out."""

    file: str
    differences: tuple[Difference, ...]
    more: int = 0

    @classmethod
    def of(cls, file: str, found: Iterable[Difference], most: int = MOST) -> Explained:
        """At most `most` of them; the rest is counted, up to 10 000."""
        kept = sorted(islice(found, _MOST_COUNTED), key=lambda one: one.follows)
        return cls(file, tuple(kept[:most]), max(len(kept) - most, 0))

    @property
    def telling(self) -> bool:
        """Whether there is more to tell than digests of something else."""
        return any(not one.follows for one in self.differences)

    def to_text(self) -> str:
        """The file's name, its differences, and how many are not told."""
        told = [one for one in self.differences if not one.follows]
        told += self.differences[len(told) : len(told) + _MOST_FOLLOWING]
        left = len(self.differences) - len(told) + self.more
        rest = f"  and {left} more\n" if left else ""
        return f"{printable(self.file)}\n" + "".join(one.to_text() for one in told) + rest


def report(explained: Sequence[Explained]) -> str:
    """All of it for people. Files that differ by digests alone are only named if another file says why."""
    telling = [one for one in explained if one.telling]
    if not telling:
        return "".join(one.to_text() for one in explained)
    others = [f"{printable(one.file)} ({len(one.differences) + one.more})" for one in explained if not one.telling]
    rest = f"differing by digests alone: {', '.join(others)}\n" if others else ""
    return "".join(one.to_text() for one in telling) + rest


def within(found: Iterable[Difference], file: str, place: str) -> Iterable[Difference]:
    """The same differences, of something that lies at a place in another file."""
    return (replace(one, file=file, where=f"{place}: {one.where}" if one.where else place) for one in found)


def printable(value: object, longest: int = _LONGEST) -> str:
    """A value as one printable line of bounded length."""
    whole = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    line = whole[:longest]
    if not line.isprintable():
        line = "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in line)
    return line if len(whole) <= longest else f"{line}… ({len(whole)} characters)"


def both(show: Callable[[T], str], one: T | None, two: T | None) -> tuple[str, str]:
    """The published and the rebuilt value as text; "" for one that is not there."""
    return "" if one is None else show(one), "" if two is None else show(two)


def sized(size: int) -> str:
    """ "1 byte", "512 bytes"."""
    return "1 byte" if size == 1 else f"{size} bytes"
