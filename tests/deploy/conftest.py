"""What the tests of `pluto_deploy` share: a small DIST, and tools that only pretend."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local_worlds import World
from pluto_deploy.local import power, processes
from pluto_deploy.local.state import StateFolder
from pluto_image.artifact import Dist
from pluto_image.inputs.store import Store, default_root
from pluto_image.lock.lockfile import Lock
from pluto_image.tools import ToolsTree, ensure_tools
from pluto_measure.errors import PlutoError
from simulators import deployments
from simulators.pretend_tools import PretendTools

LOCK = Path(__file__).parents[2] / "image/notary/lock.json"


@pytest.fixture
def tools(tmp_path: Path) -> ToolsTree:
    return PretendTools(tmp_path)


@pytest.fixture(scope="session")
def tree() -> ToolsTree:
    """The locked tools; skips where they cannot be."""
    try:
        return ensure_tools(Lock.parse(LOCK.read_bytes()), Store(default_root()), offline=True)
    except PlutoError:
        pytest.skip("no peer: locked inputs are absent")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[StateFolder]:
    folder = StateFolder(tmp_path / "state")
    yield folder
    power.stop(folder)


@pytest.fixture
def dist(tmp_path: Path) -> Dist:
    """A DIST whose files nobody could boot; its digests are as good as any."""
    return Dist.open(deployments.release(tmp_path / "dist", keys=()))


@pytest.fixture
def pretended(tools: ToolsTree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands use the tools that only pretend."""
    monkeypatch.setattr("pluto_deploy.tools.tree_of", lambda *_: tools)


@pytest.fixture
def world(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[World]:
    made = World(tmp_path, capsys)
    made.file(made.release("one", 1))
    yield made
    for slot in ("a", "b"):
        if (made.slots / slot / "machine.json").exists():
            processes.end(made.process(slot))
    capsys.readouterr()
