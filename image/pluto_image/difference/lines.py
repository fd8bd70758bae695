"""Two texts of strangers, line by line: the difference as people read it, with nothing hidden. Pure."""

from __future__ import annotations

import difflib
from typing import Final

_LARGEST: Final = 64 * 1024  # bytes of a text that is compared by line
_MOST_LINES: Final = 3000  # of both together: an alignment costs more than its length
_MOST_ALIGNED: Final = 20_000  # the same, of what has to be shown however long it is
MOST_TEXTS: Final = 300  # files of one release whose lines are compared: each costs time, and they may be a stranger's
_MOST_SHOWN: Final = 400  # lines of one difference


def shown(data: bytes | None) -> list[str]:
    """The lines of a text; a character that would not show is spelled out, and so is a missing line feed."""
    text = (data or b"").decode("utf-8", "backslashreplace")
    spelled = (char if char.isprintable() or char in "\t\n" else f"\\u{ord(char):04x}" for char in text)
    *lines, rest = "".join(spelled).split("\n")
    return [*lines, rest, "(no line feed at the end)"] if rest else lines


def unified(before: bytes | None, after: bytes | None, *, context: int = 2) -> tuple[str, ...]:
    """The unified difference without its two heading lines; None for a text that is not there. Empty where equal.

    Texts of more than 20 000 lines are not aligned: all of the one is removed, and all of the other added.
    """
    one, two = shown(before), shown(after)
    if len(one) + len(two) > _MOST_ALIGNED and one != two:
        return ("@@ too long to be aligned @@", *(f"-{line}" for line in one), *(f"+{line}" for line in two))
    found = difflib.unified_diff(one, two, "before", "now", n=context, lineterm="")
    return tuple(found)[2:]


def of_texts(before: bytes | None, after: bytes | None) -> tuple[str, ...]:
    """The same of two files, if both are short texts; nothing otherwise, and never more than 400 lines."""
    given = [data for data in (before, after) if data is not None]
    if any(len(data) > _LARGEST or not _is_text(data) for data in given):
        return ()
    if sum(data.count(b"\n") for data in given) > _MOST_LINES:
        return ()
    found = unified(before, after)
    left = len(found) - _MOST_SHOWN
    return found if left <= 0 else (*found[:_MOST_SHOWN], f"(cut; {left} more lines)")


def _is_text(data: bytes) -> bool:
    try:
        return b"\0" not in data and bool(data.decode())
    except UnicodeDecodeError:
        return False
