"""The token bucket: a burst, then a rate, whatever the clock does."""

from __future__ import annotations

from pluto_notary.limits import TokenBucket


def test_a_burst_is_allowed_and_then_the_rate() -> None:
    bucket = TokenBucket(rate=2.0, burst=3, now=10.0)
    assert [bucket.take(10.0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(10.5) for _ in range(2)] == [True, False]


def test_a_long_rest_gives_no_more_than_the_burst() -> None:
    bucket = TokenBucket(rate=2.0, burst=3, now=0.0)
    assert [bucket.take(1e9) for _ in range(4)] == [True, True, True, False]
