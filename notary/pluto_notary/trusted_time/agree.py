"""The interval that the true time is in, when at most some operators lie. Pure; RFC 5905, section 11.2.1, and Marzullo.

A sample says: Unix time minus the local clock lay in [low, high] when it was taken. With every second of age the local
clock may have drifted. Of m samples at most `liars` are wrong, so the truth lies in at least m - liars of them: the
answer is the hull of all points with that many. RFC 5905 looks for the largest clique instead; a liar whose interval
touches honest ones can pull that away from the truth, and cannot pull this.
"""

from __future__ import annotations

import math

from pluto_measure.record import record
from pluto_notary.trusted_time.errors import ClockError

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from collections.abc import Collection


@record
class Sample:
    """What one operator says: Unix seconds minus seconds of the local clock, at local time `at`."""

    operator: int  # index in the pinned list
    low: float
    high: float
    at: float

    def widened(self, now: float, drift_ppm: float) -> tuple[float, float]:
        """The interval at local time `now`."""
        drift = abs(now - self.at) * drift_ppm / 1e6
        return self.low - drift, self.high + drift


@record
class Rules:
    """How much is believed. Times in seconds; `answers` must be so many that liars alone are never enough."""

    built_at: int  # Unix time of the image's build: no true time is before it
    liars: int = 2  # operators that may lie at once
    answers: int = 5  # operators without whose samples there is no time
    drift_ppm: float = 200.0  # of the local clock, in 10^-6
    sample_age: float = 3600.0
    sample_width: float = 1.0
    width: float = 2.0  # of the agreed interval

    def __post_init__(self) -> None:
        if not (self.liars >= 0 and self.answers > 2 * self.liars):
            raise ValueError("liars could be the majority of those who answer")
        if not min(self.drift_ppm, self.sample_age, self.sample_width, self.width) > 0:
            raise ValueError("a bound that bounds nothing")


@record
class Agreement:
    """Unix time minus the local clock is in [low, high] at local time `at`. Operators by their index, in order."""

    low: float
    high: float
    at: float
    agreeing: tuple[int, ...]
    falsetickers: tuple[int, ...]  # no moment that they claim is within the interval


def agree(samples: Collection[Sample], rules: Rules, now: float) -> Agreement:
    """What follows from the samples that are young enough at local time `now`. ClockError (few, disagree, wide)."""
    young = sorted((s for s in samples if abs(now - s.at) <= rules.sample_age), key=lambda s: s.operator)
    assert len({s.operator for s in young}) == len(young), "an operator has one voice"
    if len(young) < rules.answers:
        raise ClockError("few", f"{len(young)} operators answered, {rules.answers} must")
    spans = {s.operator: s.widened(now, rules.drift_ppm) for s in young}
    need = len(young) - rules.liars
    if (hull := _hull(spans.values(), need)) is None:
        raise ClockError("disagree", f"no time that {need} of {len(young)} operators could mean")
    low, high = hull
    if not high - low <= rules.width:
        raise ClockError("wide", f"the interval is wider than {rules.width} seconds")
    agreeing = tuple(name for name, (begin, end) in spans.items() if begin <= high and end >= low)
    return Agreement(low, high, now, agreeing, tuple(name for name in spans if name not in agreeing))


def _hull(spans: Collection[tuple[float, float]], need: int) -> tuple[float, float] | None:
    """From the first to the last point that `need` of the closed intervals have in common; None if there is none."""
    assert all(math.isfinite(begin) and math.isfinite(end) and begin <= end for begin, end in spans)
    edges = sorted([(begin, 0) for begin, _ in spans] + [(end, 1) for _, end in spans])
    low = high = None
    count = 0
    for at, ends in edges:  # at the same point, what begins comes before what ends
        if ends:
            if count >= need:
                high = at
            count -= 1
        else:
            count += 1
            if count >= need and low is None:
                low = at
    return None if low is None or high is None else (low, high)
