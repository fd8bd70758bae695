"""Good and hostile load on one notary for some time: is every good session served, and does memory stay?

    python tests/soak/run.py [SECONDS]       ten minutes, if nothing is said; a JSON report on standard output

Good clients come from some threads and hostile ones from others. At the end every good session must have ended in a
proof, no hostile one, and what resident memory falls back to must be that of the third minute, within a tenth.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from soak.acts import GOOD, HOSTILE, done
from soak.worlds import World, world


@dataclass(frozen=True)
class Plan:
    """How long and how many at once. `settled`: seconds after which memory is what it is going to be; `window`: for
    how many it is looked at then, and at the end."""

    seconds: float = 600.0
    settled: float = 120.0
    window: float = 60.0
    good: int = 4  # threads
    hostile: int = 6
    tolerance: float = 0.10
    seed: int = 1


@dataclass
class Report:
    """What came of it. `memory`: seconds since the beginning, MiB resident."""

    good: Counter[tuple[str, str]] = field(default_factory=Counter)
    hostile: Counter[tuple[str, str]] = field(default_factory=Counter)
    memory: list[tuple[float, float]] = field(default_factory=list)
    lived: bool = True

    @property
    def lost(self) -> dict[str, int]:
        """Good sessions that did not end in a proof, by what they were and how they ended."""
        return {f"{act}: {end}": count for (act, end), count in self.good.items() if end != "proof"}

    @property
    def signed(self) -> dict[str, int]:
        """Hostile sessions that ended in a proof."""
        return {act: count for (act, end), count in self.hostile.items() if end == "proof"}

    def growth(self, plan: Plan) -> float:
        """What memory falls back to in the last `window` seconds, as a share of that in as many from `settled` on.

        Most readings meet answers of megabytes that are just being taken apart; the lowest is what is kept.
        """
        end = self.memory[-1][0]
        before = [mib for at, mib in self.memory if plan.settled <= at < plan.settled + plan.window]
        after = [mib for at, mib in self.memory if at > end - plan.window]
        return min(after) / min(before)

    def problems(self, plan: Plan) -> list[str]:
        """What must not be, in words."""
        found = [f"lost good sessions: {self.lost}"] if self.lost else []
        found += [f"signed for hostile sessions: {self.signed}"] if self.signed else []
        found += [] if self.lived else ["the notary ended"]
        found += [] if self.good else ["no good session was run"]
        missing = set(HOSTILE) - {act for act, _ in self.hostile}
        found += [f"never run: {sorted(missing)}"] if missing else []
        growth = self.growth(plan)
        if abs(growth - 1) > plan.tolerance:
            found.append(f"memory at the end is {growth:.3f} times that after {plan.settled:.0f} s")
        return found

    def to_json(self, plan: Plan) -> dict[str, object]:
        def told(counts: Counter[tuple[str, str]]) -> dict[str, int]:
            return {f"{act}: {end}": count for (act, end), count in sorted(counts.items())}

        return {
            "seconds": plan.seconds,
            "good": told(self.good),
            "hostile": told(self.hostile),
            "memoryMiB": [[round(at), round(mib, 1)] for at, mib in self.memory],
            "growth": round(self.growth(plan), 3),
            "problems": self.problems(plan),
        }


def soak(plan: Plan, work: Path) -> Report:
    """Run it."""
    report, over, lock = Report(), threading.Event(), threading.Lock()
    with world(work, plan.seed) as found:
        threads = [
            threading.Thread(target=_work, args=(found, report, lock, over, random.Random(plan.seed + place), kind))
            for place, kind in enumerate(["good"] * plan.good + ["hostile"] * plan.hostile)
        ]
        begun = time.monotonic()
        for thread in threads:
            thread.start()
        step = min(5.0, plan.seconds / 20)
        while time.monotonic() - begun < plan.seconds and found.lives:
            time.sleep(step)
            with lock:
                _look(found, report, time.monotonic() - begun)
        over.set()
        for thread in threads:
            thread.join(60)
        report.lived = found.lives
    return report


def _look(found: World, report: Report, at: float) -> None:
    report.memory.append((at, found.resident_mib()))
    lost = sum(report.lost.values())
    print(
        f"{at:6.0f} s  {sum(report.good.values())} good ({lost} lost), {sum(report.hostile.values())} hostile,"
        f" {report.memory[-1][1]:.0f} MiB",
        file=sys.stderr,
        flush=True,
    )


def _work(
    found: World, report: Report, lock: threading.Lock, over: threading.Event, chance: random.Random, kind: str
) -> None:
    acts, counts = (GOOD, report.good) if kind == "good" else (HOSTILE, report.hostile)
    turns: list[str] = []
    while not over.is_set():
        if not turns:
            turns = chance.sample(sorted(acts), len(acts))
        name = turns.pop()
        end = done(acts[name], found, chance)
        with lock:
            counts[name, end] += 1


def main(arguments: list[str]) -> int:
    seconds = float(arguments[0]) if arguments else Plan.seconds
    plan = Plan(seconds=seconds, settled=min(Plan.settled, seconds / 2), window=min(Plan.window, seconds / 4))
    with tempfile.TemporaryDirectory(prefix="pluto-soak-") as work:
        report = soak(plan, Path(work))
    print(json.dumps(report.to_json(plan), indent=2))
    return 1 if report.problems(plan) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
