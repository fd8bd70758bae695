"""Our gzip: what zlib makes of it, bytes that follow from the content alone, checksums of zeros without the zeros."""

from __future__ import annotations

import gzip as standard
import hashlib
import zlib
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluto_image.outputs.deflate import crc_of_zeros, gzip
from pluto_measure.errors import FormatError

Chunk = tuple[int, bytes]
HEAD = bytes([0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255])  # RFC 1952 §2.3: deflate, no flags, no time, system unknown
END = bytes([1, 0, 0, 0xFF, 0xFF])  # the last block: stored, empty


def packed(size: int, chunks: Iterable[Chunk] = ()) -> bytes:
    return b"".join(gzip(size, chunks))


def content(size: int, chunks: Iterable[Chunk]) -> bytes:
    out = bytearray(size)
    for offset, data in chunks:
        out[offset : offset + len(data)] = data
    return bytes(out)


def unpacked(data: bytes) -> bytes:
    """By zlib, which must find exactly one member with the right checksum and size."""
    decoder = zlib.decompressobj(wbits=31)
    out = decoder.decompress(data)
    assert decoder.eof
    assert not decoder.unused_data
    return out


def trailer(content: bytes) -> bytes:
    return zlib.crc32(content).to_bytes(4, "little") + (len(content) & 0xFFFF_FFFF).to_bytes(4, "little")


# Stretches of a file: incompressible bytes, zeros, and both in turn, around the size at which zeros become a run.
_LENGTHS = st.one_of(st.integers(0, 300), st.integers(4000, 4200), st.integers(8100, 8300))
_NOISE = st.builds(lambda seed, length: hashlib.shake_128(seed).digest(length), st.binary(max_size=4), _LENGTHS)
_STRETCHES = st.lists(st.one_of(_NOISE, _LENGTHS.map(bytes), st.binary(max_size=9)), max_size=8)


@st.composite
def sparse(draw: st.DrawFn) -> tuple[int, list[Chunk]]:
    """A file as chunks between gaps; some zeros lie in chunks."""
    chunks, at = [], 0
    for stretch in draw(_STRETCHES):
        at += draw(_LENGTHS)
        chunks.append((at, stretch))
        at += len(stretch)
    return at + draw(_LENGTHS), chunks


@st.composite
def cut(draw: st.DrawFn, whole: bytes) -> list[Chunk]:
    """The same file cut elsewhere; pieces that are zero are left out, or not."""
    edges = sorted({0, len(whole), *draw(st.lists(st.integers(0, len(whole)), max_size=6))})
    pieces = [(begin, whole[begin:end]) for begin, end in pairwise(edges)]
    return [(at, data) for at, data in pieces if any(data) or draw(st.booleans())]


@given(sparse())
def test_zlib_reads_back_any_layout(layout: tuple[int, list[Chunk]]) -> None:
    whole, data = content(*layout), packed(*layout)
    assert unpacked(data) == standard.decompress(data) == whole
    assert data.startswith(HEAD)
    assert data.endswith(END + trailer(whole))


@given(sparse(), st.data())
def test_how_the_file_is_cut_does_not_show(layout: tuple[int, list[Chunk]], data: st.DataObject) -> None:
    whole = content(*layout)
    assert packed(len(whole), data.draw(cut(whole))) == packed(*layout)


def test_data_is_stored() -> None:
    assert packed(3, [(0, b"abc")]) == HEAD + bytes([0, 3, 0, 0xFC, 0xFF]) + b"abc" + END + trailer(b"abc")
    assert packed(0) == HEAD + END + bytes(8)


