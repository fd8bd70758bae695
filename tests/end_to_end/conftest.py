"""What the boot tests share: the image, built once from the locked inputs, and the tools that boot it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pluto_deploy.local import power
from pluto_deploy.local.state import StateFolder
from pluto_image.artifact import Dist
from pluto_image.inputs.store import Store, default_root
from pluto_image.lock.lockfile import Lock
from pluto_image.tools import ToolsTree, ensure_tools

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Dist:
    """The image of this tree ($PLUTO_DIST: one that was built before). Debug flavour, since the tree may be dirty."""
    if given := os.environ.get("PLUTO_DIST"):
        return Dist.open(Path(given))
    out = tmp_path_factory.mktemp("dist") / "dist"
    _build(out, "debug")
    return Dist.open(out)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """The release flavour of this tree, whatever its state."""
    _build(tmp_path / "release", "release")
    return tmp_path / "release"


def _build(out: Path, flavour: str) -> None:
    # `make test` fetched the inputs; what had vanished it relocked into build/relock.
    words: list[str | Path] = ["build", ROOT / "image/notary", "--out", out, "--flavour", flavour, "--offline"]
    words += ["--relock", ROOT / "build/relock"]
    command = "import sys; from pluto_image.cli import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", command, *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"the image cannot be built (run 'make inputs' first): {done.stderr}"


@pytest.fixture(scope="session")
def tools(dist: Dist) -> ToolsTree:
    return ensure_tools(Lock.parse(dist.lock.read_bytes()), Store(default_root()))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[StateFolder]:
    folder = StateFolder(tmp_path / "state")
    yield folder
    power.stop(folder)
