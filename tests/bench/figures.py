"""What a benchmark measured: rows with medians, the target, and the peer measured in the same run."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `values` are all measured values in `unit`; `target` is the most that is wanted."""

    name: str
    unit: str
    values: tuple[float, ...]
    target: float | None = None
    peer: str = ""
    peer_values: tuple[float, ...] = ()

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def line(self) -> str:
        spread = f"{min(self.values):.2f}-{max(self.values):.2f}, n={len(self.values)}"
        wanted = "" if self.target is None else f", at most {self.target:g}"
        peer = ""
        if self.peer_values:
            other = statistics.median(self.peer_values)
            peer = f"; {self.peer} {other:.2f} ({other / self.median:.1f}x ours)"
        return f"{self.name}: {self.median:.2f} {self.unit} ({spread}{wanted}){peer}"

    def cells(self) -> tuple[str, ...]:
        other = f"{statistics.median(self.peer_values):.2f}" if self.peer_values else ""
        ratio = f"{statistics.median(self.peer_values) / self.median:.1f}" if self.peer_values and self.median else ""
        wanted = "" if self.target is None else f"{self.target:g}"
        return self.name, f"{self.median:.2f} {self.unit}", wanted, self.peer, other, ratio

    def to_json(self) -> dict[str, object]:
        return {
            "name": self.name,
            "unit": self.unit,
            "median": self.median,
            "values": list(self.values),
            "target": self.target,
            "peer": self.peer,
            "peerValues": list(self.peer_values),
        }


def table(rows: Sequence[Row]) -> str:
    """A Markdown table of all rows."""
    head = ("what", "median", "at most", "peer", "peer's median", "peer / ours")
    lines = [head, tuple("---" for _ in head), *(row.cells() for row in rows)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def timed(
    argv: Sequence[str | Path], *, environment: Mapping[str, str] | None = None, code: int = 0
) -> tuple[float, float]:
    """Run a program to its end: (wall seconds, peak resident memory in MiB). CalledProcessError unless it ends so."""
    started = time.monotonic()
    process = subprocess.Popen(
        [str(word) for word in argv],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, **(environment or {})},
    )
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != code:
        raise subprocess.CalledProcessError(process.returncode, process.args, stderr=errors[-2000:])
    return time.monotonic() - started, usage.ru_maxrss / 1024
