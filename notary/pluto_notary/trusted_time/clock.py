"""The trusted clock: what several operators agree on, carried on by the local monotonic clock. Pure.

    no agreement --feed--> agreed --feed--> agreed             too old, too wide, too few --> ClockError until fed again
    agreed --feed of what cannot be true as well--> no agreement, nothing kept

The wall clock of the machine, which the host sets, is never read.
"""

from __future__ import annotations

from pluto_notary.trusted_time.agree import Agreement, Rules, Sample, agree
from pluto_notary.trusted_time.errors import ClockError

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from collections.abc import Iterable


class TrustedClock:
    """Unix time as an interval. Local times are seconds of one clock that neither stops nor is set."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._samples: dict[int, Sample] = {}
        self._last: Agreement | None = None
        self._floor: tuple[float, float] | None = None  # local time and the earliest Unix time given out for it

    def feed(self, samples: Iterable[Sample], now: float) -> Agreement:
        """Take the newest sample of each operator that has one. ClockError if there is no agreement after that.

        What operators agreed on before, widened by drift, and what they agree on now must have a moment in common. If
        not, either was a lie or the local clock does not run as it must: everything is forgotten.
        """
        self._samples.update((sample.operator, sample) for sample in samples)
        agreement = agree(self._samples.values(), self._rules, now)
        if self._last is not None and not self._follows(self._last, agreement):
            self._samples.clear()
            self._last = None
            raise ClockError("contradiction", "what operators agree on now cannot follow what they agreed on before")
        self._last = agreement
        return agreement

    def interval(self, now: float) -> tuple[float, float]:
        """Earliest and latest Unix time, in seconds, at local time `now`, which may lie in the past. ClockError.

        Of two calls, the later one for a later `now` never gives an earlier `earliest`.
        """
        agreement = agree(self._samples.values(), self._rules, now)
        earliest, latest = now + agreement.low, now + agreement.high
        if self._floor is None or now >= self._floor[0]:
            if self._floor is not None:
                earliest = max(earliest, self._floor[1])
            if earliest > latest:
                raise ClockError("contradiction", "the time would go back")
            self._floor = now, earliest
        return earliest, latest

    def _follows(self, before: Agreement, after: Agreement) -> bool:
        drift = abs(after.at - before.at) * self._rules.drift_ppm / 1e6
        return before.low - drift <= after.high and after.low <= before.high + drift
