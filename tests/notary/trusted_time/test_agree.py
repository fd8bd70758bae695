"""Agreement: the truth is inside whenever no more than the allowed number lie, and liars alone never decide."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluto_measure.record import replace
from pluto_notary.trusted_time.agree import Rules, Sample, agree
from pluto_notary.trusted_time.errors import ClockError

RULES = Rules(built_at=0)
TRUTH = 1.8e9


def sample(operator: int, middle: float, half: float = 0.05, at: float = 0.0) -> Sample:
    return Sample(operator, middle - half, middle + half, at)


def honest(count: int, *, first: int = 0, at: float = 0.0) -> list[Sample]:
    return [sample(first + index, TRUTH + 0.01 * index, at=at) for index in range(count)]


offsets = st.floats(-0.4, 0.4)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Rules, list[Sample], float, float]:
    """Rules, samples of which at most `liars` are lies, the time now, and the true offset then."""
    liars = draw(st.integers(0, 3))
    count = draw(st.integers(2 * liars + 1, 9))
    drift = draw(st.floats(1.0, 500.0))
    rules = Rules(built_at=0, liars=liars, answers=2 * liars + 1, drift_ppm=drift, width=1e9)
    now = draw(st.floats(0.0, 3000.0))
    rate = draw(st.floats(-1.0, 1.0)) * drift / 1e6  # true time over local time, less one
    samples = []
    for operator in range(count):
        at = draw(st.floats(0.0, now))
        if operator < liars:
            middle, half = TRUTH + draw(st.floats(-2.0, 2.0) | st.floats(-1e8, 1e8)), draw(st.floats(0.0, 0.5))
            samples.append(sample(operator, middle, half, at))
        else:
            true = TRUTH + rate * at
            below, above = abs(draw(offsets)), abs(draw(offsets))
            samples.append(Sample(operator, true - below - 1e-6, true + above + 1e-6, at))
    return rules, draw(st.permutations(samples)), now, TRUTH + rate * now


@given(worlds())
def test_the_true_time_is_inside_whenever_at_most_the_allowed_number_lie(
    world: tuple[Rules, list[Sample], float, float],
) -> None:
    rules, samples, now, true = world
    agreement = agree(samples, rules, now)
    assert agreement.low <= true <= agreement.high
    assert set(range(rules.liars, len(samples))) <= set(agreement.agreeing), "an honest operator was called false"
    assert sorted(agreement.agreeing + agreement.falsetickers) == list(range(len(samples)))


lies = st.tuples(st.floats(-1e6, 1e6) | st.floats(-0.2, 0.2), st.floats(0, 0.5))


@given(lies, lies, st.integers(3, 5))
def test_two_who_lie_alike_move_the_interval_no_further_than_an_honest_one_reaches(
    one: tuple[float, float], other: tuple[float, float], others: int
) -> None:
    true = honest(others, first=2)
    liars = [sample(index, TRUTH + lie, half) for index, (lie, half) in enumerate((one, other))]
    agreement = agree([*true, *liars], RULES, 0.0)
    assert agreement.low >= min(s.low for s in true)
    assert agreement.high <= max(s.high for s in true)


def test_a_clique_that_pulls_the_largest_agreement_away_from_the_truth_does_not_pull_this_one() -> None:
    # Four of five share [0.9, 1.0]; the truth is 0: only that at most two lie may be believed, not that four agree.
    spans = [(-1.0, 1.0), (-0.5, 1.0), (-0.1, 0.1), (0.9, 1.0), (0.9, 1.0)]
    samples = [Sample(index, *span, 0.0) for index, span in enumerate(spans)]
    agreement = agree(samples, RULES, 0.0)
    assert agreement.low <= 0 <= agreement.high


def test_liars_by_hours_are_named() -> None:
    samples = [*honest(5), sample(5, TRUTH + 7200), sample(6, TRUTH - 86400)]
    agreement = agree(samples, RULES, 0.0)
    assert agreement.falsetickers == (5, 6)
    assert agreement.agreeing == (0, 1, 2, 3, 4)
    assert agreement.high - agreement.low < 0.15


def test_three_who_lie_alike_are_a_refusal_and_not_a_majority() -> None:
    with pytest.raises(ClockError, match="disagree"):
        agree([*honest(4), *(sample(index, TRUTH + 60) for index in (4, 5, 6))], RULES, 0.0)
    with pytest.raises(ClockError, match="few"):
        agree([sample(index, TRUTH + 60) for index in (4, 5, 6)], RULES, 0.0)


def test_old_samples_do_not_count() -> None:
    samples = [*honest(4, at=4000.0), *honest(2, first=4, at=0.0)]
    with pytest.raises(ClockError) as refused:
        agree(samples, RULES, 4000.0)
    assert refused.value.reason == "few"
    assert refused.value.code == "clock"


def test_drift_widens_with_age_until_it_is_too_wide() -> None:
    narrow = agree(honest(5), RULES, 0.0)
    later = agree(honest(5), RULES, 1000.0)
    assert later.high - later.low == pytest.approx(narrow.high - narrow.low + 0.4, abs=1e-5)
    with pytest.raises(ClockError, match="wide"):
        agree(honest(5), replace(RULES, drift_ppm=500.0), 3600.0)


def test_two_places_that_enough_could_mean_are_both_inside() -> None:
    spans = [(0.0, 0.1), (0.0, 0.1), (0.0, 1.0), (0.9, 1.0), (0.9, 1.0)]
    agreement = agree([Sample(index, *span, 0.0) for index, span in enumerate(spans)], RULES, 0.0)
    assert (agreement.low, agreement.high) == (0.0, 1.0)


@pytest.mark.parametrize(
    "wrong", [{"liars": 3}, {"answers": 4}, {"liars": -1}, {"drift_ppm": 0.0}, {"width": 0.0}, {"sample_age": -1.0}]
)
def test_rules_that_liars_alone_could_satisfy_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"liars|bound"):
        replace(RULES, **wrong)


def test_touching_intervals_have_a_point_in_common() -> None:
    samples = [Sample(0, 0.0, 1.0, 0.0), Sample(1, 1.0, 2.0, 0.0), Sample(2, 1.0, 1.0, 0.0)]
    agreement = agree(samples, Rules(built_at=0, liars=0, answers=3), 0.0)
    assert (agreement.low, agreement.high) == (1.0, 1.0)
