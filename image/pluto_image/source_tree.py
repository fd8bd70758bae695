"""The project's own files that a build takes: their bytes, whether they are committed, and source.tar.

Modes, times and owners of the checkout never enter. What lies in the image decides the build id; the builder's own
files are in source.tar too, so that a stranger can build from it alone.
"""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pluto_measure.errors import FormatError, SourceError, UsageError
from pluto_measure.formats.strict_json import canonical

MARKER: Final = "pyproject.toml"
_FOLDERS: Final = (
    "image/pluto_image",
    "measure/pluto_measure",
    "notary/pluto_notary",
    "deploy/pluto_deploy",
    "requirements",
)
_FILES: Final = ("LICENSE", "Makefile", "README.md", MARKER)
_LARGEST_FILE: Final = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class SourceTree:
    """Files by path relative to the project's root. `definition`: the definition's folder in the same form."""

    root: Path
    definition: str
    files: Mapping[str, bytes]
    dirty: tuple[str, ...]  # paths that git does not know in this state; empty outside a checkout

    def tar(self, epoch: int) -> bytes:
        """All files as an ustar archive: sorted, mode 0644, owner 0, one time."""
        return tar(self.files, epoch)


def root_of(definition: Path) -> Path:
    """The folder that holds the project: the nearest one above the definition with a pyproject.toml. UsageError."""
    for folder in definition.resolve().parents:
        if (folder / MARKER).is_file():
            return folder
    raise UsageError(f"{definition} does not lie in a project (no {MARKER} above it)")


def paths(definition: Path) -> tuple[Path, tuple[str, ...]]:
    """The project's root and the relative paths of all files that belong to the source tree, sorted."""
    root = root_of(definition)
    own = definition.resolve().relative_to(root).as_posix()
    found = [name for name in _FILES if (root / name).is_file()]
    for folder in (own, *_FOLDERS):
        found += _walk(root, folder)
    return root, tuple(sorted(set(found)))


def read(definition: Path) -> SourceTree:
    """Read the source tree around a definition. Raises UsageError, SourceError, FormatError for a link or huge file."""
    root, names = paths(definition)
    files = {}
    for name in names:
        path = root / name
        if path.is_symlink() or path.stat().st_size > _LARGEST_FILE:
            raise FormatError(name, "a source must be a plain file of at most 16 MiB")
        files[name] = path.read_bytes()
    own = definition.resolve().relative_to(root).as_posix()
    return SourceTree(root, own, files, _dirty(root, names, own))


def digest(files: Mapping[str, bytes]) -> str:
    """SHA-256 in hex over paths and contents."""
    return hashlib.sha256(
        canonical([[path, hashlib.sha256(files[path]).hexdigest()] for path in sorted(files)])
    ).hexdigest()


def build_id(*, definition: bytes, lock: str, source: str) -> str:
    """SHA-256 in hex of the canonical {definition, lock, source}: names what a build was made from."""
    return hashlib.sha256(canonical({"definition": definition.hex(), "lock": lock, "source": source})).hexdigest()


def tar(files: Mapping[str, bytes], epoch: int) -> bytes:
    """An ustar archive of `files`; the same bytes everywhere."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in sorted(files):
            info = tarfile.TarInfo(path)
            info.size, info.mtime, info.mode = len(files[path]), epoch, 0o644
            archive.addfile(info, io.BytesIO(files[path]))
    return stream.getvalue()


def _walk(root: Path, folder: str) -> Iterable[str]:
    for at, folders, names in os.walk(root / folder):
        folders[:] = sorted(name for name in folders if name != "__pycache__" and not name.startswith("."))
        for name in names:
            if not name.startswith(".") and not name.endswith((".pyc", ".partial", ".orig", ".rej", "~")):
                yield (Path(at) / name).relative_to(root).as_posix()


def _dirty(root: Path, names: Iterable[str], definition: str) -> tuple[str, ...]:
    if not (root / ".git").exists():
        return ()  # an unpacked source.tar: its digest alone says what it is
    scope = [definition, *_FOLDERS, *_FILES]
    # fmt: off
    argv = [
        "git", "-C", str(root),
        "-c", "core.fsmonitor=false",  # no program of the checkout's configuration is started
        "status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=all", "--ignored=traditional",
        "--", *scope,
    ]
    # fmt: on
    try:
        done = subprocess.run(argv, capture_output=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SourceError(f"git did not run: {error}") from error
    if done.returncode != 0:
        raise SourceError(f"git status failed: {done.stderr.decode(errors='replace').strip()}")
    changed = {item[3:].decode(errors="replace") for item in done.stdout.split(b"\0") if len(item) > 3}
    known = set(names)
    deleted = {path for path in changed if not (root / path).exists()}
    return tuple(sorted(changed & known | deleted))
