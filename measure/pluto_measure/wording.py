"""Words for people, wherever they are printed. Pure."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """ "1 file", "2 files": a number with a noun whose plural is regular."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def printable(text: str) -> str:
    """Words that others may have had a hand in, such as a host's, without what a terminal would obey."""
    return "".join(c if c.isprintable() or c == "\n" else "·" for c in text)
