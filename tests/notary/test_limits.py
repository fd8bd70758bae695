"""What one client and all may cost: buckets, shares, rates, and what has begun and not ended, against plain models."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_notary.limits import Rates, Shares, TokenBucket, Unfinished

CLIENTS = st.sampled_from("abcd")


def test_a_burst_is_allowed_and_then_the_rate() -> None:
    bucket = TokenBucket(rate=2.0, burst=3, now=10.0)
    assert [bucket.take(10.0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(10.5) for _ in range(2)] == [True, False]


def test_a_long_rest_gives_no_more_than_the_burst() -> None:
    bucket = TokenBucket(rate=2.0, burst=3, now=0.0)
    assert [bucket.take(1e9) for _ in range(4)] == [True, True, True, False]


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 3), st.lists(st.tuples(CLIENTS, st.booleans()), max_size=60))
def test_shares_are_kept_for_each_client_alone(most: int, moves: list[tuple[str, bool]]) -> None:
    shares, held = Shares(most), dict.fromkeys("abcd", 0)
    for client, takes in moves:
        if takes:
            assert shares.take(client) == (held[client] < most)
            held[client] = min(most, held[client] + 1)
        elif held[client]:
            shares.give_back(client)
            held[client] -= 1
    for client, left in held.items():
        for _ in range(left):
            shares.give_back(client)
        with pytest.raises(KeyError):
            shares.give_back(client)  # nothing is remembered of whoever holds nothing
        assert shares.take(client)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(CLIENTS, st.floats(0, 3)), max_size=60))
def test_rates_are_a_bucket_for_each_client(asked: list[tuple[str, float]]) -> None:
    rates, now = Rates(rate=1.0, burst=2, clients=4), 0.0
    buckets: dict[str, TokenBucket] = {}
    for client, pause in asked:
        now += pause
        bucket = buckets.setdefault(client, TokenBucket(rate=1.0, burst=2, now=now))
        assert rates.take(client, now) == bucket.take(now)


def test_of_too_many_clients_the_longest_silent_is_forgotten() -> None:
    rates = Rates(rate=0.001, burst=1, clients=2)
    assert [rates.take(client, 0.0) for client in "aba"] == [True, True, False]
    assert rates.take("c", 0.0)  # b is forgotten, as a asked after it
    assert [rates.take(client, 0.0) for client in "ac"] == [False, False]
    assert rates.take("b", 0.0)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 50), st.integers(0, 10), st.lists(st.tuples(CLIENTS, st.integers(0, 60)), max_size=60))
def test_what_is_unfinished_never_has_more_than_its_bound(most: int, free: int, moves: list[tuple[str, int]]) -> None:
    unfinished, sizes = Unfinished(most, free), dict.fromkeys("abcd", 0)
    for client, size in moves:
        after = {**sizes, client: size}
        fits = sum(max(0, one - free) for one in after.values()) <= most
        assert unfinished.grows(sizes[client], size) == fits
        sizes = after if fits else sizes
    for size in sizes.values():
        assert unfinished.grows(size, 0)
    assert unfinished.grows(0, most + free)
    assert not unfinished.grows(0, free + 1)
