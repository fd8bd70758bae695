"""A real TPM emulator (swtpm) as a peer: from the locked tools tree, else from the machine."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from pluto_image.inputs.store import Store, default_root
from pluto_image.lock.lockfile import Lock
from pluto_image.tools import ensure_tools
from pluto_measure.errors import PlutoError

ROOT = Path(__file__).resolve().parents[2]


def swtpm() -> tuple[list[str], dict[str, str]]:
    """How to start swtpm, and its environment; skips where there is none."""
    try:
        lock = Lock.parse((ROOT / "image/notary/lock.json").read_bytes())
        tree = ensure_tools(lock, Store(default_root()), offline=True)
        return tree.command("swtpm"), tree.environment()
    except (PlutoError, OSError):
        if (program := shutil.which("swtpm")) is None:
            pytest.skip("no peer: there is neither a tools tree nor swtpm")
        return [program], dict(os.environ)
