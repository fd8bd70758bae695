"""What changed between two locks: the packages, and all of it as Markdown for whoever reviews the new one. Pure.

Versions and scripts are a stranger's text: names and versions have passed the lock's own grammar, scripts stand in
fences that they cannot end, with every character shown that a screen would hide.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pluto_image.difference import lines
from pluto_image.lock.lockfile import Lock, Package, script_changes
from pluto_measure.wording import counted

# (package, script) → text of the script.
Scripts = Mapping[tuple[str, str], bytes]

LARGEST: Final = 60_000  # characters; the text of a pull request may have 65536
_LARGEST_SCRIPT: Final = 12_000
_NOTHING: Final = "–"
_CUT: Final = "**Cut here, since more changed than fits. `git diff` on lock.json shows every package and script.**\n"


@dataclass(frozen=True, slots=True)
class Moved:
    """A package whose version differs between two locks; an empty text stands for "not there"."""

    name: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.name} {self.old or '(new)'} -> {self.new or '(gone)'}"


def moved(old: Lock, new: Lock) -> tuple[Moved, ...]:
    """Packages that differ between two locks, by tree and name."""
    found = []
    for before, after in ((old.image, new.image), (old.tools, new.tools)):
        left, right = ({one.name: one for one in packages} for packages in (before, after))
        for name in sorted({*left, *right}):
            if name not in left or name not in right or left[name].sha256 != right[name].sha256:
                versions = (tree[name].version if name in tree else "" for tree in (left, right))
                found.append(Moved(name, *versions))
    return tuple(dict.fromkeys(found))


def markdown(old: Lock | None, new: Lock, before: Scripts, after: Scripts, *, limit: int = LARGEST) -> str:
    """The text, of at most `limit` characters. Scripts come last and are cut first.

    `before` and `after`: the texts of the maintainer scripts that changed, as far as they could be had.
    """
    columns = ("package", "before", "now", "source")
    parts = [
        _table("Packages of the image", columns, _packages(old.image if old else (), new.image)),
        _table("Packages of the tools tree", columns, _packages(old.tools if old else (), new.tools)),
        _table("Archives", ("archive", "before", "now"), _dates(old, new)),
        _sizes(old, new),
        *(_scripts(old, new, before, after) if old else ()),
    ]
    if old == new:
        return "# Lock\n\nNothing changed.\n"
    text = "# Lock\n"
    for part in filter(None, parts):
        if len(text) + len(part) + len(_CUT) + 2 > limit:
            return f"{text}\n{_CUT}"
        text += f"\n{part}"
    return text


def _table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    top = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return "\n".join([f"## {title}: {counted(len(lines), 'change')}", "", *top, *lines, ""]) if lines else ""


def _packages(old: Sequence[Package], new: Sequence[Package]) -> Iterator[tuple[str, str, str, str]]:
    before, now = ({one.name: one for one in packages} for packages in (old, new))
    for name in sorted({*before, *now}):
        pair = (before.get(name), now.get(name))
        if pair[0] is None or pair[1] is None or pair[0].sha256 != pair[1].sha256:
            left, right = (_NOTHING if one is None else one.version for one in pair)
            source = next(f"{one.source} {one.source_version} ({one.archive})" for one in reversed(pair) if one)
            yield name, left, right, source


def _dates(old: Lock | None, new: Lock) -> Iterator[tuple[str, str, str]]:
    dates = {one.id: one.date for one in old.archives} if old else {}
    for one in new.archives:
        if dates.get(one.id) != one.date:
            yield one.id, dates.get(one.id, _NOTHING), one.date


def _sizes(old: Lock | None, new: Lock) -> str:
    image, tools = (sum(one.size for one in packages) for packages in (new.image, new.tools))
    change = f" ({image - sum(one.size for one in old.image):+d})" if old else ""
    counts = counted(len(new.image), "package"), counted(len(new.tools), "package")
    return f"The image has {counts[0]}, {image} bytes{change}; the tools tree {counts[1]}, {tools} bytes.\n"


def _scripts(old: Lock, new: Lock, before: Scripts, after: Scripts) -> Iterator[str]:
    changes = script_changes(old.image, new.image)
    if changes:
        yield (
            f"## Maintainer scripts: {counted(len(changes), 'change')}\n\n"
            "None of them ever runs. Read each: must the recipe do something else now?\n"
        )
    known = [{(one.name, kind) for one in lock.image for kind in one.scripts} for lock in (old, new)]
    for key in changes:
        what = "new" if key not in known[0] else "gone" if key not in known[1] else "changed"
        if key in known[0] and key not in before:
            what += "; the old text could not be had"
        text = "\n".join(("--- before", "+++ now", *lines.unified(before.get(key), after.get(key))))
        if len(text) > _LARGEST_SCRIPT:
            text = f"{text[:_LARGEST_SCRIPT]}\n(cut; {len(text)} characters in all)"
        fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
        yield f"### {' '.join(key)}: {what}\n\n{fence}diff\n{text}\n{fence}\n"
