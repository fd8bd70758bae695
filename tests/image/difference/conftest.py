"""What the tests of release differences share: the tiny release, and a maker of changed versions of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from pluto_image.commands import diff
from pluto_image.difference import whole
from pluto_image.difference.model import Difference
from pluto_image.formats import disk
from pluto_image.outputs import gcp
from simulators import tiny_releases
from simulators.tiny_releases import Version

Make = Callable[[Version | None], Path]


@pytest.fixture(scope="session")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Makes DISTs with disks of 64 MiB: hashing zeros is what a tiny build waits for."""
    root, count = tmp_path_factory.mktemp("releases"), itertools.count()

    def made(version: Version | None = None) -> Path:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(disk, "SIZE", 64 << 20)
            patch.setattr(gcp, "_GIB", 64 << 20)
            return tiny_releases.make(root / str(next(count)), version)

    return made


@pytest.fixture(scope="session")
def before(make: Make) -> Path:
    return make(None)


@pytest.fixture
def compared(make: Make, before: Path) -> Callable[[Version], Difference]:
    """The difference from the tiny release to a changed version of it."""

    def found(version: Version) -> Difference:
        return whole.difference(diff.read(before), diff.read(make(version)))

    return found
