"""What the tests of `pluto_image` share: a key that signs Release files, a store, small disks."""

from __future__ import annotations

from pathlib import Path

import pytest

from pluto_image.formats import disk
from pluto_image.inputs.store import Store
from pluto_image.outputs import gcp
from simulators.debian_mirror import Signer


@pytest.fixture(scope="session")
def signer() -> Signer:
    return Signer()


@pytest.fixture
def small_disks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disks of 64 MiB instead of a GiB, for tests that build often: hashing zeros is what a tiny build waits for."""
    make_disks_small(monkeypatch)


def make_disks_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "SIZE", 64 << 20)
    monkeypatch.setattr(gcp, "_GIB", 64 << 20)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")
