"""Reads the serial log as it grows: events of the closed schema, and how far the boot has come.

The host and unverified code can write there what they like. Lines inform; only evidence proves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pluto_measure.errors import FormatError
from pluto_notary import events
from pluto_notary.events import Event

_CHUNK: Final = 1 << 16
_LONGEST: Final = 4096  # bytes of a line that are looked at
# What a boot passes, in order: words of the serial line → what they mean to people.
MILESTONES: Final = (
    (b"EFI stub:", "firmware done, kernel starts"),
    (b"Linux version", "kernel runs"),
    (b"systemd[1]", "system starts"),
)


@dataclass(frozen=True, slots=True)
class Malformed:
    """A line that claims to be an event and is none."""

    problem: str


Said = Event | Malformed | str  # str: a milestone


def decode(line: bytes) -> Said | None:
    """What one serial line says, None if nothing of interest. Pure."""
    text = line[:_LONGEST].rstrip(b"\r\n").decode("ascii", errors="replace")
    try:
        event = events.parse(text)
    except FormatError as error:
        return Malformed(str(error))
    if event is not None:
        return event
    return next((meaning for words, meaning in MILESTONES if words in line), None)


@dataclass(slots=True)
class Console:
    """Follows one serial log. Each milestone is told once."""

    path: Path
    _offset: int = 0
    _partial: bytes = b""
    _told: set[str] = field(default_factory=set)

    def poll(self) -> Iterator[Said]:
        """What was said since the last call; whole lines only."""
        for line in self._lines():
            said = decode(line)
            if isinstance(said, str):
                if said in self._told:
                    continue
                self._told.add(said)
            if said is not None:
                yield said

    def _lines(self) -> Iterator[bytes]:
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return
        with file:
            file.seek(self._offset)
            while data := file.read(_CHUNK):
                self._offset += len(data)
                *whole, rest = (self._partial + data).split(b"\n")
                self._partial = rest[-_LONGEST:]
                yield from whole


def tail(path: Path, lines: int) -> list[str]:
    """The last lines of a log, printable, for an error's hint; empty if there is no log."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _CHUNK))
            data = file.read()
    except FileNotFoundError:
        return []
    return printable(data, lines)


def printable(data: bytes, lines: int) -> list[str]:
    """The last lines of what somebody else wrote, fit to be shown. Pure."""
    text = data.decode("ascii", errors="replace")
    shown = ("".join(c if c.isprintable() else "·" for c in line)[:200] for line in text.splitlines())
    return [line for line in shown if line.strip()][-lines:]


def read(log: bytes) -> list[Said]:
    """What a whole log says; each milestone once, the first time. Pure."""
    heard: list[Said] = []
    told = set[str]()
    for line in log.split(b"\n"):
        said = decode(line)
        if said is None or (isinstance(said, str) and said in told):
            continue
        if isinstance(said, str):
            told.add(said)
        heard.append(said)
    return heard
