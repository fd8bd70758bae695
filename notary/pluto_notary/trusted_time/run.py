"""Keeps the trusted clock fed: every operator is asked at the start, then in turns, and left alone when it wants that.

The schedule is decided by `Turns`, which is pure; `Timekeeper` waits, asks and tells.
"""

from __future__ import annotations

import asyncio
from typing import Final

from pluto_measure.record import record
from pluto_notary.trusted_time.clock import TrustedClock
from pluto_notary.trusted_time.errors import ClockError, SampleError
from pluto_notary.trusted_time.source import Asking, Source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from pluto_notary.trusted_time.agree import Sample
    from pluto_notary.trusted_time.operators import Operator

OK: Final = "ok"


@record
class Pace:
    """When an operator is asked again, in seconds. RFC 8915, section 4.2, asks for growing pauses of 10 or more."""

    every: float = 900.0
    pause: float = 10.0  # after the first failure
    growth: float = 1.5
    longest_pause: float = 1800.0
    jitter: float = 0.1  # of every wait, up and down, so that machines do not come at once


@record
class Round:
    """What one round brought: a code for each operator that was asked (OK or of SAMPLE_CODES), by its index."""

    answers: tuple[tuple[int, str], ...]
    reason: str | None  # of CLOCK_REASONS, None if the time is known
    width: float | None  # seconds of the agreed interval
    falsetickers: tuple[int, ...]


class Turns:
    """Who is to be asked when. Pure; local times in seconds, `chance` a number in [0, 1)."""

    def __init__(self, count: int, pace: Pace, now: float) -> None:
        self._pace = pace
        self._next = [now] * count
        self._failures = [0] * count

    def due(self, now: float) -> list[int]:
        """The operators whose turn it is."""
        return [index for index, at in enumerate(self._next) if at <= now]

    def wait(self, now: float) -> float:
        """Seconds until somebody's turn."""
        return max(0.0, min(self._next) - now)

    def asked(self, index: int, code: str, now: float, chance: float) -> None:
        """Note how it went. A kiss-o'-death doubles the wait after a success at least: RFC 5905, section 7.4."""
        pace = self._pace
        if code == OK:
            self._failures[index] = 0
            wait = pace.every
        else:
            wait = min(pace.longest_pause, pace.pause * pace.growth ** min(self._failures[index], 60))
            self._failures[index] += 1
        if code == "kiss":
            wait = max(wait, 2 * pace.every)
        self._next[index] = now + wait * (1 + pace.jitter * (2 * chance - 1))

    def again(self, now: float) -> None:
        """All but those who failed are to be asked after the shortest pause: nothing is known any more."""
        self._next = [
            max(at, now + self._pace.pause) if failures else now + self._pace.pause
            for at, failures in zip(self._next, self._failures, strict=True)
        ]


class Timekeeper:
    """Feeds one clock from the pinned operators. `told` is called after each round, with nothing secret."""

    def __init__(
        self,
        clock: TrustedClock,
        operators: Sequence[Operator],
        asking: Asking,
        *,
        pace: Pace,
        told: Callable[[Round], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock, self._asking, self._told, self._sleep = clock, asking, told, sleep
        self._sources = [Source(index, operator, asking) for index, operator in enumerate(operators)]
        self._turns = Turns(len(operators), pace, asking.monotonic())
        self.known = asyncio.Event()  # set after the first agreement

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.round()
            await self._sleep(self._turns.wait(self._asking.monotonic()))

    async def round(self) -> Round:
        """Ask whose turn it is, all at once, and feed the clock with what they say."""
        due = self._turns.due(self._asking.monotonic())
        outcomes = await asyncio.gather(*(self._ask(index) for index in due))
        now = self._asking.monotonic()
        answers = []
        for index, outcome in zip(due, outcomes, strict=True):
            code = outcome if isinstance(outcome, str) else OK
            answers.append((index, code))
            chance = int.from_bytes(self._asking.random(4), "big") / (1 << 32)
            self._turns.asked(index, code, now, chance)
        result = self._fed([one for one in outcomes if not isinstance(one, str)], tuple(answers), now)
        self._told(result)
        return result

    async def _ask(self, index: int) -> Sample | str:
        try:
            return await self._sources[index].sample()
        except SampleError as error:
            return error.code

    def _fed(self, samples: list[Sample], answers: tuple[tuple[int, str], ...], now: float) -> Round:
        try:
            agreement = self._clock.feed(samples, now)
        except ClockError as error:
            if error.reason == "contradiction":
                self._turns.again(now)
            return Round(answers, error.reason, None, ())
        self.known.set()
        return Round(answers, None, agreement.high - agreement.low, agreement.falsetickers)