@pytest.mark.parametrize("length", [1, 65534, 65535, 65536, 131070, 200_001])
def test_stored_blocks_hold_as_much_as_they_can(length: int) -> None:
    """RFC 1951 §3.2.4: at most 65,535 bytes each, so five bytes are added for each."""
    data = hashlib.shake_128(b"").digest(length)
    found = packed(length, [(0, data)])
    assert unpacked(found) == data
    assert len(found) == len(HEAD) + length + 5 * -(-length // 65535) + len(END) + 8


# Every number of literals after the matches, and the first numbers of matches.
@pytest.mark.parametrize("counts", [range(1, 800), (258 * n + d for n in (10, 100, 4000) for d in range(-2, 4))])
def test_runs_of_every_length(counts: Iterable[int]) -> None:
    for count in counts:
        assert unpacked(packed(count)) == bytes(count), count


def test_a_match_takes_two_bits() -> None:
    """RFC 1951 §3.2.5: at most 258 bytes a match."""
    million = [len(packed(258 * 1_000_000 * n + 1)) for n in (1, 2, 3)]
    assert [million[1] - million[0], million[2] - million[1]] == [250_000, 250_000]


def test_short_zeros_stay_data_and_long_ones_do_not() -> None:
    """A block of 4096 bytes is zero as a whole, or stored as a whole."""
    around = b"x" + bytes(8190) + b"x"
    assert around in packed(8192, [(0, b"x"), (8191, b"x")])
    run = packed(12288, [(0, b"x"), (12287, b"x")])
    assert len(run) < 8192 + 150
    assert unpacked(run) == b"x" + bytes(12286) + b"x"


@given(st.binary(max_size=40), st.integers(0, 70_000))
def test_the_checksum_of_zeros_is_that_of_zlib(before: bytes, count: int) -> None:
    assert crc_of_zeros(zlib.crc32(before), count) == zlib.crc32(bytes(count), zlib.crc32(before))


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**70), st.integers(0, 2**70))
def test_checksums_of_zeros_add_up(checksum: int, one: int, two: int) -> None:
    assert crc_of_zeros(crc_of_zeros(checksum, one), two) == crc_of_zeros(checksum, one + two)


def test_sizes_beyond_four_gib_wrap() -> None:
    """RFC 1952 §2.3.1: ISIZE is the size modulo 2^32."""
    size = (5 << 30) + 7
    assert packed(size, [(size - 1, b"!")])[-4:] == ((1 << 30) + 7).to_bytes(4, "little")
    assert packed(4 << 30)[-8:-4] == crc_of_zeros(0, 4 << 30).to_bytes(4, "little")


def test_a_gib_of_zeros_takes_a_mib() -> None:
    assert len(packed(1 << 30)) < 1.01 * (1 << 20)
    assert unpacked(packed(100_000_000)).count(0) == 100_000_000


@pytest.mark.parametrize("at", [-1, -5])
def test_a_wrong_trailer_is_seen(at: int) -> None:
    data = bytearray(packed(9000, [(10, b"text")]))
    data[at] ^= 1
    with pytest.raises(standard.BadGzipFile):
        standard.decompress(data)


@pytest.mark.parametrize(
    "chunks",
    [[(-1, b"a")], [(99, b"ab")], [(101, b"")], [(10, b"abc"), (12, b"d")], [(50, b"a"), (10, b"b")]],
    ids=["before the beginning", "over the end", "behind the end", "overlapping", "descending"],
)
def test_chunks_that_are_no_file_are_refused(chunks: list[Chunk]) -> None:
    with pytest.raises(FormatError, match="its chunks overlap or reach beyond its end"):
        packed(100, chunks)
    assert unpacked(packed(100, [(0, b""), (98, b"ab"), (100, b"")])) == bytes(98) + b"ab"


def test_golden() -> None:
    """Data, a run inside a chunk, a gap, a short tail: the bytes are these for ever, whatever library is here."""
    chunks = [(5, b"\1" * 70_000 + bytes(20_000) + b"\2"), (300_000, b"\3")]
    assert (
        hashlib.sha256(packed(310_001, chunks)).hexdigest()
        == "04f467094cc71f7a36d5c58496598c6388864062df85b69f96e69cd46c567b7a"
    )
