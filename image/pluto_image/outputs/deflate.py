"""A gzip writer whose bytes follow from the specification alone, for files that are mostly zeros. Pure.

Compressors differ from version to version and from library to library. Here data is stored as it is, and runs of zeros
become one Huffman block each; a GiB of zeros takes one MiB. Format: RFC 1951 (§3.2.4 stored, §3.2.7 dynamic blocks),
RFC 1952 §2.3.

Every piece ends at a byte: a run's block is followed by an empty stored block, which fills its last byte up.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import groupby
from typing import Final

from pluto_measure.errors import FormatError

# Magic, deflate, no flags, no time, no extra flags, system 255 (unknown): nothing of the machine that writes.
_HEADER: Final = b"\x1f\x8b\x08\0" + bytes(4) + b"\0\xff"
_STORED: Final = 65535  # bytes that one stored block holds at most
_BLOCK: Final = 4096  # zeros are looked for in blocks of this size, counted from the file's beginning
_BLANK: Final = bytes(_BLOCK)
_MATCH: Final = 258  # the longest match
_EMPTY: Final = b"\0\0\xff\xff"  # length and its complement of an empty stored block
_LAST: Final = b"\1" + _EMPTY
_POLYNOMIAL: Final = 0xEDB88320  # CRC-32, reflected: the highest bit is x^0


def gzip(size: int, chunks: Iterable[tuple[int, bytes]]) -> Iterator[bytes]:
    """A gzip member of a file of `size` bytes, given as (offset, bytes) in ascending order and zero elsewhere.

    How the file is cut into chunks does not show. FormatError where chunks overlap or reach beyond the end.
    """
    yield _HEADER
    checksum = 0
    for data, zeros in _pieces(size, chunks):
        checksum = crc_of_zeros(zlib.crc32(data, checksum), zeros)
        for at in range(0, len(data), _STORED):
            yield from _stored(data[at : at + _STORED])
        if zeros:
            yield _run(zeros)
    yield _LAST
    yield checksum.to_bytes(4, "little") + (size & 0xFFFF_FFFF).to_bytes(4, "little")


def crc_of_zeros(checksum: int, count: int) -> int:
    """The CRC-32 after `count` more zero bytes: each multiplies the register by x^8."""
    return _multiply(checksum ^ 0xFFFF_FFFF, _power(8 * count)) ^ 0xFFFF_FFFF


def _pieces(size: int, chunks: Iterable[tuple[int, bytes]]) -> Iterator[tuple[bytes, int]]:
    """Data and the number of zeros after it, over and over."""
    data, zeros = bytearray(), 0
    for content, blank in _stretches(size, chunks):
        if content and zeros:
            yield bytes(data), zeros
            data, zeros = bytearray(), 0
        data += content
        zeros += blank
    yield bytes(data), zeros


def _stretches(size: int, chunks: Iterable[tuple[int, bytes]]) -> Iterator[tuple[bytes | bytearray, int]]:
    """Data, or a number of zeros. A block is either, as a whole, so short runs of zeros stay data."""
    at = 0
    for begin, held in _whole_blocks(size, chunks):
        yield b"", begin - at
        blocks = range(0, len(held), _BLOCK)
        for blank, group in groupby(blocks, partial(_is_blank, held)):
            starts = list(group)
            first, end = starts[0], min(starts[-1] + _BLOCK, len(held))
            yield (b"", end - first) if blank else (held[first:end], 0)
        at = begin + len(held)
    yield b"", size - at


def _is_blank(held: bytearray, at: int) -> bool:
    return _BLANK.startswith(held[at : at + _BLOCK])


def _whole_blocks(size: int, chunks: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytearray]]:
    """(offset, bytes) of all blocks that a chunk touches, each in one piece; the file's last block may be shorter."""
    begin, held = 0, bytearray()
    for offset, chunk in chunks:
        gap = offset - begin - len(held)
        if gap < 0 or offset + len(chunk) > size:
            raise FormatError("sparse file", "its chunks overlap or reach beyond its end", offset=offset)
        if gap >= _BLOCK:
            yield begin, held + bytes(-len(held) % _BLOCK)
            begin, held = offset - offset % _BLOCK, bytearray(offset % _BLOCK)
        else:
            held += bytes(gap)
        held += chunk
    yield begin, held + bytes(min(-len(held) % _BLOCK, size - begin - len(held)))


def _stored(data: bytes) -> Iterator[bytes]:
    yield b"\0" + len(data).to_bytes(2, "little") + (len(data) ^ 0xFFFF).to_bytes(2, "little")
    yield data


class _Bits:
    """Bits in the order of RFC 1951 §3.1.1: the first is the lowest of the first byte."""

    def __init__(self) -> None:
        self.value, self.count = 0, 0

    def put(self, value: int, count: int) -> None:
        """A number, its lowest bit first."""
        self.value |= value << self.count
        self.count += count

    def codes(self, text: str) -> None:
        """Huffman codes as text of 0 and 1, their highest bit first."""
        self.put(int(text[::-1] or "0", 2), len(text))

    def to_bytes(self) -> bytes:
        return self.value.to_bytes((self.count + 7) // 8, "little")


def _run(zeros: int) -> bytes:
    """A dynamic block of zeros and an empty stored block. One literal, then matches of 258 bytes at distance 1.

    Codes: 258 bytes "0", the literal 0 "10", the end "11", distance 1 "0". So a match is two zero bits.
    """
    matches, literals = divmod(zeros - 1, _MATCH)
    bits = _Bits()
    bits.put(0b100, 3)  # not the last block; dynamic Huffman codes
    bits.put(286 - 257, 5)
    bits.put(1 - 1, 5)
    bits.put(18 - 4, 4)
    # Lengths of the codes of code lengths, in the order of §3.2.7: of 18 one bit, of 2 and 1 two bits.
    for length in (0, 0, 1, *[0] * 12, 2, 0, 2):
        bits.put(length, 3)
    # Code "0": so many zeros (18); "11": 2; "10": 1.
    # So: the literal 0, 255 zeros, end of block, 28 zeros, 258 bytes; distance 1.
    for code, extra in (("11", None), ("0", 138), ("0", 117), ("11", None), ("0", 28), ("10", None), ("10", None)):
        bits.codes(code)
        if extra is not None:
            bits.put(extra - 11, 7)
    bits.codes("10")
    bits.count += 2 * matches
    bits.codes("10" * literals + "11" + "000")  # the end; then a stored block, not the last
    return bits.to_bytes() + _EMPTY


def _multiply(a: int, b: int) -> int:
    """The product of two polynomials modulo CRC-32's, reflected."""
    product, bit = 0, 1 << 31
    while a:
        if a & bit:
            product ^= b
            a ^= bit
        bit >>= 1
        b = (b >> 1) ^ _POLYNOMIAL if b & 1 else b >> 1
    return product


def _power(exponent: int) -> int:
    """x to the power of `exponent`, reflected."""
    result, square = 1 << 31, 1 << 30
    while exponent:
        if exponent & 1:
            result = _multiply(square, result)
        square = _multiply(square, square)
        exponent >>= 1
    return result
