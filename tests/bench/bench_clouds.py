"""`pluto-deploy plan` for clouds, as a process, against pretended ones: what is ours of the time that a plan takes.

The fakes answer at once, so what is measured is the start of Python, the release that is judged, and what is asked of a
cloud one after the other. Beside it: the command's `--help`, which asks nobody.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from pathlib import Path

from figures import Row

from simulators import cloud_deployments
from simulators.azure_cloud.login import SECRET
from simulators.cloud_deployments import KINDS
from simulators.cloud_desk import Desk, desk

RUNS = 7
MOST = 1.0  # seconds, and what the cloud takes to answer


def rows(work: Path) -> Iterator[Row]:
    for kind in KINDS:
        with desk(work / kind, kind) as mine:
            mine.release("release-1", 1)
            cloud_deployments.write(mine.work, kind, mine.work / "release-1")
            given = shlex.join(cloud_deployments.words(kind, mine.work))
            plan = f"pluto-deploy plan DEPLOYMENT.toml {given}"
            idle = [_seconds(mine, "pluto-deploy plan --help") for _ in range(RUNS)]
            for state in ("nothing there", "a machine that serves"):
                taken = tuple(_seconds(mine, plan) for _ in range(RUNS))
                yield Row(f"plan for {kind}, {state}", "s", taken, MOST, "pluto-deploy plan --help", tuple(idle))
                if state == "nothing there":
                    _seconds(mine, f"pluto-deploy apply DEPLOYMENT.toml {given}")


def _seconds(mine: Desk, command: str) -> float:
    begun = time.monotonic()
    done = mine.run(command, AZURE_CLIENT_SECRET=SECRET)
    assert done.returncode == 0, done.stderr
    return time.monotonic() - begun
