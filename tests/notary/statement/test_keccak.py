"""Keccak-256 against published values and against the permutation written out."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluto_notary.statement.keccak import keccak256

MASK = (1 << 64) - 1


def turned(value: int, by: int) -> int:
    return (value << by | value >> (64 - by)) & MASK if by else value


def permuted(a: list[list[int]]) -> list[list[int]]:
    """Keccak-f[1600] on lanes a[x][y] (FIPS 202, section 3.2); its constants come from the register that makes them."""
    register = 1
    for _ in range(24):
        c = [a[x][0] ^ a[x][1] ^ a[x][2] ^ a[x][3] ^ a[x][4] for x in range(5)]
        d = [c[x - 1] ^ turned(c[(x + 1) % 5], 1) for x in range(5)]
        a = [[a[x][y] ^ d[x] for y in range(5)] for x in range(5)]
        x, y, lane = 1, 0, a[1][0]
        for t in range(24):
            x, y = y, (2 * x + 3 * y) % 5
            lane, a[x][y] = a[x][y], turned(lane, (t + 1) * (t + 2) // 2 % 64)
        a = [[a[x][y] ^ (~a[(x + 1) % 5][y] & a[(x + 2) % 5][y]) for y in range(5)] for x in range(5)]
        for j in range(7):
            register = (register << 1) ^ (0x171 if register >> 7 else 0)
            if register & 2:
                a[0][0] ^= 1 << ((1 << j) - 1)
    return a


def sponge(data: bytes, suffix: int) -> bytes:
    """32 bytes of the sponge with rate 136; the suffix is 1 for Keccak and 6 for SHA3."""
    padded = bytearray(data + bytes([suffix]) + bytes(-(len(data) + 1) % 136))
    padded[-1] |= 0x80
    a = [[0] * 5 for _ in range(5)]
    for start in range(0, len(padded), 136):
        for i in range(17):
            a[i % 5][i // 5] ^= int.from_bytes(padded[start + 8 * i : start + 8 * i + 8], "little")
        a = permuted(a)
    return b"".join(a[i][0].to_bytes(8, "little") for i in range(4))


@pytest.mark.parametrize(
    ("data", "digest"),
    [
        (b"", "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"),
        (b"abc", "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45"),
    ],
)
def test_published_values(data: bytes, digest: str) -> None:
    assert keccak256(data).hex() == digest


@given(st.binary(max_size=600))
def test_it_is_the_sponge_with_the_old_padding(data: bytes) -> None:
    assert sponge(data, 6) == hashlib.sha3_256(data).digest()
    assert keccak256(data) == sponge(data, 1)


@pytest.mark.parametrize("size", [135, 136, 137, 271, 272, 273])
def test_sizes_around_a_block(size: int) -> None:
    assert keccak256(b"\xa3" * size) == sponge(b"\xa3" * size, 1)
