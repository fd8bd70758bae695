"""What tests of uploads share: impatience, words that are kept, sparse files."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from pluto_deploy.cloud.door import Patience, Waiting
from simulators.cloud.told import Kept


@pytest.fixture
def progress() -> Kept:
    return Kept()


@pytest.fixture
def patience() -> Patience:
    return Patience(connect=5, read=20, total=60, attempts=4, pause=0.01, longest_pause=0.05)


@pytest.fixture
def waiting() -> Waiting:
    """Pauses that take hardly any time."""
    return Waiting(sleep=lambda seconds: time.sleep(min(seconds, 0.01)))


@pytest.fixture
def sparse(tmp_path: Path) -> Path:
    """A disk of 24 MiB and its footer of 512 bytes, with data in some blocks; one block is written and all zero."""
    path = tmp_path / "disk.vhd"
    with path.open("wb") as file:
        for offset, size in ((0, 3 << 20), (10 << 20, 100), ((15 << 20) + 5, 2 << 20)):
            file.seek(offset)
            file.write(os.urandom(size))
        file.seek(20 << 20)
        file.write(bytes(1 << 20))
        file.seek(24 << 20)
        file.write(os.urandom(512))
    return path
