"""The largest answer costs its own size, however it comes; one byte more is refused."""

from __future__ import annotations

import tracemalloc
import zlib

import pytest

from notary.fetch.worlds import IDENTITY, ask
from pluto_measure.record import replace
from pluto_notary.fetch.errors import TargetError
from pluto_notary.fetch.limits import FetchLimits
from simulators.notary.sites import Site, raw

MIB = 1024 * 1024
LIMITS = replace(FetchLimits(), total_seconds=120.0)
PIECE = bytes(MIB)
CHUNK = b"100000\r\n" + PIECE + b"\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def coded(size: int) -> bytes:
    squeezer = zlib.compressobj(1)
    return b"".join([*(squeezer.compress(PIECE) for _ in range(size // MIB)), squeezer.flush()])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["plain", "chunks", "deflate"])
def test_weakness_16_an_answer_of_64_mib_costs_little_more_than_itself(kind: str) -> None:
    count = LIMITS.body_bytes // MIB
    squeezed = coded(LIMITS.body_bytes)
    pieces = {
        "plain": [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LIMITS.body_bytes, *[PIECE] * count],
        "chunks": [CHUNKED, *[CHUNK] * count, b"0\r\n\r\n"],
        "deflate": [b"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\n\r\n", squeezed],
    }
    with Site(IDENTITY, raw(*pieces[kind])) as site:
        tracemalloc.start()
        try:
            body = ask(site, limits=LIMITS).response.body
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert len(body) == LIMITS.body_bytes
    assert peak < 1.25 * LIMITS.body_bytes + 4 * MIB


@pytest.mark.slow
def test_weakness_16_one_byte_more_is_refused() -> None:
    pieces = [CHUNKED, *[CHUNK] * (LIMITS.body_bytes // MIB), b"1\r\nx\r\n0\r\n\r\n"]
    with Site(IDENTITY, raw(*pieces)) as site, pytest.raises(TargetError) as caught:
        ask(site, limits=LIMITS)
    assert caught.value.code == "size"
