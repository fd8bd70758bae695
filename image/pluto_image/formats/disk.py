"""The bootable disk: a GPT with one EFI system partition that holds the UKI, as a few chunks of a sparse file.

Everything in it follows from the UKI: identifiers are digests, times are constants. Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Final
from uuid import UUID

from pluto_image.formats import fat32, gpt

SIZE: Final = 1 << 30  # fixed, because the GPT is measured and holds the disk's size; whole GiB is what clouds take
BOOT_PATH: Final = "EFI/BOOT/BOOTX64.EFI"
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


def _derived(seed: bytes, use: str) -> bytes:
    return hashlib.sha256(b"pluto-tee/disk/v1\0" + use.encode() + b"\0" + seed).digest()


def _identifier(seed: bytes, use: str) -> UUID:
    """A version 8 UUID (RFC 9562 §5.8: bits of the maker's own choice)."""
    raw = bytearray(_derived(seed, use)[:16])
    raw[6] = raw[6] & 0x0F | 0x80
    raw[8] = raw[8] & 0x3F | 0x80
    return UUID(bytes=bytes(raw))
