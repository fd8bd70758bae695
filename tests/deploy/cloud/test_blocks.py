"""Blocks of a sparse file: nothing is lost, zeros are not handed out, digests are of the whole. CRC-32C, as defined."""

from __future__ import annotations

import errno
import hashlib
import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pluto_deploy.cloud import blocks, crc32c
from pluto_deploy.cloud.blocks import Block, Blocks, digests, piece, size_of
from pluto_measure.errors import SourceError, UsageError, VerificationError
from simulators.cloud import castagnoli

KIB = 1024


def rebuilt(given: list[Block], size: int) -> bytes:
    data = bytearray(size)
    for block in given:
        data[block.offset : block.end] = block.data
    return bytes(data)


SPANS = st.lists(
    st.tuples(st.integers(0, 300 * KIB), st.binary(min_size=0, max_size=20 * KIB), st.booleans()), max_size=6
)


@given(SPANS, st.integers(0, 320 * KIB), st.sampled_from([4 * KIB, 64 * KIB, 128 * KIB]))
@example([], 0, 4 * KIB)
@example([(0, b"", True)], 1, 4 * KIB)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_comes_back_whole(tmp_path: Path, spans: list[tuple[int, bytes, bool]], size: int, block: int) -> None:
    path = tmp_path / "file"
    with path.open("wb") as file:
        for offset, data, zero in spans:
            file.seek(offset)
            file.write(bytes(len(data)) if zero else data)
        file.truncate(size)
    content = path.read_bytes()
    seen = Blocks(path, block=block, crc=True)
    found = list(seen)
    assert rebuilt(found, size) == content
    assert all(any(one.data) and one.offset % block == 0 and len(one.data) <= block for one in found)
    assert [one.offset for one in found] == sorted({one.offset for one in found})
    whole = seen.whole()
    assert (whole.size, whole.sha256) == (size, hashlib.sha256(content).hexdigest())
    assert whole.crc32c == castagnoli.crc32c(content)


def test_holes_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate(256 << 20)
        file.seek(100 << 20)
        file.write(b"x")
    asked: list[int] = []
    pread = os.pread

    def counted(descriptor: int, count: int, offset: int) -> bytes:
        asked.append(count)
        return pread(descriptor, count, offset)

    monkeypatch.setattr(os, "pread", counted)
    (block,) = Blocks(path)
    assert (block.offset, len(block.data)) == (100 << 20, 1 << 20)
    assert sum(asked) == 1 << 20


@pytest.mark.parametrize("why", ["no such call", "not supported"])
def test_without_holes_it_looks_itself(sparse: Path, monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    def refused(*_: object) -> int:
        raise OSError(errno.EINVAL, "not supported")

    expected = [(one.offset, one.data) for one in Blocks(sparse)]
    if why == "no such call":
        monkeypatch.delattr(os, "SEEK_DATA")
    else:
        monkeypatch.setattr(os, "lseek", refused)
    seen = Blocks(sparse)
    assert [(one.offset, one.data) for one in seen] == expected
    seen.check(hashlib.sha256(sparse.read_bytes()).hexdigest())


def test_a_few_blocks_are_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(16 << 20))
    tracemalloc.start()
    try:
        assert sum(len(block.data) for block in Blocks(path)) == 16 << 20
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_another_digest_is_an_error(sparse: Path) -> None:
    seen = Blocks(sparse)
    list(seen)
    with pytest.raises(VerificationError, match="SHA-256"):
        seen.check("0" * 64)


def test_digests_of_half_a_file_are_none(sparse: Path) -> None:
    seen = Blocks(sparse)
    next(iter(seen))
    with pytest.raises(AssertionError):
        seen.whole()


def test_what_cannot_be_read(tmp_path: Path, sparse: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for act in (
        lambda: size_of(tmp_path / "none"),
        lambda: digests(tmp_path / "none"),
        lambda: Blocks(tmp_path / "none"),
    ):
        with pytest.raises(SourceError, match="cannot read"):
            act()
    with pytest.raises(SourceError, match="cannot read"):
        piece(tmp_path / "none", 0, 1)
    with pytest.raises(UsageError, match="no plain file"):
        size_of(tmp_path)
    with pytest.raises(SourceError, match="another size"):
        piece(sparse, sparse.stat().st_size - 1, 2)
    seen = iter(Blocks(sparse))
    next(seen)
    os.truncate(sparse, 1 << 20)
    with pytest.raises(SourceError, match="another size"):
        list(seen)
    assert blocks.BLOCK % 512 == 0


def test_a_read_that_brings_less_is_gone_on_with(sparse: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, count, at: pread(fd, min(count, 100_000), at))
    assert rebuilt(list(Blocks(sparse)), sparse.stat().st_size) == sparse.read_bytes()


class TestCrc:
    @pytest.mark.parametrize(
        ("data", "crc"),  # RFC 3720, appendix B.4; the last is the check value of the CRC catalogue
        [
            (bytes(32), 0x8A9136AA),
            (b"\xff" * 32, 0x62A8AB43),
            (bytes(range(32)), 0x46DD794E),
            (bytes(reversed(range(32))), 0x113FDB5C),
            (b"123456789", 0xE3069283),
            (b"", 0),
        ],
    )
    def test_published_values(self, data: bytes, crc: int) -> None:
        assert crc32c.crc32c(data) == castagnoli.crc32c(data) == crc

    def test_what_it_divides_by_is_a_multiple_of_the_polynomial(self) -> None:
        def power(exponent: int) -> int:
            value = 1
            for _ in range(exponent):
                value = value << 1 ^ (0x11EDC6F41 if value >> 31 else 0)
            return value

        assert power(5685) ^ power(1362) ^ power(426) ^ 1 == 0

    @given(st.integers(0, 1 << 32), st.integers(0, 20_000), st.integers(0, 20_000))
    @settings(max_examples=40, deadline=None)
    @example(0, 1024, 1025)
    @example(1, 711, 1422)
    def test_any_data_in_any_parts(self, seed: int, first: int, second: int) -> None:
        import random

        data = random.Random(seed).randbytes(first + second)
        assert crc32c.crc32c(data) == castagnoli.crc32c(data)
        assert crc32c.crc32c(data[first:], crc32c.crc32c(data[:first])) == castagnoli.crc32c(data)

    @given(st.binary(max_size=50), st.integers(0, 5000))
    @settings(max_examples=40, deadline=None)
    def test_zeros_are_data_like_any(self, data: bytes, zeros: int) -> None:
        assert crc32c.of_zeros(zeros, crc32c.crc32c(data)) == castagnoli.crc32c(data + bytes(zeros))

    def test_many_zeros_are_two_times_half_of_them(self) -> None:
        half = crc32c.of_zeros(1 << 29, 0x12345678)
        assert crc32c.of_zeros(1 << 29, half) == crc32c.of_zeros(1 << 30, 0x12345678)
