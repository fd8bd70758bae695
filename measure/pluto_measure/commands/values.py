"""Values on the command line: what is wrong with one is a mistake of the caller's, named by its option."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from pluto_measure.errors import FormatError, UsageError
from pluto_measure.evidence import parse_time

T = TypeVar("T")


def argument(name: str, parse: Callable[[str], T], value: str) -> T:
    """`value` parsed. UsageError that names the option."""
    try:
        return parse(value)
    except FormatError as error:
        raise UsageError(f"{name}: {error.problem}") from error


def time_or_now(name: str, value: str | None) -> datetime:
    """A time such as 2026-11-20T12:00:00Z, in UTC; now where none is given. UsageError."""
    return datetime.now(UTC) if value is None else argument(name, lambda text: parse_time(text, what="time"), value)
