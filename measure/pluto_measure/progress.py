"""Progress on stderr: a live line on a terminal, one plain line per step elsewhere. Never on stdout."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

from pluto_measure.wording import printable


class Progress(Protocol):
    """Takes what has been reached. Words only; no secret may be among them."""

    def step(self, text: str) -> None:
        """Something was reached; `text` says what."""

    def doing(self, text: str) -> None:
        """Something begins that takes a while."""


class Silent:
    """No progress at all."""

    def step(self, text: str) -> None:
        del text

    def doing(self, text: str) -> None:
        del text


@contextmanager
def on_stderr() -> Iterator[Progress]:
    """Progress for people: rich on a terminal where it is installed, else plain lines."""
    start = time.monotonic()
    if sys.stderr is None:  # it was closed before we were started
        yield Silent()
        return
    if not sys.stderr.isatty():
        yield _Plain(start)
        return
    try:
        from rich.console import Console
    except ImportError:
        yield _Plain(start)
        return
    console = Console(stderr=True, highlight=False)
    with console.status("") as status:

        class Live:
            def step(self, text: str) -> None:
                console.print(_line(start, text), markup=False)

            def doing(self, text: str) -> None:
                status.update(printable(text).replace("[", "\\["))

        yield Live()


class _Plain:
    def __init__(self, start: float) -> None:
        self._start = start

    def step(self, text: str) -> None:
        with suppress(OSError):  # that nobody reads it any more is no reason to leave anything half done
            sys.stderr.write(_line(self._start, text) + "\n")
            sys.stderr.flush()

    def doing(self, text: str) -> None:
        del text  # the next step tells that it was done


def _line(start: float, text: str) -> str:
    return f"{time.monotonic() - start:6.1f} s  {printable(text)}"
