"""What is on disk about the local machine: one folder per user, a lock that the machine itself holds, a record.

QEMU inherits the lock, so it is held for as long as a machine lives, however the command that started it ended.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from pluto_deploy.local import processes
from pluto_deploy.local.processes import Process
from pluto_measure.errors import FormatError, SourceError, UsageError
from pluto_measure.formats.strict_json import Fields, loads, pretty

VERSION: Final = 1
# starting: no client was led to it yet; running: they were; refused, failed, stopped: it was ended, for that reason
STATES: Final = ("starting", "running", "refused", "failed", "stopped")
LIVE: Final = STATES[:2]
_POLL: Final = 0.05


@dataclass(frozen=True, slots=True)
class Record:
    """One machine, present or past. `port` is its own, which no client knows."""

    state: str
    dist: str
    build_id: str
    flavour: str
    boot: str
    cpus: int
    memory: int
    accelerator: str
    port: int
    started_at: str  # RFC 3339
    qemu: Process
    swtpm: Process

    def to_json(self) -> dict[str, object]:
        return {
            "version": VERSION,
            "state": self.state,
            "dist": self.dist,
            "buildId": self.build_id,
            "flavour": self.flavour,
            "boot": self.boot,
            "cpus": self.cpus,
            "memory": self.memory,
            "accelerator": self.accelerator,
            "port": self.port,
            "startedAt": self.started_at,
            "qemu": self.qemu.to_json(),
            "swtpm": self.swtpm.to_json(),
        }

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """FormatError for anything unknown or missing."""
        fields = Fields(loads(text, what="state"), what="state")
        if (version := fields.take("version", int)) != VERSION:
            raise FormatError("state", f"version {version} is not known")
        record = cls(
            state=fields.take("state", str),
            dist=fields.take("dist", str),
            build_id=fields.take("buildId", str),
            flavour=fields.take("flavour", str),
            boot=fields.take("boot", str),
            cpus=fields.take("cpus", int),
            memory=fields.take("memory", int),
            accelerator=fields.take("accelerator", str),
            port=fields.take("port", int),
            started_at=fields.take("startedAt", str),
            qemu=Process.from_json(fields.take("qemu", dict)),
            swtpm=Process.from_json(fields.take("swtpm", dict)),
        )
        fields.end()
        if record.state not in STATES:
            raise FormatError("state", f"state {record.state!r} is not one of {', '.join(STATES)}")
        return record


@dataclass(frozen=True, slots=True)
class StateFolder:
    """The folder of one local machine."""

    root: Path

    @property
    def serial_log(self) -> Path:
        return self.root / "serial.log"

    @property
    def config(self) -> Path:
        return self.root / "config.disk"

    @property
    def tpm(self) -> Path:
        return self.root / "tpm"

    def output(self, program: str) -> Path:
        """Where a program's own words go."""
        return self.root / f"{program}.log"

    def create(self) -> None:
        """Make the folder, for this user alone. SourceError."""
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.root.chmod(0o700)
        except OSError as error:
            raise SourceError(f"{self.root}: {error.strerror or error}") from error

    @contextmanager
    def lock(self) -> Iterator[int]:
        """Hold the lock; yields its descriptor for the machine to inherit. UsageError if a machine holds it."""
        self.create()
        descriptor = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if not _try_lock(descriptor):
                record = self.record()
                where = f" on port {record.port}" if record and processes.alive(record.qemu) else ""
                raise UsageError(
                    f"a local machine runs or starts already{where}", hint="run 'pluto-deploy local --stop'"
                )
            yield descriptor
        finally:
            os.close(descriptor)

    def locked(self) -> bool:
        """Whether a machine, or a command that starts one, holds the lock."""
        try:
            descriptor = os.open(self._lock_path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            return not _try_lock(descriptor)
        finally:
            os.close(descriptor)

    def wait_unlocked(self, seconds: float) -> bool:
        """Whether the lock becomes free within `seconds`."""
        limit = time.monotonic() + seconds
        while self.locked():
            if time.monotonic() > limit:
                return False
            time.sleep(_POLL)
        return True

    def record(self) -> Record | None:
        """The last machine; None if there was none. FormatError if the record is damaged."""
        try:
            return Record.parse((self.root / "machine.json").read_bytes())
        except FileNotFoundError:
            return None

    def write(self, record: Record) -> None:
        """Replace the record."""
        temporary = self.root / "machine.json.partial"
        temporary.write_text(pretty(record.to_json()))
        temporary.replace(self.root / "machine.json")

    def forget_tpm(self) -> None:
        """Remove the TPM's state: it ends with its machine."""
        shutil.rmtree(self.tpm, ignore_errors=True)

    @property
    def _lock_path(self) -> Path:
        return self.root / "lock"


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
