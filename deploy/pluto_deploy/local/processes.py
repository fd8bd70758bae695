"""Starts and ends the programs of the tools tree, detached from this process. Linux only; the only door to them.

A process is known by its id and its start time, because ids are used again.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from pluto_measure.errors import SourceError
from pluto_measure.formats.strict_json import Fields

GRACE: Final = 3.0  # seconds between asking a process to end and ending it
_POLL: Final = 0.02
_LISTEN: Final = "0A"  # TCP_LISTEN, as /proc/net/tcp has it
# The guest decides how much it writes to the serial line; an unverified one shall not fill the disk.
_LARGEST_FILE: Final = 256 << 20


@dataclass(frozen=True, slots=True)
class Process:
    """A process, perhaps of the past. `started` counts clock ticks since the boot of this computer."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Self:
        """The process that has this id now. SourceError if none has."""
        started = _stat(pid)
        if started is None:
            raise SourceError(f"process {pid} is gone")
        return cls(pid, started)

    def to_json(self) -> dict[str, int]:
        return {"pid": self.pid, "started": self.started}

    @classmethod
    def from_json(cls, value: object) -> Self:
        fields = Fields(value, what="state.process")
        process = cls(fields.take("pid", int), fields.take("started", int))
        fields.end()
        return process


def start(argv: Sequence[str], *, environment: Mapping[str, str], output: Path, inherit: Sequence[int]) -> Process:
    """Start a program in its own session: its output goes to the file `output`, and it keeps only `inherit` open.

    It outlives this process. SourceError if it cannot be started.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(output), flags, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
        # dup2 of a descriptor to itself means: inherit it (POSIX.1-2024, posix_spawn_file_actions_adddup2).
        *((os.POSIX_SPAWN_DUP2, descriptor, descriptor) for descriptor in inherit),
        # What our own parent left open, such as a pipe that somebody waits on, must not live as long as the machine.
        *((os.POSIX_SPAWN_CLOSE, descriptor) for descriptor in _inheritable() if descriptor not in inherit),
    ]
    try:
        pid = os.posix_spawn(argv[0], list(argv), environment, file_actions=actions, setsid=True)
    except OSError as error:
        raise SourceError(f"cannot start {Path(argv[0]).name}: {error.strerror or error}") from error
    with contextlib.suppress(ProcessLookupError):  # it may have ended already; whoever waits for it will notice
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (_LARGEST_FILE, _LARGEST_FILE))
    started = _stat(pid, ended_too=True)
    if started is None:
        raise SourceError(f"process {pid} is gone")
    return Process(pid, started)


def alive(process: Process) -> bool:
    """Whether it still runs. Reaps it if it is our child and has ended."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)
    return _stat(process.pid) == process.started


def listens(process: Process, port: int) -> bool:
    """Whether it listens on this TCP port of IPv4: /proc/net/tcp and its descriptors, proc(5)."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ours = {f"socket:[{row[9]}]" for row in rows if row[3] == _LISTEN and int(row[1].rpartition(":")[2], 16) == port}
    if not ours or not alive(process):
        return False
    with contextlib.suppress(OSError):  # it ended meanwhile
        for descriptor in Path(f"/proc/{process.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # it was closed meanwhile
                if str(descriptor.readlink()) in ours:
                    return True
    return False


def end(process: Process, grace: float = GRACE) -> None:
    """End it: ask, wait `grace` seconds, then kill. SourceError if it lives on."""
    for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, GRACE)):
        if not alive(process):
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)
        if _gone_within(process, patience):
            return
    raise SourceError(f"process {process.pid} does not end")


def _inheritable() -> list[int]:
    found = []
    for descriptor in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
        with contextlib.suppress(OSError):  # the descriptor of this very listing is closed by now
            if descriptor > 2 and os.get_inheritable(descriptor):
                found.append(descriptor)
    return found


def _gone_within(process: Process, seconds: float) -> bool:
    limit = time.monotonic() + seconds
    while alive(process):
        if time.monotonic() > limit:
            return False
        time.sleep(_POLL)
    return True


def _stat(pid: int, *, ended_too: bool = False) -> int | None:
    """Field 22 (starttime) of /proc/PID/stat, proc(5); None if no such process runs.

    One that waits to be reaped does not; but while any of its threads (field 20) is on its way out, it keeps its files.
    With `ended_too` it is told of one that waits to be reaped, as a child may do that we just started.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name before it may hold anything
    ended = fields[0] == "X" or (fields[0] == "Z" and int(fields[17]) <= 1)
    return None if ended and not ended_too else int(fields[19])
