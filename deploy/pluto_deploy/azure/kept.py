"""What this computer keeps beside a deployment: small files of its releases, configurations, and who it is to others.

    FOLDER/releases/<release>/{release.json,launch.json,…}    as they were judged, to appraise a machine again
    FOLDER/configs/<SHA-256>                                  run-time configurations
    FOLDER/holder                                             a random name, by which a claim of ours is known

Azure has disks and machines, and no place for files that costs nothing. All of this is worth what its digests and
signatures are worth, so that it does no harm where somebody else wrote it.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import Final

from pluto_deploy.engine.scene import Generation
from pluto_measure.errors import SourceError, UsageError
from pluto_measure.state_folder import StateFolder

_PART: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,200}")
_LIMIT: Final = 64 << 20
_HOLDER: Final = re.compile(r"[0-9a-f]{16}")


class Kept:
    """Of one deployment, in `folder`. Nothing is made before something is to be kept."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._state = StateFolder(folder, "holder")

    def locked(self) -> StateFolder:
        """The folder, whose lock keeps other commands of this computer out."""
        return StateFolder(self._folder, "holder", patience=0.0)

    def holder(self) -> str:
        """This computer's name in claims, the same for ever. The lock is held."""
        path = self._folder / "holder"
        found = self._state.read(path, 64)
        if found is not None and _HOLDER.fullmatch(text := found.decode("ascii", errors="replace").strip()):
            return text
        made = secrets.token_hex(8)
        with self._state.prepared(path, f"{made}\n") as rename:
            rename()
        return made

    def put(self, release: str, files: Mapping[str, bytes], config: bytes) -> None:
        """Keep a release's files and a configuration."""
        place = self._folder / "releases" / release
        partial = place.with_name(f".{release}.new")
        try:
            shutil.rmtree(partial, ignore_errors=True)
            for name, content in files.items():
                path = partial / _inner(name)
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                path.write_bytes(content)
            shutil.rmtree(place, ignore_errors=True)
            partial.rename(place)
            configs = self._folder / "configs"
            configs.mkdir(parents=True, exist_ok=True, mode=0o700)
            (configs / hashlib.sha256(config).hexdigest()).write_bytes(config)
        except OSError as error:
            raise UsageError(f"{place} cannot be written: {error.strerror}") from error

    def files(self, release: str) -> dict[str, bytes]:
        """A release's files. SourceError where they are not on this computer."""
        place = self._folder / "releases" / release
        paths = sorted(path for path in place.rglob("*") if path.is_file() and not path.is_symlink())
        if not paths:
            problem = f"the files of release {release[:12]} are not on this computer, but on the one that deployed it"
            raise SourceError(problem, hint=f"copy them there from its release folder: {place}")
        return {path.relative_to(place).as_posix(): _read(path) for path in paths}

    def config(self, digest: str) -> bytes | None:
        """A configuration by its SHA-256; None where it is not here, or is another one."""
        path = self._folder / "configs" / digest
        found = _read(path) if path.is_file() else None
        return found if found is not None and hashlib.sha256(found).hexdigest() == digest else None

    def forget_all_but(self, generations: Collection[Generation]) -> None:
        """Away with what no machine needs."""
        for name, needed in (
            ("releases", {one.release for one in generations}),
            ("configs", {one.config for one in generations}),
        ):
            folder = self._folder / name
            for path in sorted(folder.iterdir()) if folder.is_dir() else ():
                if path.name not in needed:
                    shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _inner(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or not all(_PART.fullmatch(part) for part in path.parts):
        raise UsageError(f"the release has a file {name[:80]!r}, whose name cannot be kept")
    return path


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_LIMIT + 1)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > _LIMIT:
        raise SourceError(f"{path}: more than {_LIMIT} bytes")
    return data
