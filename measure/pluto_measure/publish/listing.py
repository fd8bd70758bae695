"""Lists the files of a folder as a digest list names them: the folder of a release, or a DIST."""

from __future__ import annotations

import os
from pathlib import Path

from pluto_measure.errors import FormatError, UsageError


def names(folder: Path) -> list[str]:
    """Every file below the folder by its relative path, sorted.

    FormatError for a link, which may point anywhere, for what is no file, and for names that a terminal would obey;
    UsageError for a folder that cannot be read.
    """
    found = []
    for at, folders, files in os.walk(folder, onerror=_unreadable):
        for path in (Path(at) / one for one in (*folders, *files)):
            name = path.relative_to(folder).as_posix()
            if not name.isprintable():
                raise FormatError(str(folder), f"{name!r} is no printable name")
            if path.is_symlink():
                raise FormatError(str(folder), f"{name} is a link")
            if not path.is_dir():
                if not path.is_file():
                    raise FormatError(str(folder), f"{name} is neither a file nor a folder")
                found.append(name)
    return sorted(found)


def _unreadable(error: OSError) -> None:
    """A folder that cannot be read may hold anything."""
    raise UsageError(f"{error.filename} cannot be read: {error.strerror}") from error
