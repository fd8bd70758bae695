"""The bootable disk: a GPT with one EFI system partition that holds the UKI, as a few chunks of a sparse file.

Everything in it follows from the UKI: identifiers are digests, times are constants. `write_sparse` is the only IO.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final
from uuid import UUID

from pluto_image import fat32, gpt
from pluto_measure.errors import SourceError

SIZE: Final = 1 << 30  # fixed, because the GPT is measured and holds the disk's size; whole GiB is what clouds take
BOOT_PATH: Final = "EFI/BOOT/BOOTX64.EFI"
_BLOCK: Final = 1 << 20  # bytes that are copied at once
_PARTITION_NAME: Final = "esp"


def disk(uki: bytes, size: int = SIZE, *, extra: Mapping[str, bytes] | None = None) -> Iterator[tuple[int, bytes]]:
    """(offset, bytes) in ascending order; what no chunk covers is zero. `size` in bytes.

    `extra` adds files to the ESP (path to content), as an attacker would: identifiers follow from the UKI alone.
    Raises FormatError if the files do not fit.
    """
    seed = hashlib.sha256(uki).digest()
    where = gpt.layout(size)
    front, back = gpt.tables(where, _identifier(seed, "disk"), _identifier(seed, "partition"), _PARTITION_NAME)
    volume = int.from_bytes(_derived(seed, "volume")[:4], "little")
    files = {BOOT_PATH: uki, **(extra or {})}
    yield front
    for offset, data in fat32.volume(where.size, files, volume_id=volume, hidden_sectors=where.first):
        yield where.offset + offset, data
    yield back


def write_sparse(path: Path, chunks: Iterable[tuple[int, bytes]], size: int) -> None:
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


def _derived(seed: bytes, use: str) -> bytes:
    return hashlib.sha256(b"pluto-tee/disk/v1\0" + use.encode() + b"\0" + seed).digest()


def _identifier(seed: bytes, use: str) -> UUID:
    """A version 8 UUID (RFC 9562 §5.8: bits of the maker's own choice)."""
    raw = bytearray(_derived(seed, use)[:16])
    raw[6] = raw[6] & 0x0F | 0x80
    raw[8] = raw[8] & 0x3F | 0x80
    return UUID(bytes=bytes(raw))
