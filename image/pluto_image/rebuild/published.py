"""The folder of a release, or a DIST: its files as views, and what lies beside them. Reads; writes nothing."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from pluto_image.artifact import is_about_a_release
from pluto_image.rebuild.view import Extent, View
from pluto_measure.errors import FormatError, SourceError, UsageError
from pluto_measure.publish.digest_list import SUMS
from pluto_measure.publish.listing import names
from pluto_measure.publish.release import BUNDLE

_LARGEST_TEXT: Final = 64 * 1024 * 1024
_MOST_FILES: Final = 2000
_MOST_EXTENTS: Final = 1000
_GAP: Final = 1 << 20  # holes smaller than this are read like data


@dataclass(frozen=True, slots=True)
class Published:
    """`views`: the files that a build makes, and any other that no release should have. `beside`: names of the rest."""

    root: Path
    views: Mapping[str, View]
    beside: tuple[str, ...]

    @classmethod
    def open(cls, root: Path) -> Self:
        """UsageError if there is no release; FormatError for a link or a device; SourceError."""
        if not (root / SUMS).is_file():
            hint = "name the folder with the release's files"
            raise UsageError(f"{root} holds no {SUMS}, so it is no release and no DIST", hint=hint)
        found = names(root)
        if len(found) > _MOST_FILES:
            raise FormatError(f"release {root}", f"holds {len(found)} files, more than {_MOST_FILES}")
        beside = [name for name in found if is_about_a_release(name)]
        views = {name: _view(root / name, name) for name in found if name not in beside}
        return cls(root, views, tuple(beside))

    @property
    def bundle(self) -> Path | None:
        """The bundle of inputs that came with the release."""
        return self.root / BUNDLE if BUNDLE in self.beside else None

    def text(self, name: str) -> bytes:
        """A file that is read whole. FormatError where it is missing or larger than 64 MiB."""
        if name not in self.views:
            raise FormatError(f"release {self.root}", f"lacks {name}, from which it is rebuilt")
        view = self.views[name]
        if view.size > _LARGEST_TEXT:
            raise FormatError(name, f"has {view.size} bytes, more than {_LARGEST_TEXT}")
        return view.read(0, view.size)


def _view(path: Path, name: str) -> View:
    try:
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode):
            raise FormatError(name, "is no plain file")
        return View(found.st_size, lambda at, count: _read(path, at, count), _extents(path, found.st_size))
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror or error}") from error


def _read(path: Path, at: int, count: int) -> bytes:
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(at)
            data = file.read(count)
            while len(data) < count and (more := file.read(count - len(data))):
                data += more
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror or error}") from error
    if len(data) != count:
        raise SourceError(f"{path} became shorter while it was read")
    return data


def _extents(path: Path, size: int) -> tuple[Extent, ...]:
    """Where a file has data, by lseek(2) SEEK_DATA and SEEK_HOLE; all of it where the system does not say."""
    whole = ((0, size),)
    if not hasattr(os, "SEEK_DATA"):
        return whole
    found: list[Extent] = []
    at = 0
    with path.open("rb", buffering=0) as file:
        while at < size:
            try:
                begin = os.lseek(file.fileno(), at, os.SEEK_DATA)
                at = os.lseek(file.fileno(), begin, os.SEEK_HOLE)
            except OSError as error:
                if error.errno == errno.ENXIO:  # no data behind `at`
                    break
                return whole
            if found and begin - found[-1][1] < _GAP:
                found[-1] = found[-1][0], at
            elif len(found) == _MOST_EXTENTS:
                return (*found, (begin, size))
            else:
                found.append((begin, at))
    return tuple(found)
