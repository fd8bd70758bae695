"""One command at a time for a deployment in the cloud: a lock on this computer, and a lease in the bucket. Thin IO.

    pluto/NAME/lease   who holds it: written only where there is none, or in place of one that ran out

The lock ends with its process. The lease does not: what a killed command left is taken over at once by the next one on
the same computer, which holds that lock, and by any other after a quarter of an hour. The times of both are the
bucket's own, so no clock of ours has a part in it.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pluto_deploy.google.objects import Kept, Objects
from pluto_measure.errors import SourceError, UsageError
from pluto_measure.state_folder import StateFolder

LASTS: Final = 900.0  # seconds
_RENEWED: Final = 120.0  # seconds after which it is written again
_TRIES: Final = 3


@dataclass(slots=True)
class Lease:
    """Of one deployment. `state`: this computer's folder; `name`: of the object; `clock` never goes back."""

    objects: Objects
    name: str
    state: Path
    key: str
    clock: Callable[[], float]
    random: Callable[[int], bytes] = os.urandom
    _version: int | None = field(default=None, init=False)
    _written: float = field(default=0.0, init=False)
    _holder: str = field(default="", init=False)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """UsageError where somebody else is at work."""
        folder = StateFolder(self.state / "deployments", "holder")
        with self._alone():
            self._holder = self._own_name(folder)
            self._take()
            try:
                yield
            finally:
                version, self._version = self._version, None
                if version is not None:
                    with contextlib.suppress(SourceError):  # it runs out by itself, and another error may be on its way
                        self.objects.delete(self.name, version=version)

    def renew(self) -> None:
        """Called before each step, and while one takes long. SourceError where the lease is somebody else's by now."""
        if self._version is None or self.clock() - self._written < _RENEWED:
            return
        version = self.objects.put(self.name, self._holder.encode(), over=self._version)
        if version is None:
            self._version = None
            raise SourceError("another computer's command took this deployment over: look with 'pluto-deploy status'")
        self._version, self._written = version, self.clock()

    def _take(self) -> None:
        for _ in range(_TRIES):
            found = self.objects.look(self.name)
            if found is not None and not self._is_free(*found):
                until = _seconds(found[0]) + LASTS
                when = datetime.datetime.fromtimestamp(until, datetime.UTC).strftime("%H:%M:%S UTC")
                text = "another computer's command is at work on this deployment"
                raise UsageError(f"{text}; if it was killed, its lease ends at {when}")
            over = 0 if found is None else found[0].generation
            if (version := self.objects.put(self.name, self._holder.encode(), over=over)) is not None:
                self._version, self._written = version, self.clock()
                return
        raise UsageError("another command began to work on this deployment at the same moment")

    def _is_free(self, kept: Kept, now: float) -> bool:
        return now > _seconds(kept) + LASTS or self.objects.read(self.name) == self._holder.encode()

    def _own_name(self, folder: StateFolder) -> str:
        """Of this computer's state folder: made once, at random."""
        path = folder.memory_path
        with folder.locked():
            if (kept := folder.read(path, 64)) is not None:
                return kept.decode("ascii", errors="replace")
            made = self.random(16).hex()
            with folder.prepared(path, made) as rename:
                rename()
            return made

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Of the commands on this computer."""
        folder = self.state / "deployments"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(folder / f"{self.key}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UsageError("another command is at work on this deployment") from error
            yield
        finally:
            os.close(descriptor)


def _seconds(kept: Kept) -> float:
    try:
        return datetime.datetime.fromisoformat(kept.updated).timestamp()
    except ValueError:
        raise SourceError(f"{kept.name}: updated is no time") from None
