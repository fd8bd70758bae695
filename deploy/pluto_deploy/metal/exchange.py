"""Talks to a program of this computer over its input and output, with bounds on all that it says and how long it takes.

What is at the other end, a host over `ssh`, is not trusted: it must neither fill our memory nor keep us waiting.
"""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Final

_PIECE: Final = 1 << 16
_END_SECONDS: Final = 10.0  # for a program that closed its output to end, too
ERRORS: Final = 1 << 20  # bytes of stderr that are kept; what comes after is read and dropped


class TooSlowError(Exception):
    """Time ran out; the program was killed."""


class TooMuchError(Exception):
    """It said more than it may; the program was killed."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a program said, and its exit code."""

    code: int
    output: bytes
    errors: bytes


@dataclass(frozen=True, slots=True)
class Bounds:
    """`output`: bytes of stdout; `total`: seconds for all of it, None without end; `idle`: seconds without a byte."""

    output: int
    total: float | None
    idle: float


@dataclass(slots=True)
class _Heard:
    output: bytearray = field(default_factory=bytearray)
    errors: bytearray = field(default_factory=bytearray)


def exchange(argv: Sequence[str], pieces: Iterable[bytes], bounds: Bounds) -> Said:
    """Run `argv` with `pieces` as its input, one at a time. TooSlowError, TooMuchError, FileNotFoundError.

    What `pieces` raises is raised, after the program was killed.
    """
    pipe = subprocess.PIPE
    process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    ended = False
    try:
        heard = _talk(process.stdin, process.stdout, process.stderr, iter(pieces), bounds)
        code = _code(process)
        ended = True
    finally:
        if not ended:
            process.kill()
        for stream in (process.stdin, process.stdout, process.stderr):
            _close(stream)  # not waited for: whoever serves the connection holds copies of them
        process.wait()
    return Said(code, bytes(heard.output), bytes(heard.errors))


def _code(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise TooSlowError from error


def _talk(to: IO[bytes], output: IO[bytes], errors: IO[bytes], pieces: Iterator[bytes], bounds: Bounds) -> _Heard:
    """Until both outputs are at their end."""
    heard, waiting = _Heard(), memoryview(b"")
    limit = None if bounds.total is None else time.monotonic() + bounds.total
    os.set_blocking(to.fileno(), False)
    with selectors.DefaultSelector() as selector:
        selector.register(to, selectors.EVENT_WRITE)
        selector.register(output, selectors.EVENT_READ)
        selector.register(errors, selectors.EVENT_READ)
        reading = 2
        while reading:
            left = bounds.idle if limit is None else min(bounds.idle, limit - time.monotonic())
            ready = selector.select(left) if left > 0 else []
            if not ready:
                raise TooSlowError
            for key, _ in ready:
                if key.fileobj is to:
                    sent = _sent(to, waiting or _next(pieces))
                    if sent is None:
                        selector.unregister(to)
                        _close(to)
                    else:
                        waiting = sent
                elif not _read(key.fd, heard, bounds.output, errors=key.fileobj is errors):
                    selector.unregister(key.fileobj)
                    reading -= 1
    return heard


def _next(pieces: Iterator[bytes]) -> memoryview | None:
    """The next piece that is not empty; None where there is none left."""
    return next((memoryview(piece) for piece in pieces if piece), None)


def _sent(to: IO[bytes], waiting: memoryview | None) -> memoryview | None:
    """What is left to send of a piece; None where no more can be sent."""
    if waiting is None:
        return None
    try:
        return waiting[os.write(to.fileno(), waiting) :]
    except BlockingIOError:
        return waiting
    except BrokenPipeError:
        return None  # what ended it is in its words and code


def _read(descriptor: int, heard: _Heard, most: int, *, errors: bool) -> bool:
    """Whether there may be more. TooMuchError."""
    data = os.read(descriptor, _PIECE)
    if errors:
        heard.errors += data[: ERRORS - len(heard.errors)]
    else:
        heard.output += data
        if len(heard.output) > most:
            raise TooMuchError
    return bool(data)


def _close(stream: IO[bytes]) -> None:
    try:
        stream.close()
    except BrokenPipeError:
        return
