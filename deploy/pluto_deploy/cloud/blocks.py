"""A file that is mostly zeros, as blocks: each byte read once, no more than a block in memory. Thin IO.

What the file system calls a hole is not read; what is read and zero is not handed out either. The digests are of the
whole file, zeros included, and are there when the last block was handed out.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pluto_deploy.cloud import crc32c
from pluto_measure.errors import SourceError, UsageError, VerificationError

BLOCK: Final = 1 << 20  # bytes
_ZEROS: Final = bytes(1 << 16)
_SHORTER: Final = "it has another size than when it was opened"


@dataclass(frozen=True, slots=True)
class Block:
    """Bytes of a file that are not all zero. `offset` is a multiple of the block's size."""

    offset: int
    data: bytes

    @property
    def end(self) -> int:
        return self.offset + len(self.data)


@dataclass(frozen=True, slots=True)
class Whole:
    """Digests of a whole file: SHA-256 in hex, CRC-32C as a number (0 where it was not asked for)."""

    size: int
    sha256: str
    crc32c: int


class Blocks:
    """The blocks of one file in ascending order, to be gone through once. SourceError where it cannot be read.

    `block`: bytes, a power of two; the last block of a file may be shorter. `crc`: whether a CRC-32C is wanted.
    """

    def __init__(self, path: Path, *, block: int = BLOCK, crc: bool = False) -> None:
        self.path, self.block = path, block
        self.size = size_of(path)
        self._hash, self._crc, self._with_crc, self._done = hashlib.sha256(), 0, crc, 0

    def __iter__(self) -> Iterator[Block]:
        try:
            with self.path.open("rb", buffering=0) as file:
                yield from self._read(file.fileno())
        except OSError as error:
            raise SourceError(f"cannot read {self.path}: {error.strerror or error}") from error

    def whole(self) -> Whole:
        """The digests, once all blocks were handed out."""
        assert self._done == self.size, "not all blocks were read"
        return Whole(self.size, self._hash.hexdigest(), self._crc)

    def check(self, sha256: str) -> None:
        """VerificationError unless what was read has this digest, in hex."""
        if self.whole().sha256 != sha256:
            raise VerificationError(f"{self.path} has the SHA-256 {self.whole().sha256}, not {sha256}")

    def _read(self, descriptor: int) -> Iterator[Block]:
        known_zero_until = 0
        for offset in range(0, self.size, self.block):
            count = min(self.block, self.size - offset)
            if offset >= known_zero_until:
                known_zero_until = _next_data(descriptor, offset, self.size)
            data = b"" if offset + count <= known_zero_until else _exactly(descriptor, offset, count)
            if _is_zero(data):
                self._pass_zeros(count)
                continue
            self._hash.update(data)
            self._crc = crc32c.crc32c(data, self._crc) if self._with_crc else 0
            self._done += count
            yield Block(offset, data)
            del data  # else it stays beside the next
        if os.fstat(descriptor).st_size != self.size:
            raise OSError(errno.EIO, _SHORTER)

    def _pass_zeros(self, count: int) -> None:
        for at in range(0, count, len(_ZEROS)):
            self._hash.update(_ZEROS[: min(len(_ZEROS), count - at)])
        self._crc = crc32c.of_zeros(count, self._crc) if self._with_crc else 0
        self._done += count


def digests(path: Path, *, crc: bool = False) -> Whole:
    """The digests of a file that is sent otherwise."""
    blocks = Blocks(path, crc=crc)
    for _ in blocks:
        continue
    return blocks.whole()


def size_of(path: Path) -> int:
    """Bytes of a plain file. UsageError for anything else, SourceError where it cannot be told."""
    try:
        found = path.stat()
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror or error}") from error
    if not stat.S_ISREG(found.st_mode):
        raise UsageError(f"{path} is no plain file")
    return found.st_size


def piece(path: Path, offset: int, count: int) -> bytes:
    """Exactly these bytes of a file. SourceError."""
    try:
        with path.open("rb", buffering=0) as file:
            return _exactly(file.fileno(), offset, count)
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror or error}") from error


def _next_data(descriptor: int, offset: int, size: int) -> int:
    """Where data may begin at or behind `offset`, by lseek(2) SEEK_DATA; `offset` where the system does not say."""
    if not hasattr(os, "SEEK_DATA"):
        return offset
    try:
        return os.lseek(descriptor, offset, os.SEEK_DATA)
    except OSError as error:
        return size if error.errno == errno.ENXIO else offset  # ENXIO: a hole up to the end


def _exactly(descriptor: int, offset: int, count: int) -> bytes:
    data = os.pread(descriptor, count, offset)
    while len(data) < count:
        more = os.pread(descriptor, count - len(data), offset + len(data))
        if not more:
            raise OSError(errno.EIO, _SHORTER)
        data += more
    return data


def _is_zero(data: bytes) -> bool:
    """One comparison per 64 KiB, and most blocks with data end at the first."""
    return all(
        data[at : at + len(_ZEROS)] == _ZEROS[: min(len(_ZEROS), len(data) - at)]
        for at in range(0, len(data), len(_ZEROS))
    )
