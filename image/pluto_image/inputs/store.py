"""The content-addressed store: verified files by SHA-256, below the user's cache or any folder given.

    sha256/ab/<hex>   one input each, read-only, complete or absent
    tmp/              files that are being written
    tools/<digest>/   unpacked tools trees (pluto_image.tools)

A file is renamed into place when it is whole and right, so a process killed in the middle leaves at most a file in
tmp/. What is read is hashed again; a file that does not match is removed and counts as absent.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pluto_measure.errors import FormatError, SourceError

_HEX: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_CHUNK: Final = 1 << 20
STALE: Final = 86_400.0  # seconds after which a file in tmp/ belongs to nobody


def default_root() -> Path:
    """The user's cache folder for this project; XDG_CACHE_HOME is honoured."""
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "pluto-tee"
    if os.name == "nt" and (local := os.environ.get("LOCALAPPDATA")):
        return Path(local) / "pluto-tee" / "cache"
    return Path.home() / ".cache" / "pluto-tee"


class Store:
    """A folder of the layout above. It is made when the first file is written."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, sha256: str) -> Path:
        """Where the content lies, or would lie. `sha256` in lower-case hex; FormatError otherwise."""
        if _HEX.fullmatch(sha256) is None:
            raise FormatError("store", f"{sha256[:80]!r} is no SHA-256")
        return self.root / "sha256" / sha256[:2] / sha256

    def has(self, sha256: str, size: int | None = None) -> bool:
        """Whether a file lies there (of that size); its content is checked when it is read."""
        try:
            found = self.path(sha256).stat().st_size
        except OSError:
            return False
        return size is None or found == size

    def get(self, sha256: str) -> bytes | None:
        """The content, verified; None if absent. A file that does not match its name is removed."""
        path = self.path(sha256)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SourceError(f"cannot read the store: {error}") from error
        if hashlib.sha256(data).hexdigest() == sha256:
            return data
        self.discard(sha256)
        return None

    def check(self, sha256: str) -> bool:
        """Whether the content is there and right, without holding it in memory; a wrong file is removed."""
        digest = hashlib.sha256()
        try:
            with self.path(sha256).open("rb") as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise SourceError(f"cannot read the store: {error}") from error
        if digest.hexdigest() != sha256:
            self.discard(sha256)
            return False
        return True

    def put(self, data: bytes) -> str:
        """Keep the content; returns its SHA-256 in hex. SourceError if the disk is full or not writable."""
        sha256 = hashlib.sha256(data).hexdigest()
        if not self.has(sha256, len(data)):
            with self.writing() as file:
                file.write(data)
                self.adopt(file, sha256)
        return sha256

    @contextlib.contextmanager
    def writing(self) -> Iterator[tempfile._TemporaryFileWrapper[bytes]]:
        """A new file in tmp/, gone afterwards unless `adopt` took it. Disk errors become SourceErrors."""
        try:
            (self.root / "tmp").mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.root / "tmp", delete=False) as file:
                try:
                    yield file
                finally:
                    with contextlib.suppress(OSError):
                        file.close()
                    Path(file.name).unlink(missing_ok=True)
        except OSError as error:
            raise SourceError(f"cannot write to the store {self.root}: {error.strerror or error}") from error

    def adopt(self, file: tempfile._TemporaryFileWrapper[bytes], sha256: str) -> None:
        """Move a file of `writing`, whose content the caller has verified, to its place."""
        path = self.path(sha256)
        path.parent.mkdir(parents=True, exist_ok=True)
        file.close()  # no fsync: after a power cut a torn file does not match its name, and is fetched again
        Path(file.name).chmod(0o444)
        Path(file.name).replace(path)

    def discard(self, sha256: str) -> None:
        """Forget a content. SourceError if the store is not writable."""
        try:
            self.path(sha256).unlink(missing_ok=True)
        except OSError as error:
            raise SourceError(f"cannot remove {sha256} from the store: {error.strerror}") from error

    def sweep(self, now: float) -> int:
        """Remove what processes that died left in tmp/ a day ago; returns how many. `now`: seconds since 1970."""
        removed = 0
        for path in (self.root / "tmp").glob("*"):
            with contextlib.suppress(OSError):
                if now - path.lstat().st_mtime > STALE:
                    _remove(path)
                    removed += 1
        return removed


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
