"""Files of the local target: put whole, linked, listed; an error of the system is an error of this computer."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from pluto_measure.errors import SourceError


def link(source: Path, place: Path) -> None:
    """The same file under another name, or a copy of it where that cannot be."""
    try:
        os.link(source, place)
    except OSError:
        shutil.copyfile(source, place)


def listed(folder: Path) -> list[Path]:
    """What is in a folder; nothing where there is none."""
    return sorted(folder.iterdir()) if folder.is_dir() else []


def put(path: Path, content: bytes) -> None:
    """A file, whole or as it was."""
    temporary = path.with_name(f"{path.name}.partial")
    temporary.write_bytes(content)
    temporary.replace(path)


@contextlib.contextmanager
def working(place: Path) -> Iterator[None]:
    """SourceError with the file's name, or the place's, for an error of the system."""
    try:
        yield
    except OSError as error:
        raise SourceError(f"{error.filename or place}: {error.strerror or error}") from error
