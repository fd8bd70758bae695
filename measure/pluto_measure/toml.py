"""TOML text to a table, bounded. Pure; FormatError and nothing else."""

from __future__ import annotations

import tomllib
from typing import Any, Final

from pluto_measure.errors import FormatError

LIMIT: Final = 1024 * 1024  # bytes


def table(text: bytes | str, *, what: str) -> dict[str, Any]:
    """A TOML document's table."""
    if len(text) > LIMIT:
        raise FormatError(what, f"{len(text)} bytes are more than {LIMIT}")
    try:
        return tomllib.loads(text.decode() if isinstance(text, bytes) else text)
    except (ValueError, RecursionError) as error:
        raise FormatError(what, f"not TOML: {error}") from error
