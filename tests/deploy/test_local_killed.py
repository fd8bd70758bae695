"""`pluto-deploy` on this computer, killed (SIGKILL) before each of its changes: the next call goes on from there."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pluto_deploy import cli
from simulators import deployments, kill_points, pretend_tools

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("pretended")]
TOOLS = "pretend_tools"


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "state"
    for pid in pretend_tools.running_below(tmp_path):
        os.kill(pid, signal.SIGKILL)


def release(tmp_path: Path, sequence: int) -> Path:
    before = sequence - 1 or None
    folder = tmp_path / f"release-{sequence}"
    return deployments.release(folder, build=folder.name, sequence=sequence, minimum_sequence=1, supersedes=before)


def words(command: str, file: Path, state: Path) -> list[str]:
    return [command, str(file), "--state", str(state)]


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


def test_a_first_machine_is_made_by_calls_that_were_killed_and_none_is_left_beside_it(
    tmp_path: Path, state: Path, port: int
) -> None:
    file = deployments.deployment(tmp_path / "file", release(tmp_path, 1), port=port)
    kills = 0
    for _ in kill_points.of(TOOLS, words("apply", file, state)):
        kills += 1
        assert len(pretend_tools.running_below(tmp_path)) <= 1
    assert kills > 20
    assert len(pretend_tools.running_below(tmp_path)) == 1
    assert answers(port)


def test_an_upgrade_by_calls_that_were_killed_leaves_clients_a_machine_at_all_times(
    tmp_path: Path, state: Path, port: int
) -> None:
    file = deployments.deployment(tmp_path / "file", release(tmp_path, 1), port=port)
    assert cli.main(words("apply", file, state)) == 0
    deployments.deployment(tmp_path / "file", release(tmp_path, 2), port=port)
    silent = 0
    for _ in kill_points.of(TOOLS, words("apply", file, state)):
        assert len(pretend_tools.running_below(tmp_path)) <= 2
        silent += not answers(port)
    assert silent <= 2, "only while the port goes from one QEMU to the other"
    assert answers(port)
    assert len(pretend_tools.running_below(tmp_path)) == 1
    assert json.loads((state / "local/notary/serving").read_text())["slot"] == "b"
    names = [path.name for path in (state / "local/notary/releases").iterdir()]
    assert len([name for name in names if not name.startswith(".")]) == 2
    assert len(names) <= 3, "halves of copies do not pile up"


def test_destroy_by_calls_that_were_killed_leaves_nothing(tmp_path: Path, state: Path, port: int) -> None:
    file = deployments.deployment(tmp_path / "file", release(tmp_path, 1), port=port)
    for sequence in (1, 2):
        deployments.deployment(tmp_path / "file", tmp_path / "release-1", port=port, label=f"label-{sequence}")
        assert cli.main(words("apply", file, state)) == 0
    for _ in kill_points.of(TOOLS, words("destroy", file, state)):
        continue
    assert pretend_tools.running_below(tmp_path) == []
    assert not (state / "local/notary").exists()
    assert not answers(port)
