"""Twenty seconds of the soak; ten minutes are `make soak`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from soak.run import Plan, Report, soak

# In so short a time memory is still that of modules which are loaded and of threads which begin.
SHORT = Plan(seconds=20.0, settled=10.0, window=5.0, tolerance=0.35)


@pytest.mark.slow
def test_good_sessions_are_served_beside_hostile_ones(tmp_path: Path) -> None:
    report = soak(SHORT, tmp_path)
    assert report.problems(SHORT) == [], report.to_json(SHORT)
    assert sum(report.good.values()) >= 30


def test_what_must_not_be_is_said() -> None:
    report = Report(memory=[(10.0 + at, 100.0 if at < 6 else 160.0) for at in range(12)])
    report.good = Counter({("fetch", "proof"): 3, ("fetch", "busy"): 1})
    report.hostile = Counter({("a wrong secret", "proof"): 1, ("a flood", "gone"): 1})
    report.lived = False
    said = "; ".join(report.problems(SHORT))
    for words in ("fetch: busy", "a wrong secret", "the notary ended", "never run", "memory"):
        assert words in said


def test_what_is_held_for_a_moment_is_not_what_is_kept() -> None:
    bursts = Report(memory=[(at / 2, 100.0 if at % 5 == 0 else 160.0 + at) for at in range(41)])
    assert bursts.growth(SHORT) == 1
    kept = Report(memory=[(at, mib + (0 if at < 15 else 40)) for at, mib in bursts.memory])
    assert kept.growth(SHORT) == pytest.approx(1.4)
