"""Judging answers in processes that can be killed; small JSON at once. The notary's end of `worker`'s socket.

A process is started when it is first needed, does one job after the other, and is ended when it has none for a while.
Whatever goes wrong with a process is a violation for the one client whose job it had, and the end of the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys

from pluto_measure.errors import SourceError
from pluto_measure.record import record
from pluto_notary.manifest.manifest import Manifest
from pluto_notary.manifest.model import Value
from pluto_notary.manifest.violation import OverworkError, Violation
from pluto_notary.manifest.worker import LARGEST_REPLY, MODULE, Job, parse_reply
from pluto_notary.web import Exchange, WebRequest

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Final

PROGRAM: Final = (sys.executable, "-I", "-B", "-m", MODULE)


@record
class WorkerLimits:
    """What judging may cost. `units` of work: see `violation.Work`."""

    most: int = 2  # processes; other jobs wait
    seconds: float = 10.0  # for a job, in a process that runs
    wait_seconds: float = 20.0  # for a free process, and to start it
    memory: int = 256 * 1024 * 1024  # bytes of address space of a process
    idle_seconds: float = 30.0  # a process without a job is kept so long
    units: int = 40_000_000  # in a process
    at_once_units: int = 300_000  # in our own; a job that needs more goes to a process
    at_once_bytes: int = 64 * 1024  # of JSON


class BusyError(SourceError):
    """No process could be had in time."""


class Workers:
    """Judges. One for all sessions of a program; `close` it at the end."""

    def __init__(self, limits: WorkerLimits | None = None, program: Sequence[str] = PROGRAM) -> None:
        self.limits = limits or WorkerLimits()
        self._program = tuple(program)
        self._places = asyncio.Semaphore(self.limits.most)
        self._free: list[_Process] = []
        self._ending: set[asyncio.Task[None]] = set()

    async def check(self, manifest: Manifest) -> None:
        """FormatError for selectors that are none: to be asked before anybody is asked for a page. BusyError."""
        if manifest.answered.format == "html":
            await self._do(Job(manifest.text))

    async def values(self, manifest: Manifest, request: WebRequest, exchange: Exchange) -> tuple[Value, ...]:
        """As `Manifest.values`, within the limits. Violation, BusyError."""
        limits = self.limits
        if manifest.answered.format == "json" and len(exchange.response.body) <= limits.at_once_bytes:
            with contextlib.suppress(OverworkError):  # the job is larger than it looks
                return manifest.values(request, exchange, units=limits.at_once_units)
        return await self._do(Job(manifest.text, request, exchange, limits.units))

    async def close(self) -> None:
        """End all processes that have no job. Those that have one end with their job."""
        while self._free:
            self._end(self._free.pop())
        await asyncio.gather(*self._ending)

    async def _do(self, job: Job) -> tuple[Value, ...]:
        process = await self._get()
        done = False
        try:
            async with asyncio.timeout(self.limits.seconds):
                reply = await process.ask(job.to_frames())
            values = parse_reply(reply)
            done = True
        except (OSError, EOFError, ValueError):  # a TimeoutError is an OSError
            raise Violation("manifest.response.body", "could not be judged in the time and memory allowed") from None
        finally:
            # What refused an answer may have suffered from it: the next client gets another process.
            self._put(process) if done else self._end(process)
            self._places.release()
        return values

    async def _get(self) -> _Process:
        try:
            async with asyncio.timeout(self.limits.wait_seconds):
                await self._places.acquire()
        except TimeoutError:
            raise BusyError("no process to judge an answer is free") from None
        try:
            while self._free:
                process = self._free.pop()
                process.wake()
                if process.is_alive:
                    return process
                self._end(process)
            return await _Process.start((*self._program, *self._words()))
        except BaseException as error:
            self._places.release()
            if isinstance(error, OSError):
                raise BusyError("no process to judge an answer can be started") from error
            raise

    def _words(self) -> tuple[str, str]:
        return str(self.limits.memory), str(max(1, round(self.limits.seconds)))

    def _put(self, process: _Process) -> None:
        self._free.append(process)
        process.sleep(self.limits.idle_seconds, self._tire)

    def _tire(self, process: _Process) -> None:
        if process in self._free:
            self._free.remove(process)
            self._end(process)

    def _end(self, process: _Process) -> None:
        task = asyncio.ensure_future(process.end())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


class _Process:
    """One worker, and our end of its socket."""

    def __init__(self, pid: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._pid, self._reader, self._writer = pid, reader, writer
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    async def start(cls, words: Sequence[str]) -> _Process:
        """Start the program with a socket as its input, and nothing else of ours. OSError."""
        ours, its = socket.socketpair()
        with its:
            actions = [
                (os.POSIX_SPAWN_DUP2, its.fileno(), 0),
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
            ]
            try:
                pid = os.posix_spawn(words[0], list(words), {}, file_actions=actions, setpgroup=0)
            except OSError:
                ours.close()
                raise
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        return cls(pid, reader, writer)

    @property
    def is_alive(self) -> bool:
        return not self._reader.at_eof() and not self._writer.is_closing()

    async def ask(self, job: bytes) -> bytes:
        """The reply to a job. OSError, EOFError."""
        self._writer.write(job)
        await self._writer.drain()
        length = int.from_bytes(await self._reader.readexactly(4), "big")
        if length > LARGEST_REPLY:
            raise EOFError
        return await self._reader.readexactly(length)

    def sleep(self, seconds: float, then: Callable[[_Process], None]) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, then, self)

    def wake(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    async def end(self) -> None:
        """Kill it and wait until it is gone, whatever it is doing."""
        self.wake()
        self._writer.close()
        gone = os.pidfd_open(self._pid)
        try:
            os.kill(self._pid, signal.SIGKILL)
            loop, ended = asyncio.get_running_loop(), asyncio.Event()
            loop.add_reader(gone, ended.set)
            await ended.wait()
            loop.remove_reader(gone)
            os.waitpid(self._pid, os.WNOHANG)
        finally:
            os.close(gone)
