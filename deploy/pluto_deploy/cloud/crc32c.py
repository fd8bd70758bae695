"""CRC-32C of large files without a compiled library. Pure.

The polynomial is Castagnoli's (RFC 3720, appendix B.4), bits reflected: the first bit of a message is its highest
coefficient. A message is a large integer, and most of it is divided away by x^5685 + x^1362 + x^426 + 1, which is a
multiple of the polynomial: three shifts of the integer in place of a step per byte. So are the squares of that, whose
exponents double, and with which a MiB takes twenty such shifts. Zeros are not read: n of them multiply by x^8n.
"""

from __future__ import annotations

from functools import cache
from typing import Final

_POLYNOMIAL: Final = 0x82F63B78  # x^32 left out; the highest bit is x^0
_ONES: Final = 0xFFFF_FFFF
_HIGH, _MIDDLE, _LOW = 5685, 1362, 426
_SHORT: Final = 1024  # bytes that are not worth more than the table


def crc32c(data: bytes, before: int = 0) -> int:
    """The CRC of `data`, behind bytes whose CRC is `before`."""
    register = before ^ _ONES
    if len(data) > _SHORT:
        data, register = _reduced(data, register), 0
    table = _table()
    for byte in data:
        register = table[(register ^ byte) & 0xFF] ^ register >> 8
    return register ^ _ONES


def of_zeros(count: int, before: int = 0) -> int:
    """The same for `count` zero bytes."""
    return _multiply(before ^ _ONES, _power(8 * count)) ^ _ONES


def _reduced(data: bytes, register: int) -> bytes:
    """A short message with the same remainder as a long one that begins in the state `register`."""
    rest, bits = int.from_bytes(data, "little") ^ register, 8 * len(data)
    for double in reversed(range((bits // _HIGH).bit_length())):
        high, middle, low = _HIGH << double, _MIDDLE << double, _LOW << double
        while (count := min(high - middle, bits - high) & ~7) > 0:
            first = rest & ((1 << count) - 1)
            rest >>= count
            rest ^= (first << high - middle - count) ^ (first << high - low - count) ^ (first << high - count)
            bits -= count
    return rest.to_bytes(bits // 8, "little")


@cache
def _table() -> tuple[int, ...]:
    rows = []
    for register in range(256):
        for _ in range(8):
            register = register >> 1 ^ (_POLYNOMIAL if register & 1 else 0)
        rows.append(register)
    return tuple(rows)


def _power(exponent: int) -> int:
    """x to the power of `exponent`, modulo the polynomial."""
    result, square = 1 << 31, 1 << 30
    while exponent:
        if exponent & 1:
            result = _multiply(result, square)
        square = _multiply(square, square)
        exponent >>= 1
    return result


def _multiply(a: int, b: int) -> int:
    product = 0
    for bit in reversed(range(32)):
        if a >> bit & 1:
            product ^= b
        b = b >> 1 ^ (_POLYNOMIAL if b & 1 else 0)
    return product
