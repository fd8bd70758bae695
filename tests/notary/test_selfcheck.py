"""The self-check of the image's programs, run by the developer's interpreter (the image's own: tests/end_to_end)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_self_check_passes_without_any_test_library(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "notary"), str(ROOT / "measure")])}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "tests/notary/selfcheck.py"), str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout
