"""Reads a release's folder: its statement, its signatures, and the digests of its files. Decides nothing.

RELEASE/release.json                the statement           SHA256SUMS        the same digests for sha256sum
        signatures/*.json           who signed it           provenance.json   where it was built
        inputs.tar                  what a rebuild takes    all others        what the statement is about
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from pluto_measure.digests import Digests
from pluto_measure.errors import FormatError, RefusedError, UsageError
from pluto_measure.publish import memory, provenance, release
from pluto_measure.publish.digest_list import SUMS, parse_sums
from pluto_measure.publish.judge import Files
from pluto_measure.publish.listing import names
from pluto_measure.publish.memory import Memory
from pluto_measure.publish.release import Release
from pluto_measure.publish.signature import FOLDER
from pluto_measure.publish.statement import LIMIT
from pluto_measure.state_folder import StateFolder

MEASUREMENTS: Final = "measurements.json"
_MOST_SIGNATURES: Final = 256
_LARGEST_VALUES: Final = 64 * 1024 * 1024
_WORKERS: Final = 2


def read(folder: Path, *, hashed: Callable[[str], bool] = lambda _: True) -> Files:
    """Everything that is judged. `hashed` says which files are looked at; the others count as not being here.

    UsageError where there is no release.json or a file cannot be read, FormatError for a link or a bad SHA256SUMS.
    """
    if not (folder / release.FILE).is_file():
        raise UsageError(f"{folder} holds no {release.FILE}", hint="name the folder of a release")
    present = names(folder)
    subjects = [name for name in present if not release.is_reserved(name)]
    sums = _read(folder / SUMS, LIMIT) if SUMS in present else None
    return Files(
        statement=_read(folder / release.FILE, LIMIT),
        signatures=signatures(folder, present),
        digests=digests(folder, [name for name in subjects if hashed(name)]),
        sums=None if sums is None else parse_sums(sums),
        measurements=_read(folder / MEASUREMENTS, _LARGEST_VALUES) if MEASUREMENTS in subjects else None,
        provenance=_read(folder / provenance.FILE, LIMIT) if provenance.FILE in present else None,
    )


def signatures(folder: Path, present: Iterable[str]) -> tuple[tuple[str, bytes], ...]:
    """The files of signatures/, by name in order. FormatError for too many of them."""
    found = [name for name in present if name.startswith(f"{FOLDER}/")]
    if len(found) > _MOST_SIGNATURES:
        raise FormatError(str(folder), f"{len(found)} files in {FOLDER} are more than {_MOST_SIGNATURES}")
    return tuple((name, _head(folder / name, 2 * LIMIT + 1)) for name in found)


def digests(folder: Path, subjects: Iterable[str]) -> dict[str, Digests]:
    """Both digests of each file; the two algorithms run beside each other, largest files first."""
    ordered = sorted(subjects, key=lambda name: -(folder / name).stat().st_size)
    with ThreadPoolExecutor(_WORKERS) as pool:
        running = {
            name: [pool.submit(_digest, folder / name, algorithm) for algorithm in ("sha256", "sha384")]
            for name in ordered
        }
        return {name: Digests(*(one.result() for one in both)) for name, both in sorted(running.items())}


class ReleaseMemory(StateFolder):
    """STATE/releases: which releases were accepted before (`pluto_measure.publish.memory`)."""

    def __init__(self, state: Path) -> None:
        super().__init__(state / "releases", memory.FILE)

    def load(self) -> Memory:
        """What was seen; nothing in a new folder. FormatError for a damaged memory, or one that is gone."""
        found = self.remembered(Memory.parse, LIMIT, what="memory of releases", of="releases")
        return Memory({}) if found is None else found

    def remember(self, accepted: Release, digest: str) -> None:
        """Remember an accepted release, on top of what another process may have seen meanwhile.

        RefusedError where that one forbids it: judging takes seconds, and the memory is not locked meanwhile.
        """
        with self.locked():
            before = self.load()
            finding = before.finding(accepted, digest)
            if finding.verdict == "fail":
                raise RefusedError(f"{finding.id}: meanwhile, {finding.text}")
            self._keep(before, before.remembering(accepted, digest))

    def remember_revoked(self, release: Release) -> None:
        """Remember that somebody trusted revoked a release, so that it stays refused where the revocation is gone."""
        with self.locked():
            before = self.load()
            self._keep(before, before.revoking(release))

    def _keep(self, before: Memory, after: Memory) -> None:
        if after == before:
            return
        with self.prepared(self.memory_path, after.to_text()) as rename:
            rename()
        self.flush_folder()


def _digest(path: Path, algorithm: str) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, algorithm).digest()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error


def _head(path: Path, size: int) -> bytes:
    """The first bytes of a file: one that is too large is none of ours, which whoever reads it will say."""
    try:
        with path.open("rb") as file:
            return file.read(size)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error


def _read(path: Path, limit: int) -> bytes:
    data = _head(path, limit + 1)
    if len(data) > limit:
        raise FormatError(path.name, f"is larger than {limit} bytes")
    return data
