"""The lock beside a definition, and its evidence: read, and written whole or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from pluto_image import definition as definitions
from pluto_image.definition import Definition
from pluto_image.lock.lockfile import Lock
from pluto_measure.errors import FormatError, SourceError, UsageError

_STALE: Final = "run 'pluto-image lock' on the definition"
_NO_EVIDENCE: Final = "run 'pluto-image lock DIR --update'"


def load_lock(folder: Path, definition: Definition) -> Lock:
    """The lock beside a definition. Raises UsageError if it is not there or belongs to another definition."""
    path = folder / definitions.LOCK
    if not path.is_file():
        raise UsageError(f"{folder} holds no {definitions.LOCK}", hint=_STALE)
    return read_lock(path, definition)


def read_lock(path: Path, definition: Definition) -> Lock:
    """A lock of this definition. Raises UsageError if it is another one's, FormatError, OSError."""
    lock = Lock.parse(path.read_bytes())
    if lock.definition_digest != definition.lock_digest.hex():
        raise UsageError(f"{path} was made for other packages than the definition names now", hint=_STALE)
    return lock


def write_lock(folder: Path, lock: Lock) -> None:
    """Put the lock beside a definition, or into a build folder: whole or not at all. Raises SourceError."""
    _write(folder / definitions.LOCK, lock.to_text().encode())


def write_evidence(folder: Path, evidence: Iterable[tuple[str, bytes]]) -> None:
    """Keep the signed Release files of a lock in `folder`/evidence. Raises SourceError."""
    for name, data in evidence:
        _write(folder / definitions.EVIDENCE / f"{name}.InRelease", data)


def read_evidence(folder: Path, lock: Lock) -> dict[str, bytes]:
    """The signed Release files of a lock. Raises UsageError if one is missing, FormatError if one is another."""
    found = {}
    for archive in lock.archives:
        path = folder / definitions.EVIDENCE / f"{archive.id}.InRelease"
        if not path.is_file():
            raise UsageError(f"evidence {path} does not exist", hint=_NO_EVIDENCE)
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != archive.release_sha256:
            raise FormatError(f"evidence {path}", "is not the file that was locked", hint=_NO_EVIDENCE)
        found[archive.id] = data
    return found


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise SourceError(f"cannot write {path}: {error.strerror or error}") from error
