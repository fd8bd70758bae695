"""Writes events, one `write` for each line, and no more of them than allowed. The only way to the serial line."""

from __future__ import annotations

import os

from pluto_notary.events import LIMITED, Event
from pluto_notary.limits import TokenBucket

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

_KMSG: Final = os.makedev(1, 11) if hasattr(os, "makedev") else -1
# Facility "daemon", level "alert": reaches the console whatever log level the command line sets.
_PRIORITY: Final = "<25>"


class EventWriter:
    """Takes events from one process. `write` gets whole lines; `clock` gives seconds and never goes back."""

    def __init__(self, write: Callable[[bytes], object], *, clock: Callable[[], float], prefix: str = "") -> None:
        self._write, self._clock, self._prefix = write, clock, prefix
        self._bucket = TokenBucket(rate=1.0, burst=20, now=clock())
        self._dropped = 0

    def emit(self, name: str, **values: str | int) -> None:
        """Write one event, or count it as dropped. FormatError for an event that the schema does not have."""
        event = Event.of(name, **values)
        if name in LIMITED and not self._bucket.take(self._clock()):
            self._dropped += 1
            return
        if self._dropped:
            self._line(Event.of("dropped", count=min(self._dropped, 10**9)))
            self._dropped = 0
        self._line(event)

    def _line(self, event: Event) -> None:
        self._write(f"{self._prefix}{event.to_line()}\n".encode())


def standard_output(clock: Callable[[], float]) -> EventWriter:
    """Events to file descriptor 1, which the units connect to the kernel's log and it to the serial console.

    The kernel serialises its own messages with ours, so that no line is torn; it wants a priority in front.
    """
    status = os.fstat(1)
    return EventWriter(_to_stdout, clock=clock, prefix=_PRIORITY if status.st_rdev == _KMSG else "")


def _to_stdout(line: bytes) -> None:
    try:
        os.write(1, line)
    except OSError:  # a console that is gone must not end the notary: a line informs, evidence proves
        return
