"""CRC-32C by its definition (RFC 3720, appendix B.4), byte by byte: what ours is compared with. For tests alone."""

from __future__ import annotations

from functools import lru_cache


def _row(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    return byte


_ROWS = tuple(_row(byte) for byte in range(256))


@lru_cache(maxsize=4)
def crc32c(data: bytes) -> int:
    register = 0xFFFF_FFFF
    for byte in data:
        register = _ROWS[(register ^ byte) & 0xFF] ^ register >> 8
    return register ^ 0xFFFF_FFFF
