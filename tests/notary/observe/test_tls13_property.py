"""Whatever is done to the bytes of a TLS 1.3 recording: nothing is opened that was not said."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notary.observe import wire
from notary.observe.worlds import HOST, LIMITS, P256, SUITES, Tls13, judge, pieces
from pluto_measure.record import replace
from pluto_notary.observe.errors import ObserveError
from pluto_notary.observe.opened import opened
from pluto_notary.observe.recording import Opened, Recording

SIDES = st.sampled_from(["client", "site"])
KINDS = st.tuples(st.sampled_from(list(SUITES)), st.sampled_from(["plain", "retry", "pieces"]))


@cache
def session(suite: int, kind: str) -> tuple[Recording, bytes, Opened]:
    """A session with a bit of everything, its secret, and what it says."""
    variants: dict[str, dict[str, Any]] = {
        "plain": {"asks": True},
        "retry": {"retry": {51: wire.u16(P256), 44: wire.vec(2, b"cookie")}},
        "pieces": {"cut": pieces(90), "hello_cut": pieces(60)},
    }
    made = Tls13(suite=suite, **variants[kind])
    made.client.data(b"question one", zeros=3)
    made.client.update(b"\1")
    made.client.data(b"question two")
    made.site.ticket()
    made.site.data(b"answer one")
    made.site.update()
    made.site.data(b"answer two", zeros=50)
    made.client.close()
    made.site.close()
    seen = opened(made.recording, made.secret, host=HOST, judge=judge, limits=LIMITS)
    assert (seen.client, seen.site) == (made.client.said, made.site.said)
    return made.recording, made.secret, seen


def assert_nothing_new(recording: Recording, secret: bytes, true: Opened) -> None:
    """It is refused, or it is what was said, or the site's part of it from its beginning."""
    try:
        seen = opened(recording, secret, host=HOST, judge=judge, limits=LIMITS)
    except ObserveError:
        return
    assert seen.chain == true.chain
    assert true.client.startswith(seen.client)
    assert true.site.startswith(seen.site)
    assert seen.site == true.site or not seen.closed


@given(KINDS, SIDES, st.data())
def test_any_bit(kind: tuple[int, str], side: str, data: st.DataObject) -> None:
    recording, secret, true = session(*kind)
    at = data.draw(st.integers(0, len(getattr(recording, side)) * 8 - 1))
    assert_refused(*flipped(recording, side, at), secret, true)


@pytest.mark.slow
@pytest.mark.parametrize("side", ["client", "site"])
def test_every_bit_of_a_session(side: str) -> None:
    recording, secret, true = session(0x1301, "retry")
    for at in range(len(getattr(recording, side)) * 8):
        assert_refused(*flipped(recording, side, at), secret, true)


def flipped(recording: Recording, side: str, bit: int) -> tuple[Recording, bool]:
    """With another bit; and whether it means nothing: the version of the first hello's records may be 3.1 or 3.3."""
    raw = bytearray(getattr(recording, side))
    raw[bit // 8] ^= 1 << bit % 8
    records = [one for one in wire.split(recording.client) if one[1:3] == b"\3\1"]
    idle = {sum(map(len, records[:count])) + 2 for count in range(len(records))}
    return replace(recording, **{side: bytes(raw)}), side == "client" and bit % 8 == 1 and bit // 8 in idle


def assert_refused(changed: Recording, idle: bool, secret: bytes, true: Opened) -> None:
    try:
        seen = opened(changed, secret, host=HOST, judge=judge, limits=LIMITS)
    except ObserveError:
        return
    assert idle
    assert seen == true


@given(KINDS, SIDES, st.data())
def test_any_cut(kind: tuple[int, str], side: str, data: st.DataObject) -> None:
    recording, secret, true = session(*kind)
    raw = getattr(recording, side)
    end = data.draw(st.integers(0, len(raw)))
    assert_nothing_new(replace(recording, **{side: raw[:end]}), secret, true)


@given(KINDS, SIDES, st.data())
def test_any_order_of_records(kind: tuple[int, str], side: str, data: st.DataObject) -> None:
    recording, secret, true = session(*kind)
    records = wire.split(getattr(recording, side))
    chosen = data.draw(st.lists(st.sampled_from(records), max_size=len(records) + 2) | st.permutations(records))
    assert_nothing_new(replace(recording, **{side: b"".join(chosen)}), secret, true)


@given(KINDS, SIDES, st.data())
def test_any_splice(kind: tuple[int, str], side: str, data: st.DataObject) -> None:
    """Bytes taken out, put in or repeated anywhere."""
    recording, secret, true = session(*kind)
    raw = getattr(recording, side)
    start = data.draw(st.integers(0, len(raw)))
    end = data.draw(st.integers(start, len(raw)))
    changed = raw[:start] + data.draw(st.binary(max_size=40) | st.just(raw[start:end] * 2)) + raw[end:]
    assert_nothing_new(replace(recording, **{side: changed}), secret, true)


@given(KINDS, st.binary(min_size=32, max_size=32) | st.binary(min_size=48, max_size=48))
def test_any_secret(kind: tuple[int, str], secret: bytes) -> None:
    recording, right, _ = session(*kind)
    if secret != right:
        with pytest.raises(ObserveError, match="secret"):
            opened(recording, secret, host=HOST, judge=judge, limits=LIMITS)


@given(KINDS, KINDS)
def test_directions_of_two_sessions(one: tuple[int, str], other: tuple[int, str]) -> None:
    first, secret, true = session(*one)
    second, _, _ = session(*other)
    if one != other:
        assert_nothing_new(Recording(first.client, second.site), secret, true)
        with pytest.raises(ObserveError):
            opened(Recording(second.client, first.site), secret, host=HOST, judge=judge, limits=LIMITS)


@given(st.binary(max_size=400), st.binary(max_size=400), st.binary(max_size=50))
def test_noise(client: bytes, site: bytes, secret: bytes) -> None:
    hello = wire.split(session(0x1301, "plain")[0].site)[0]
    for begin in (b"", hello, b"\x16\3\3\0\x50"):
        with pytest.raises(ObserveError):
            opened(Recording(client, begin + site), secret, host=HOST, judge=judge, limits=LIMITS)
