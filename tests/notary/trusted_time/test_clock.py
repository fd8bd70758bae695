"""The trusted clock: it refuses, widens, never goes back, and forgets what contradicts itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluto_notary.trusted_time.agree import Rules, Sample
from pluto_notary.trusted_time.clock import TrustedClock
from pluto_notary.trusted_time.errors import ClockError

RULES = Rules(built_at=0)
UNIX = 1.9e9  # true Unix time when the local clock shows 0


def samples(at: float, *, off: float = 0.0, half: float = 0.05, operators: range = range(5)) -> list[Sample]:
    return [Sample(index, UNIX + off - half, UNIX + off + half, at) for index in operators]


def refusal(clock: TrustedClock, now: float) -> str:
    with pytest.raises(ClockError) as refused:
        clock.interval(now)
    assert refused.value.code == "clock"
    return refused.value.reason


def test_before_any_operator_answered_there_is_no_time() -> None:
    assert refusal(TrustedClock(RULES), 0.0) == "few"


def test_enough_operators_make_an_interval_that_widens_with_age() -> None:
    clock = TrustedClock(RULES)
    clock.feed(samples(0.0), 0.0)
    earliest, latest = clock.interval(0.0)
    assert (earliest, latest) == pytest.approx((UNIX - 0.05, UNIX + 0.05))
    earliest, latest = clock.interval(1000.0)
    assert (earliest, latest) == pytest.approx((UNIX + 1000 - 0.25, UNIX + 1000 + 0.25))


def test_samples_that_are_too_old_are_a_refusal_and_new_ones_end_it() -> None:
    clock = TrustedClock(RULES)
    clock.feed(samples(0.0), 0.0)
    assert clock.interval(3600.0)
    assert refusal(clock, 3601.0) == "few"
    clock.feed(samples(3700.0), 3700.0)
    assert clock.interval(3700.0)


def test_operators_may_answer_in_different_rounds() -> None:
    clock = TrustedClock(RULES)
    with pytest.raises(ClockError, match="few"):
        clock.feed(samples(0.0, operators=range(3)), 0.0)
    clock.feed(samples(60.0, operators=range(3, 5)), 60.0)
    assert clock.interval(60.0)


def test_an_agreement_that_cannot_follow_the_one_before_forgets_both() -> None:
    clock = TrustedClock(RULES)
    clock.feed(samples(0.0), 0.0)
    with pytest.raises(ClockError, match="contradiction"):
        clock.feed(samples(100.0, off=30.0), 100.0)
    assert refusal(clock, 100.0) == "few"
    clock.feed(samples(110.0, off=30.0), 110.0)
    assert clock.interval(110.0)[0] == pytest.approx(UNIX + 110 + 30 - 0.05)


def test_a_clock_that_would_go_back_refuses_instead() -> None:
    clock = TrustedClock(RULES)
    clock.feed(samples(0.0, off=3600.0), 0.0)
    clock.interval(0.0)
    with pytest.raises(ClockError, match="contradiction"):
        clock.feed(samples(100.0), 100.0)
    clock.feed(samples(110.0), 110.0)
    assert refusal(clock, 110.0) == "contradiction"
    clock.feed(samples(3590.0), 3590.0)
    assert refusal(clock, 3590.0) == "contradiction"
    clock.feed(samples(3610.0), 3610.0)
    assert clock.interval(3610.0)[1] >= UNIX + 3610, "it waits until the truth has come to what was said"


def test_a_moment_that_is_past_can_be_asked_for() -> None:
    clock = TrustedClock(RULES)
    clock.feed(samples(10.0), 10.0)
    late = clock.interval(20.0)
    early = clock.interval(15.0)
    assert early == pytest.approx((UNIX + 15 - 0.051, UNIX + 15 + 0.051))
    assert clock.interval(20.0) == late


@given(
    st.lists(
        st.tuples(st.floats(0.0, 400.0), st.floats(-0.04, 0.04), st.floats(0.041, 0.4), st.booleans()),
        min_size=1,
        max_size=30,
    ),
    st.floats(-200.0, 200.0),
)
def test_it_holds_the_truth_and_never_goes_back(steps: list[tuple[float, float, float, bool]], drift: float) -> None:
    clock, now, last, refusals = TrustedClock(RULES), 0.0, 0.0, set[str]()
    for wait, off, half, feed in [(0.0, 0.0, 0.1, True), *steps]:
        now += wait
        true = UNIX + now * (1 + drift / 1e6)
        if feed:
            middle = true - now + off
            clock.feed([Sample(index, middle - half, middle + half, now) for index in range(5)], now)
        try:
            earliest, latest = clock.interval(now)
        except ClockError as error:
            refusals.add(error.reason)
            continue
        assert earliest - 1e-5 <= true <= latest + 1e-5
        assert earliest >= last
        last = earliest
    assert refusals <= {"few", "wide"}
