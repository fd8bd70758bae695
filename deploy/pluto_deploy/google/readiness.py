"""Waits until a machine says on its serial line that it is ready. Of a cloud's machine nothing else can be heard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pluto_deploy.cloud.door import CloudError, Waiting
from pluto_deploy.google.machines import OFF
from pluto_deploy.local import console
from pluto_measure.errors import SourceError
from pluto_measure.progress import Progress
from pluto_notary.events import Event

_PAUSE: Final = 2.0
_KEPT: Final = 1 << 20  # bytes of a serial line that are kept in memory
_NOT_YET: Final = (400, 404, 503)  # of a serial line that is not there yet


def wait_ready(
    slot: str,
    serial: Callable[[int], tuple[bytes, int]],
    status: Callable[[], str],
    *,
    mark: int,
    seconds: float,
    waiting: Waiting,
    progress: Progress,
) -> None:
    """Return when it is ready. `serial`: what was said from a byte on, and where to go on; `mark`: what was said before

    it was started. SourceError for a machine that ended, or was not ready in time, with its last words.
    """
    deadline, told, log, position = waiting.clock() + seconds, 0, b"", mark
    while True:
        running = status()
        said, position = _more(serial, position)
        log = (log + said)[-_KEPT:]
        heard = console.read(log)
        for one in heard[told:]:
            progress.step(f"machine {slot}: {one if isinstance(one, str) else _words(one)}")
        told = len(heard)
        if any(isinstance(one, Event) and one.name == "ready" for one in heard):
            return
        if running == OFF:
            raise SourceError(f"machine {slot} ended before it was ready: {last_words(log)}")
        if waiting.clock() > deadline:
            raise SourceError(f"machine {slot} was not ready after {seconds:.0f} s: {last_words(log)}")
        waiting.sleep(_PAUSE)


def last_words(log: bytes) -> str:
    """The end of what a machine said, fit to be shown."""
    return "; ".join(console.printable(log, 3)) or "it said nothing"


def _more(serial: Callable[[int], tuple[bytes, int]], position: int) -> tuple[bytes, int]:
    """What is new. A line that begins anew with its machine is read from its beginning."""
    try:
        said, after = serial(position)
        if not said and position:
            begun, end = serial(0)
            return (begun, end) if end < position else (b"", position)
    except CloudError as error:
        if error.status not in _NOT_YET:
            raise
        return b"", position
    return said, after


def _words(one: object) -> str:
    return one.to_line().removeprefix("pluto: ") if isinstance(one, Event) else "a line that only looks like an event"
