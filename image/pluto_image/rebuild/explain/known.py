"""What helps to explain a difference: what accounts for a path, which package has the kernel, what else is published.

Pure. Origins are those of files.json, versions those of the lock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pluto_image.lock.lockfile import Lock
from pluto_image.rebuild.explain.difference import printable
from pluto_image.rebuild.view import View
from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import loads


@dataclass(frozen=True, slots=True)
class Origins:
    """`paths`: path of the root to its origin; `versions`: package or wheel to its version."""

    paths: Mapping[str, str]
    versions: Mapping[str, str]

    @classmethod
    def of(cls, lock: Lock, *documents: bytes) -> Origins:
        """From texts of files.json; what an earlier one says of a path holds. One that is none says nothing."""
        paths: dict[str, str] = {}
        for document in documents:
            try:
                rows = loads(document, what="files.json")
            except FormatError:
                continue
            for row in rows if isinstance(rows, list) else []:
                match row:
                    case {"path": str(path), "origin": str(origin)}:
                        paths.setdefault(path, origin)
        versions = {one.name: one.version for one in (*lock.image, *lock.tools)}
        return cls(paths, versions | {one.name: one.version for one in lock.wheels})

    def named(self, path: str) -> str:
        """Such as "package init 257.1" or "recipe files.users"; "origin unknown" for a path nobody knows."""
        origin = self.paths.get(path)
        if origin is None:
            return "origin unknown"
        kind, _, name = origin.rpartition("package:")
        if name in self.versions and (kind or origin.startswith("package:")):
            made = f"{printable(kind.removesuffix(' of ').replace(':', ' '))} of " if kind else ""
            return f"{made}package {name} {self.versions[name]}"
        kind, _, name = origin.partition(":")
        version = f" {self.versions[name]}" if kind == "wheel" and name in self.versions else ""
        return f"{printable(kind)} {printable(name)}{version}"


@dataclass(frozen=True, slots=True)
class Known:
    """`kernel`: its package with version. `uki`, `disk`: as published, b"" and None where they are missing.

    What holds a published file that differs is explained once, in that file.
    """

    origins: Origins
    kernel: str
    uki: bytes
    disk: View | None
