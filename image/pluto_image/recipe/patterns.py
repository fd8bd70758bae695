"""Path patterns of the recipe: `*` and `?` stay within one path component, `**` crosses components. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from pluto_measure.errors import FormatError


@lru_cache(maxsize=4096)
def compiled(pattern: str) -> re.Pattern[str]:
    """The pattern as a regular expression over whole relative paths. FormatError for a pattern that cannot match."""
    if not pattern or pattern.startswith("/") or ".." in pattern.split("/"):
        raise FormatError("pattern", f"{pattern!r} is not a relative path pattern")
    parts = re.split(r"(\*\*|\*|\?)", pattern)
    meaning = {"**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(meaning.get(part) or re.escape(part) for part in parts))


def matches(pattern: str, path: str) -> bool:
    """Whether the whole path follows the pattern."""
    return compiled(pattern).fullmatch(path) is not None


class Selection:
    """Says which paths are wanted, and afterwards which patterns found nothing."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = tuple(patterns)
        self._unused = set(patterns)
        # One expression for the common answer "no"; a builder asks this for every path of every package.
        joined = "|".join(f"(?:{compiled(pattern).pattern})" for pattern in patterns)
        self._any = re.compile(joined) if patterns else None

    def wants(self, path: str) -> bool:
        """Whether any pattern matches; remembers those that did."""
        if self._any is None or self._any.fullmatch(path) is None:
            return False
        if self._unused:
            self._unused -= {pattern for pattern in self._unused if matches(pattern, path)}
        return True

    def unused(self) -> tuple[str, ...]:
        """Patterns that matched no path so far, in the order of the recipe."""
        return tuple(pattern for pattern in self._patterns if pattern in self._unused)


def select(patterns: Sequence[str], paths: Iterable[str], *, what: str) -> tuple[str, ...]:
    """The matching paths, sorted. FormatError if a pattern matches nothing, for it would hide a mistake."""
    selection = Selection(patterns)
    found = tuple(sorted(path for path in paths if selection.wants(path)))
    if unused := selection.unused():
        raise FormatError(what, f"pattern {unused[0]!r} matches nothing")
    return found
