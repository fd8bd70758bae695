"""The root file system as data: path to owner, mode, content and where each entry came from. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What an entry is. Device nodes, FIFOs and hard links do not exist here: readers expand or refuse them."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"


@dataclass(frozen=True, slots=True)
class Entry:
    """One path of the root: relative, no leading slash, no `.` or `..`, merged-/usr already applied.

    `mode` holds permission bits only; `data` is a file's content or a link's target; `origin` names the package
    ("package:NAME"), the wheel ("wheel:NAME") or the recipe line ("recipe:WHAT") that accounts for the entry.
    """

    path: str
    kind: Kind
    mode: int
    data: bytes
    origin: str
    uid: int = 0
    gid: int = 0
