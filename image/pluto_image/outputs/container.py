"""Which entries of the finished root are the container, and whether they can stand alone. Pure.

The same files as in the machine: nothing is added, and what is left out is said by [container] of image.toml.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pluto_image.lint.tree import dangling, libraries, resolve
from pluto_image.recipe.model import Container
from pluto_image.recipe.patterns import Selection
from pluto_image.tree import Entry, Kind
from pluto_measure.errors import FormatError

_TABLE: Final = "image.toml [container]"
_MOST_LINKS: Final = 20


def select(container: Container, entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """The kept entries of a complete root with their parents, sorted by the bytes of the path.

    FormatError if a pattern matches nothing, a kept link leads nowhere, a kept program needs a library that is not
    kept, or the entry point is no program.
    """
    selection = Selection(tuple(dict.fromkeys(path for keep in container.keep for path in keep.paths)))
    wanted = {entry.path for entry in entries if selection.wants(entry.path)}
    if unused := selection.unused():
        raise FormatError(_TABLE, f"pattern {unused[0]!r} matches nothing")
    wanted |= {parent for path in wanted for parent in _parents(path)}
    kept = sorted((entry for entry in entries if entry.path in wanted), key=lambda entry: entry.path.encode())
    for problem in _problems(container, {entry.path: entry for entry in kept}):
        raise FormatError(_TABLE, problem)
    return tuple(kept)


def _parents(path: str) -> Iterator[str]:
    while path := path.rpartition("/")[0]:
        yield path


def _problems(container: Container, by_path: Mapping[str, Entry]) -> Iterator[str]:
    for entry in by_path.values():
        if entry.kind is Kind.SYMLINK and (target := dangling(entry, by_path)):
            yield f"{entry.path} links to {target}, which is not kept"
    for problem in libraries(by_path):
        yield problem.replace("is not in the image", "is not kept")
    program = container.entrypoint[0]
    found = _followed(program, by_path)
    if found is None or found.kind is not Kind.FILE or not found.mode & 0o111:
        yield f"the entry point {program} is no program that is kept"


def _followed(path: str, by_path: Mapping[str, Entry]) -> Entry | None:
    """What an absolute path leads to, links followed."""
    for _ in range(_MOST_LINKS):
        entry = by_path.get(resolve(posixpath.normpath(path).lstrip("/"), by_path))
        if entry is None or entry.kind is not Kind.SYMLINK:
            return entry
        path = posixpath.join("/", posixpath.dirname(entry.path), entry.data.decode(errors="replace"))
    return None
