"""Runs a job of pyinfra's in a process of its own and brings back what came of it. Here nothing of pyinfra is imported.

Parameters travel by the worker's stdin, never in argv, so that secrets may be among them.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Final

from pluto_deploy.metal.login import Login
from pluto_measure.errors import FormatError, SourceError
from pluto_measure.formats.strict_json import Fields, loads
from pluto_measure.progress import Progress

PROGRAM: Final = (sys.executable, "-m", "pluto_deploy.metal.worker")
_LAST_WORDS: Final = 20  # lines of stderr that are kept
_WHAT: Final = "pyinfra's result"


@dataclass(frozen=True, slots=True)
class Job:
    """`name`: one of `jobs.JOBS`. `plan`: only say which operations would change something."""

    name: str
    parameters: Mapping[str, object] = field(default_factory=dict, repr=False)
    plan: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation that ended well. `changed`: it did something; with `plan`, it would."""

    name: str
    changed: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """Every operation in its order, and what the job found out."""

    operations: tuple[Operation, ...]
    facts: Mapping[str, object]

    @property
    def changed(self) -> tuple[str, ...]:
        """The names of operations that changed something."""
        return tuple(one.name for one in self.operations if one.changed)


def run(job: Job, login: Login, progress: Progress, *, program: Sequence[str] = PROGRAM) -> Outcome:
    """Do the job on a host. SourceError with the reason: no connection, another key, an operation, the process."""
    ask = {"login": _login(login), "job": job.name, "parameters": dict(job.parameters), "plan": job.plan}
    with (
        tempfile.TemporaryFile() as answer,
        subprocess.Popen(
            program,
            stdin=subprocess.PIPE,
            stdout=answer,
            stderr=subprocess.PIPE,
            start_new_session=True,  # without a terminal, so that no library asks for a password there
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stderr is not None
        try:
            with contextlib.suppress(BrokenPipeError):  # its words and its code say why it ended
                process.stdin.write(json.dumps(ask).encode() + b"\n")
                process.stdin.flush()
            words = _listen(process.stderr, progress)
            code = process.wait()
        finally:
            process.kill()
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        answer.seek(0)
        text = answer.read()
    if code or not text:
        raise SourceError(f"{login}: {_death(code, words)}")
    return _outcome(text, login)


def _login(login: Login) -> dict[str, object]:
    return {
        "host": login.host,
        "user": login.user,
        "port": login.port,
        "key": None if login.key is None else str(login.key.absolute()),
        "knownHosts": None if login.known_hosts is None else str(login.known_hosts.absolute()),
    }


def _listen(stream: IO[bytes], progress: Progress) -> list[str]:
    """Pass progress on until the process ends; returns its last other words."""
    words: deque[str] = deque(maxlen=_LAST_WORDS)
    for line in stream:
        text = line.decode(errors="replace").strip()
        try:
            told = json.loads(text)
        except ValueError:
            told = None
        if isinstance(told, dict) and isinstance(told.get("doing"), str):
            progress.doing(told["doing"])
        elif isinstance(told, dict) and isinstance(told.get("step"), str):
            progress.step(told["step"])
        elif text:
            words.append(text)
    return list(words)


def _death(code: int, words: Sequence[str]) -> str:
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"pyinfra's process was ended by {signal.Signals(-code).name}"
    said = f": {words[-1][:300]}" if words else ""
    return f"pyinfra's process ended with {code} and no result{said}"


def _outcome(text: bytes, login: Login) -> Outcome:
    try:
        fields = Fields(loads(text, what=_WHAT), what=_WHAT)
        operations = tuple(_operations(fields.take("operations", list)))
        facts, error = fields.take("facts", dict), fields.take("error", str, type(None))
        fields.end()
    except FormatError as problem:
        raise SourceError(f"{login}: {problem}") from problem
    if error is not None:
        raise SourceError(f"{login}: {error}")
    return Outcome(operations, facts)


def _operations(values: Iterable[object]) -> Iterable[Operation]:
    for value in values:
        fields = Fields(value, what=f"{_WHAT}.operations")
        yield Operation(fields.take("name", str), fields.take("changed", bool))
        fields.end()
