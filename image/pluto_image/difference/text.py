"""The difference of two releases for a terminal. Pure. Long digests and long tables are cut; JSON has all of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pluto_image.difference.chapter import Block, Chapter, Table
from pluto_image.difference.model import Difference
from pluto_image.difference.outline import chapters, headline, identities
from pluto_image.rebuild.explain.difference import printable
from pluto_measure.wording import counted

_MOST_ROWS: Final = 40  # of one table
_MOST_LINES: Final = 40  # of one text that differs
_MOST_BLOCKS: Final = 12
_WIDEST: Final = 60  # characters of a cell that others are aligned behind
_DIGEST: Final = 24  # characters of a digest that are told
_LONGEST: Final = 1000  # characters of any cell
_FILES: Final = "files"  # whose lines are left to the page: they are many, and most stand in a repository


def text(found: Difference, before: str, after: str) -> str:
    """All of it. `before`, `after`: what the two folders are called."""
    lines = [f"{printable(before)} → {printable(after)}: {headline(found)}"]
    for one in identities(found):
        left, right = printable(one.before or ""), printable(one.after or "")
        lines.append(f"  {one.name:<12} {left}" if left == right else f"  {one.name:<12} {left} → {right}")
    if not found.equal:
        for chapter in chapters(found):
            lines += ["", f"{chapter.title}: {chapter.says}", *_chapter(chapter)]
    return "\n".join(lines) + "\n"


def _chapter(chapter: Chapter) -> Iterator[str]:
    for table in chapter.tables:
        if len(chapter.tables) > 1:
            yield f"  {printable(table.caption)}"
        yield from _table(table)
    shown = () if chapter.id == _FILES else chapter.blocks[:_MOST_BLOCKS]
    for block in shown:
        yield from _block(block)
    if left := len(chapter.blocks) - len(shown):
        yield f"  lines of {counted(left, 'text')} are not shown here; --html and --json have them"


def _table(table: Table) -> Iterator[str]:
    kinds = [kind for _, kind in table.columns]
    rows = [[title for title, _ in table.columns]]
    rows += [[_cell(cell, kind) for cell, kind in zip(row, kinds, strict=True)] for row in table.rows[:_MOST_ROWS]]
    widths = [min(max(len(row[at]) for row in rows), _WIDEST) for at in range(len(kinds))]
    for row in rows:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    if (left := len(table.rows) - _MOST_ROWS) > 0:
        yield f"  and {left} more; --json has them"


def _cell(cell: str, kind: str) -> str:
    shown = printable(cell, _LONGEST)
    return f"{shown[:_DIGEST]}…" if kind == "digest" and len(shown) > _DIGEST + 8 else shown


def _block(block: Block) -> Iterator[str]:
    yield f"  {printable(block.title)}"
    if block.note:
        yield f"    {block.note}"
    yield from (f"    {printable(line, 400)}" for line in block.lines[:_MOST_LINES])
    if (left := len(block.lines) - _MOST_LINES) > 0:
        yield f"    and {left} more lines; --json has them"
