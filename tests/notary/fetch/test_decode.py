"""Codings of bodies: any cut gives the same bytes; every truncation, every byte more, every bomb is an error."""

from __future__ import annotations

import contextlib
import gzip
import tracemalloc
import zlib
from collections.abc import Callable

import brotli
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_notary.fetch import decode
from pluto_notary.fetch.decode import Body, codings
from pluto_notary.fetch.errors import TargetError
from pluto_notary.fetch.limits import FetchLimits

LIMITS = FetchLimits(body_bytes=1024 * 1024)
TEXT = b"A body that repeats itself, repeats itself. " * 40


def bare(data: bytes) -> bytes:
    squeezer = zlib.compressobj(wbits=-15)
    return squeezer.compress(data) + squeezer.flush()


CODE: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", lambda data: gzip.compress(data, mtime=0)),
    "zlib": ("deflate", zlib.compress),
    "bare": ("deflate", bare),
    "br": ("br", lambda data: bytes(brotli.compress(data, quality=5))),
}


def decoded(names: tuple[str, ...], data: bytes, cuts: list[int], limits: FetchLimits = LIMITS) -> bytes:
    body = Body(names, limits)
    places = sorted({min(cut, len(data)) for cut in cuts})
    for start, end in zip([0, *places], [*places, len(data)], strict=True):
        body.feed(data[start:end])
    return body.end()


@given(st.sampled_from(sorted(CODE)), st.binary(max_size=300), st.lists(st.integers(0, 400), max_size=6))
def test_any_cut_of_a_coded_body_gives_the_same_bytes(kind: str, data: bytes, cuts: list[int]) -> None:
    name, code = CODE[kind]
    assert decoded((name,), code(data), cuts) == data


@given(st.sampled_from(sorted(CODE)), st.sampled_from(sorted(CODE)), st.lists(st.integers(0, 400), max_size=4))
def test_two_codings_in_a_row_are_taken_off_in_reverse(first: str, second: str, cuts: list[int]) -> None:
    (name1, code1), (name2, code2) = CODE[first], CODE[second]
    assert decoded((name1, name2), code2(code1(TEXT)), cuts) == TEXT


@pytest.mark.parametrize("kind", sorted(CODE))
def test_every_truncation_and_every_byte_more_is_an_error(kind: str) -> None:
    name, code = CODE[kind]
    data = code(TEXT)
    for size in range(len(data)):
        with pytest.raises(TargetError, match="http"):
            decoded((name,), data[:size], [size // 2])
    for more in (b"\0", b"x", data, b"\x03"):
        for cuts in ([], [len(data)], [len(data) - 1]):
            with pytest.raises(TargetError, match="http"):
                decoded((name,), data + more, cuts)


@pytest.mark.parametrize("kind", ["gzip", "zlib"])
def test_a_checksum_that_does_not_hold_is_an_error(kind: str) -> None:
    name, code = CODE[kind]
    data = bytearray(code(TEXT))
    data[-6 if kind == "gzip" else -1] ^= 1
    with pytest.raises(TargetError, match="http"):
        decoded((name,), bytes(data), [])


@settings(deadline=None)
@given(st.sampled_from(["gzip", "deflate", "br"]), st.binary(max_size=200))
def test_any_bytes_decode_or_are_refused(name: str, data: bytes) -> None:
    with contextlib.suppress(TargetError):
        decoded((name,), data, [len(data) // 2])


@pytest.mark.parametrize("kind", sorted(CODE))
@pytest.mark.parametrize("twice", [False, True])
def test_weakness_16_a_bomb_is_refused_before_it_takes_memory(kind: str, twice: bool) -> None:
    name, code = CODE[kind]
    bomb, names = code(bytes(64 * 1024 * 1024)), [name]
    if twice:
        bomb, names = code(bomb), [name, name]
    tracemalloc.start()
    try:
        with pytest.raises(TargetError, match="size"):
            decoded(tuple(names), bomb, [])
        most = 4 if kind != "br" or hasattr(brotli.Decompressor, "can_accept_more_data") else 64
        assert tracemalloc.get_traced_memory()[1] < most * 1024 * 1024
    finally:
        tracemalloc.stop()


def test_without_brotlis_own_limit_a_bomb_is_met_in_small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "_BR_LIMITS", False)
    monkeypatch.setattr(decode, "_BR_INPUT", 16)
    assert decoded(("br",), brotli.compress(TEXT), [3]) == TEXT
    bomb = brotli.compress(bytes(256 * 1024 * 1024), quality=5)
    with pytest.raises(TargetError, match="size"):
        decoded(("br",), bomb, [])


def test_the_limit_is_exact() -> None:
    limits = FetchLimits(body_bytes=1000)
    for size, fits in ((1000, True), (1001, False)):
        for name, code in [*CODE.values(), ("", bytes)]:
            names = (name,) if name else ()
            if fits:
                assert decoded(names, code(bytes(size)), [], limits) == bytes(size)
            else:
                with pytest.raises(TargetError, match="size"):
                    decoded(names, code(bytes(size)), [], limits)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([], ()),
        (["identity"], ()),
        (["gzip"], ("gzip",)),
        (["X-GZIP"], ("gzip",)),
        (["deflate, br"], ("deflate", "br")),
        (["gzip", "identity", "br"], ("gzip", "br")),
        ([" , gzip ,"], ("gzip",)),
    ],
)
def test_codings_are_read_in_their_order(values: list[str], wanted: tuple[str, ...]) -> None:
    assert codings(tuple(("content-encoding", value) for value in values)) == wanted


@pytest.mark.parametrize("value", ["zstd", "gzip, br, gzip", "compress", "gzip;q=1", "gzip br"])
def test_codings_that_were_not_asked_for_are_refused(value: str) -> None:
    with pytest.raises(TargetError, match="http"):
        codings((("content-encoding", value),))
