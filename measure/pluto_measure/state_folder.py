"""A folder of a state directory: what a verifier remembers from one run to the next.

The folder is its owner's alone (0700, files 0600), since who may write there decides what counts as old. One that
others may write to is refused. A file is written under another name, flushed, and renamed: it is the old one or the new
one, also where the machine loses power. `lock` is locked while something is changed, and is not empty once there was a
memory, so that one which is gone is noticed.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

from pluto_measure.errors import FormatError, SourceError, UsageError

T = TypeVar("T")
PATIENCE: Final = 10.0  # seconds for another process to end its change, which takes milliseconds
_PAUSE: Final = 0.02


class StateFolder:
    """`folder`, whose memory is the file `memory` in it. Nothing is made before something is to be kept."""

    def __init__(
        self,
        folder: Path,
        memory: str,
        *,
        patience: float = PATIENCE,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder, self.memory_path = folder, folder / memory
        self._patience, self._sleep, self._monotonic = patience, sleep, monotonic

    def refuse_open_folder(self) -> None:
        """Who may write to the folder, or rename it, decides what counts as old."""
        if sys.platform == "win32":
            return  # rights there are not in the mode; the user's own folder is closed to others
        for folder in (self.folder, self.folder.parent):
            try:
                found = folder.stat()
            except OSError:
                continue  # not there, or what opens a file in it will say
            if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise UsageError(f"{folder}: others may write to it", hint=f"run 'chmod go-w {folder}'")
            if found.st_uid not in (os.geteuid(), 0):
                raise UsageError(f"{folder}: it is another user's (uid {found.st_uid})")

    def was_written(self) -> bool:
        """Whether a memory was ever written here: the lock file is not empty from then on."""
        try:
            return (self.folder / "lock").stat().st_size > 0
        except OSError:
            return False

    def read(self, path: Path, limit: int) -> bytes | None:
        """A file's bytes, one more than `limit` at most; None where there is none. UsageError."""
        try:
            with path.open("rb") as file:
                data = file.read(limit + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror}") from error
        return data

    def remembered(
        self,
        parse: Callable[[bytes], T],
        limit: int,
        *,
        what: str,
        of: str,
        has_more: Callable[[], object] = lambda: False,
    ) -> T | None:
        """The memory; None where there never was one. FormatError for a damaged one, or one that is gone.

        `what` names it, `of` what is kept in mind; `has_more` says whether there is what a memory must stand beside.
        """
        self.refuse_open_folder()
        path = self.memory_path
        hint = f"put its backup back, or accept older {of} once: rm -r {self.folder}"
        data = self.read(path, limit)
        if data is None:
            if has_more() or self.was_written():
                raise FormatError(what, f"{path} is gone, though there was one", hint=hint)
            return None
        try:
            return parse(data)
        except FormatError as error:
            raise FormatError(what, f"{path} is damaged: {error.problem}", hint=hint) from error

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else changes anything meanwhile. UsageError, SourceError where the lock does not come free."""
        with _writing(self.folder):
            for folder in (self.folder.parent, self.folder):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.refuse_open_folder()
            descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._wait_for(descriptor)
            yield
            if self.memory_path.exists() and not self.was_written():
                with _writing(self.folder):
                    os.write(descriptor, b"there is a memory\n")
        finally:
            os.close(descriptor)  # the lock goes with it, also where the process is killed

    def _wait_for(self, descriptor: int) -> None:
        deadline = self._monotonic() + self._patience
        while True:
            try:
                _lock(descriptor)
            except BlockingIOError as error:
                if self._monotonic() > deadline:
                    problem = f"{self.folder}: another process holds the lock for {self._patience:g} s"
                    raise SourceError(problem) from error
                self._sleep(_PAUSE)
            except OSError as error:
                raise UsageError(f"{self.folder} cannot be locked: {error.strerror}") from error
            else:
                return

    @contextlib.contextmanager
    def prepared(self, path: Path, text: str) -> Iterator[Callable[[], None]]:
        """Write a file under another name; the context gives what renames it, and removes it if nobody did."""
        # Only the owner of the lock writes, so one name is enough, and what a killed process left is overwritten.
        temporary = path.with_name(f".{path.name}.new")

        def rename() -> None:
            with _writing(path):
                temporary.replace(path)

        try:
            with _writing(path):
                descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(text.encode())
                    file.flush()
                    os.fsync(file.fileno())
            yield rename
        finally:
            with contextlib.suppress(OSError):  # it is overwritten the next time
                temporary.unlink()

    def flush_folder(self) -> None:
        """Make renames last."""
        if sys.platform == "win32":
            return  # a folder cannot be opened there
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        """Lock the first byte of a file, which goes with the descriptor. BlockingIOError if another process has it."""
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError(*error.args) from error

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        """Lock a file; the lock goes with the descriptor. BlockingIOError if another process has it."""
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
