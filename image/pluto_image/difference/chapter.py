"""A chapter of an outline, and how its tables spell what was and what is. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

T = TypeVar("T")
NONE: Final = "–"
PAIR: Final = ("what:name", "before:digest", "now:digest")


@dataclass(frozen=True, slots=True)
class Table:
    """`columns`: title and kind of each: name, text, digest (a long one may be cut) or number."""

    caption: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Block:
    """Lines of a text that differ, as `diff -u` marks them; `note` is said where there are none."""

    title: str
    lines: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Chapter:
    """`id` for links; `says` one sentence."""

    id: str
    title: str
    says: str
    tables: tuple[Table, ...]
    blocks: tuple[Block, ...] = ()


def kind_of(before: object, after: object) -> str:
    return "added" if before is None else "removed" if after is None else "changed"


def pair(show: Callable[[T], str], before: T | None, after: T | None) -> str:
    shown = [NONE if state is None else show(state) for state in (before, after)]
    return shown[1] if shown[0] == shown[1] else f"{shown[0]} → {shown[1]}"


def table_of(caption: str, columns: Sequence[str], rows: tuple[tuple[str, ...], ...]) -> Table:
    split = tuple((title, kind) for title, _, kind in (one.rpartition(":") for one in columns))
    return Table(caption, split, rows)
