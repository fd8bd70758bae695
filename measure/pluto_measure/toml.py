"""TOML text to a table, bounded. Pure; FormatError and nothing else."""

from __future__ import annotations

import tomllib
from typing import Any, Final

from pluto_measure.errors import FormatError

LIMIT: Final = 64 * 1024  # bytes
_MOST_DOTS: Final = 64  # in one line: the time that dotted keys take grows with the square of their length


def table(text: bytes | str, *, what: str) -> dict[str, Any]:
    """A TOML document's table."""
    if len(text) > LIMIT:
        raise FormatError(what, f"{len(text)} bytes are more than {LIMIT}")
    lines = text.split(b"\n") if isinstance(text, bytes) else text.split("\n")
    for number, line in enumerate(lines, 1):
        if (line.count(b".") if isinstance(line, bytes) else line.count(".")) > _MOST_DOTS:
            raise FormatError(what, f"line {number} has more than {_MOST_DOTS} dots")
    try:
        return tomllib.loads(text.decode() if isinstance(text, bytes) else text)
    except (ValueError, RecursionError) as error:
        raise FormatError(what, f"not TOML: {error}") from error
