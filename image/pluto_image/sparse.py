"""Sparse files as chunks: written under a temporary name, copied with their holes, hashed without being written."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from pluto_measure.errors import SourceError

_BLOCK: Final = 1 << 20  # bytes that are copied or hashed at once
Chunks = Iterable[tuple[int, bytes]]  # (offset, bytes) in ascending order; what no chunk covers is zero


def write_sparse(path: Path, chunks: Chunks, size: int) -> None:
    """Write a sparse file of `size` bytes under a temporary name, then rename it to `path`.

    On failure `path` is as it was and the temporary file is gone. Raises SourceError when the system refuses.
    """
    temporary = path.with_name(path.name + ".partial")
    try:
        with temporary.open("wb") as file:
            for offset, data in chunks:
                file.seek(offset)
                file.write(data)
            file.truncate(size)
        os.replace(temporary, path)  # noqa: PTH105  Path.replace returns a path nobody needs
    except OSError as error:
        raise SourceError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def copy_sparse(source: Path, target: Path) -> None:
    """Copy a file; blocks of zeros become holes where the file system has such. OSError."""
    zeros = bytes(_BLOCK)
    with source.open("rb") as read, target.open("wb") as write:
        while data := read.read(_BLOCK):
            if data == zeros[: len(data)]:
                write.seek(len(data), os.SEEK_CUR)
            else:
                write.write(data)
        write.truncate()


def sparse_digest(size: int, chunks: Chunks) -> str:
    """SHA-256 in hex of a sparse file that was never written: `size` bytes, zero where no chunk lies."""
    digest, at, zeros = hashlib.sha256(), 0, bytes(_BLOCK)
    for offset, data in chunks:
        _feed_zeros(digest.update, zeros, offset - at)
        digest.update(data)
        at = offset + len(data)
    _feed_zeros(digest.update, zeros, size - at)
    return digest.hexdigest()


def _feed_zeros(update: Callable[[bytes | memoryview], object], zeros: bytes, count: int) -> None:
    view = memoryview(zeros)
    while count > 0:
        update(view[: min(count, len(zeros))])
        count -= len(zeros)
