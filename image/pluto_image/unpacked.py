"""Lays entries of a root as plain files below a folder, unprivileged: to run the image's programs outside a machine.

Owners, set-uid bits and times are not carried over; links that name absolute paths are made relative, so that nothing
of the host is read in place of the image's file. What runs is started through the image's own dynamic loader.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from pluto_image.tree import Entry, Kind

_LIBRARIES: Final = "usr/lib/x86_64-linux-gnu"


def lay(root: Path, entries: Iterable[Entry]) -> None:
    """Write the entries below `root`, which exists; parents are made."""
    for entry in entries:
        path = root / entry.path
        if entry.kind is Kind.DIRECTORY:
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if entry.kind is Kind.SYMLINK:
            target = entry.data.decode()
            inside = os.path.relpath(root / target.lstrip("/"), path.parent) if target.startswith("/") else target
            path.symlink_to(inside)
        else:
            path.write_bytes(entry.data)
            path.chmod(0o755 if entry.mode & 0o111 else 0o644)


def command(root: Path, program: str, *arguments: str) -> list[str]:
    """The argument list that starts a program of the laid root with the root's own loader and libraries."""
    libraries = root / _LIBRARIES
    loader = str(libraries / "ld-linux-x86-64.so.2")
    return [loader, "--library-path", str(libraries), str(root / program), *arguments]
