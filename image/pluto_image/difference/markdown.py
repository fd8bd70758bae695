"""The difference of two releases as Markdown: the text of the pull request that takes a new lock. Pure.

Names, versions and paths are a stranger's text, so they stand in code spans that they cannot end, everything else is
escaped, and texts stand in fences. Tables come first, the scripts' texts behind them, then all other texts: what does
not fit is cut there, and the text says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from pluto_image.difference.chapter import Block, Chapter, Table
from pluto_image.difference.model import Difference
from pluto_image.difference.outline import chapters, headline, identities
from pluto_image.rebuild.explain.difference import printable

LARGEST: Final = 60_000  # characters; the text of a pull request may have 65536
_MOST_ROWS: Final = 50  # of one table
_LARGEST_BLOCK: Final = 12_000
_DIGEST: Final = 16
_SCRIPTS: Final = "scripts"
_CUT: Final = "**Cut here, since more changed than fits. `pluto-image diff A B --json` has all of it.**\n"
_ESCAPED: Final = str.maketrans(
    {**{char: f"\\{char}" for char in "\\`*_[]|~"}, "<": "&lt;", ">": "&gt;", "&": "&amp;", "@": "&#64;", "#": "&#35;"}
)


def markdown(found: Difference, *, limit: int = LARGEST) -> str:
    """The text, of at most `limit` characters."""
    written = f"# Release\n\n{escaped(_sentence(found))}\n"
    if found.equal:
        return written
    listed = chapters(found)
    first = [one for one in listed if one.id == _SCRIPTS]
    parts = [_identity(found), *(_tables(one) for one in listed)]
    parts += [_block(one, block) for one in (*first, *(x for x in listed if x not in first)) for block in one.blocks]
    for part in parts:
        if len(written) + len(part) + len(_CUT) + 2 > limit:
            return f"{written}\n{_CUT}"
        written += f"\n{part}"
    return written


def escaped(text: str) -> str:
    """A sentence in which nothing is markup, a link, or the name of somebody."""
    return printable(text, 1000).translate(_ESCAPED).replace("://", "&#58;//").replace("www.", "www&#46;")


def code(text: str) -> str:
    """A code span, which the text cannot end; in a table a bar would end the cell."""
    shown = printable(text).replace("|", "\\|")
    runs = [len(run) for run in re.findall("`+", shown)]
    fence = "`" * (max(runs, default=0) + 1)
    pad = " " if shown.startswith("`") or shown.endswith("`") or not shown.strip() else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def _sentence(found: Difference) -> str:
    line = headline(found)
    return f"{line[0].upper()}{line[1:]}."


def _identity(found: Difference) -> str:
    rows = [
        f"| {one.name} | {code(one.before or '')} | {code(one.after or '')} |"
        for one in identities(found)
        if one.before != one.after
    ]
    return "\n".join(["| | before | now |", "|---|---|---|", *rows, ""])


def _tables(chapter: Chapter) -> str:
    return "\n".join([f"## {chapter.title}", "", escaped(chapter.says), "", *_rows(chapter)])


def _rows(chapter: Chapter) -> Iterator[str]:
    for table in chapter.tables:
        if len(chapter.tables) > 1:
            yield from (f"**{escaped(table.caption)}**", "")
        yield f"| {' | '.join(title for title, _ in table.columns)} |"
        yield "|" + "---|" * len(table.columns)
        yield from (_row(table, row) for row in table.rows[:_MOST_ROWS])
        yield ""
        if (left := len(table.rows) - _MOST_ROWS) > 0:
            yield from (f"And {left} more.", "")


def _row(table: Table, row: tuple[str, ...]) -> str:
    cells = []
    for cell, (_, kind) in zip(row, table.columns, strict=True):
        shown = f"{cell[:_DIGEST]}…" if kind == "digest" and len(cell) > _DIGEST + 8 else cell
        cells.append(code(shown) if kind in ("name", "digest") and shown else escaped(shown))
    return f"| {' | '.join(cells)} |"


def _block(chapter: Chapter, block: Block) -> str:
    title = f"### {chapter.title}: {escaped(block.title)}"
    if block.note:
        return f"{title}\n\n{block.note}\n"
    text = "\n".join(block.lines)
    if len(text) > _LARGEST_BLOCK:
        text = f"{text[:_LARGEST_BLOCK]}\n(cut; {len(text)} characters in all)"
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
    return f"{title}\n\n{fence}diff\n{text}\n{fence}\n"
