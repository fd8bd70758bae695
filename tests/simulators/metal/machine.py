"""The power side of a namespaced host: its supervisor process, its button, and what state it is in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

TESTS = Path(__file__).resolve().parents[2]
PATIENCE = 30.0  # seconds for what takes two


class Machine:
    """One host by the folder that supervisor.py works in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the supervisor, which boots. See supervisor.py for what must be in the folder."""
        argv = ["unshare", "--mount", "--propagation=private", sys.executable, "-m", "simulators.metal.supervisor"]
        with (self.folder / "supervisor.log").open("wb") as log:
            self._process = subprocess.Popen(
                [*argv, str(self.folder)], stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, "PYTHONPATH": str(TESTS)},
            )  # fmt: skip

    def close(self) -> None:
        """End everything."""
        if self._process is None or self._process.stdin is None:
            return
        self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def press_button(self) -> None:
        """Cut the power of a host that is on and boot it again; boot one that is off."""
        if self._process is None or self._process.stdin is None:
            raise RuntimeError("the host is not started")
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()

    def state(self) -> dict[str, int]:
        """`number`, `boot` (0: not yet), and `pid` of the first process (0: off)."""
        try:
            return dict(json.loads((self.folder / "state.json").read_text()))
        except FileNotFoundError:
            return {"number": 0, "boot": 0, "pid": 0}

    def wait(self, ready: Callable[[], bool], what: str) -> None:
        """Wait until `ready`; AssertionError with the logs when that takes too long or the supervisor has ended."""
        deadline = time.monotonic() + PATIENCE
        while not ready():
            if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                logs = [self.folder / name for name in ("supervisor.log", "boot.log", "console.log")]
                said = "\n".join(log.read_text(errors="replace")[-2000:] for log in logs if log.exists())
                raise AssertionError(f"the host does not {what}:\n{said}")
            time.sleep(0.02)
