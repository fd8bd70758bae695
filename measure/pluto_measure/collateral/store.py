"""The collateral that a state directory keeps, and its memory against rollback.

    STATE/collateral/memory.json         the newest editions seen (pluto_measure.collateral.memory)
    STATE/collateral/<fmspc>-<ca>.json   the newest bundle of one FMSPC and CA (pluto_measure.formats.collateral_bundle)
    STATE/collateral/lock                locked while something is changed

The folder is its owner's alone (0700, files 0600), since who may write there decides which collateral counts as old.
One that others may write to is refused. A file is written under another name, flushed, and renamed: it is the old one
or the new one, also where the machine loses power. The memory is renamed before the bundle. So a process that ends
between the two leaves a bundle that the memory calls old, which is refused until it is fetched again; never a bundle
that the memory does not know. For the same reason a memory that is gone while bundles are there counts as damaged.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from pluto_measure.collateral.memory import LIMIT as MEMORY_LIMIT
from pluto_measure.collateral.memory import Memory, Rollback, Seen, compare, remember
from pluto_measure.errors import FormatError, RefusedError, SourceError, UsageError
from pluto_measure.formats.collateral_bundle import LIMIT as BUNDLE_LIMIT
from pluto_measure.formats.collateral_bundle import Bundle

_BUNDLE: Final = re.compile(r"([0-9a-f]{12})-(platform|processor)\.json", re.ASCII)
_PATIENCE: Final = 10.0  # seconds for another process to end its change, which takes milliseconds
_PAUSE: Final = 0.02


class RolledBackError(RefusedError):
    """Collateral that is older than what was seen before."""

    def __init__(self, rollbacks: Sequence[Rollback]) -> None:
        self.rollbacks = tuple(rollbacks)
        super().__init__(f"older than once seen: {'; '.join(map(str, rollbacks))}")

    def fields(self) -> dict[str, object]:
        return {"rollbacks": [rollback.to_json() for rollback in self.rollbacks]}


class Store:
    """A state directory's collateral. Nothing is made before something is to be kept."""

    def __init__(
        self,
        state: Path,
        *,
        patience: float = _PATIENCE,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder = state / "collateral"
        self._patience, self._sleep, self._monotonic = patience, sleep, monotonic

    def memory(self) -> Memory:
        """What was seen; empty in a new state directory. FormatError for a damaged memory or one that is gone."""
        self._refuse_open_folder()
        path = self.folder / "memory.json"
        hint = f"put its backup back, or accept older collateral once: rm -r {self.folder}"
        data = self._read(path, MEMORY_LIMIT)
        if data is None:
            if self.families() or self._was_written():
                raise FormatError("collateral memory", f"{path} is gone, though there was one", hint=hint)
            return Memory()
        try:
            return Memory.parse(data)
        except FormatError as error:
            raise FormatError("collateral memory", f"{path} is damaged: {error.problem}", hint=hint) from error

    def bundle(self, fmspc: bytes, ca: str) -> Bundle | None:
        """The newest bundle that was kept. FormatError where it is damaged."""
        path = self._path(fmspc, ca)
        data = self._read(path, BUNDLE_LIMIT)
        if data is None:
            return None
        try:
            return Bundle.parse(data)
        except FormatError as error:
            hint = f"run 'pluto-measure collateral fetch --fmspc {fmspc.hex()} --ca {ca} --state {self.folder.parent}'"
            raise FormatError("collateral bundle", f"{path} is damaged: {error}", hint=hint) from error

    def families(self) -> tuple[tuple[bytes, str], ...]:
        """The FMSPC and CA of every bundle, in order."""
        try:
            names = sorted(path.name for path in self.folder.iterdir())
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise UsageError(f"{self.folder} cannot be read: {error.strerror}") from error
        return tuple((bytes.fromhex(match[1]), match[2]) for match in map(_BUNDLE.fullmatch, names) if match)

    def keep(self, items: Sequence[tuple[Seen, Bundle]]) -> None:
        """Keep bundles whose collateral was verified, and remember it: all of them or none.

        RolledBackError where one is older than what was seen, also by a process that was quicker.
        """
        with self._locked():
            memory = self.memory()
            if rollbacks := [one for seen, _ in items for one in compare(memory, seen)]:
                raise RolledBackError(rollbacks)
            for seen, _ in items:
                memory = remember(memory, seen)
            with contextlib.ExitStack() as written:
                # Everything that can fail for want of room comes before the first rename.
                bundles = [written.enter_context(self._prepared(*self._merged(seen, new))) for seen, new in items]
                with self._prepared(self.folder / "memory.json", memory.to_text()) as rename:
                    rename()
                for rename in bundles:
                    rename()
            self._flush_folder()

    def remember(self, seen: Seen) -> None:
        """Remember collateral that was verified and came from elsewhere. The memory never becomes older by it."""
        with self._locked():
            before = self.memory()
            after = remember(before, seen)
            if after == before:
                return
            with self._prepared(self.folder / "memory.json", after.to_text()) as rename:
                rename()
            self._flush_folder()

    def _path(self, fmspc: bytes, ca: str) -> Path:
        return self.folder / f"{fmspc.hex()}-{ca}.json"

    def _merged(self, seen: Seen, new: Bundle) -> tuple[Path, str]:
        try:
            old = self.bundle(seen.fmspc, seen.ca)
        except FormatError:
            old = None  # damaged; the new one takes its place
        new = new.part(seen.fmspc, seen.ca)
        return self._path(seen.fmspc, seen.ca), (new if old is None else old.merged(new)).to_text()

    def _refuse_open_folder(self) -> None:
        """Who may write to the folder, or rename it, decides which collateral counts as old."""
        for folder in (self.folder, self.folder.parent):
            try:
                found = folder.stat()
            except OSError:
                continue  # not there, or what opens a file in it will say
            if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise UsageError(f"{folder}: others may write to it", hint=f"run 'chmod go-w {folder}'")
            if found.st_uid not in (os.geteuid(), 0):
                raise UsageError(f"{folder}: it is another user's (uid {found.st_uid})")

    def _was_written(self) -> bool:
        """Whether a memory was ever written here: the lock file is not empty from then on."""
        try:
            return (self.folder / "lock").stat().st_size > 0
        except OSError:
            return False

    def _read(self, path: Path, limit: int) -> bytes | None:
        try:
            with path.open("rb") as file:
                data = file.read(limit + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror}") from error
        return data

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with _writing(self.folder):
            for folder in (self.folder.parent, self.folder):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._refuse_open_folder()
            descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._wait_for(descriptor)
            yield
            if (self.folder / "memory.json").exists() and not self._was_written():
                with _writing(self.folder):
                    os.write(descriptor, b"there is a memory\n")
        finally:
            os.close(descriptor)  # the lock goes with it, also where the process is killed

    def _wait_for(self, descriptor: int) -> None:
        deadline = self._monotonic() + self._patience
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
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
    def _prepared(self, path: Path, text: str) -> Iterator[Callable[[], None]]:
        """Write a file under another name; the context gives what renames it, and removes it if nobody did."""
        # Only the owner of the lock writes, so one name is enough, and what a killed process left is overwritten.
        temporary = path.with_name(f".{path.name}.new")

        def rename() -> None:
            with _writing(path):
                temporary.replace(path)

        try:
            with _writing(path):
                descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(text.encode())
                    file.flush()
                    os.fsync(file.fileno())
            yield rename
        finally:
            with contextlib.suppress(OSError):  # it is overwritten the next time
                temporary.unlink()

    def _flush_folder(self) -> None:
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
