from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from pluto_deploy.engine.gate import NotAttestedError
from pluto_deploy.local import console, power, processes
from pluto_deploy.local.machine import Machine
from pluto_deploy.local.power import Order
from pluto_deploy.local.state import StateFolder
from pluto_image.artifact import Dist
from pluto_image.tools import ToolsTree
from pluto_measure.errors import FormatError, PlutoError, SourceError, UsageError
from simulators import local_runs
from simulators.local_runs import Started

pytestmark = pytest.mark.slow


def order(dist: Dist, mode: str = "honest", timeout: float = 30.0) -> Order:
    return Order(dist, Machine(), port=0, timeout=timeout, extra_arguments=("-pretend", mode))


def start(dist: Dist, tools: ToolsTree, folder: StateFolder, mode: str = "honest", timeout: float = 30.0) -> Started:
    return local_runs.start(order(dist, mode, timeout), tools, folder)


def test_a_machine_that_is_what_was_built_is_attested_and_keeps_running_until_stopped(
    dist: Dist, tools: ToolsTree, folder: StateFolder
) -> None:
    started = start(dist, tools, folder)
    assert started.appraisal.accepted
    assert {finding.id for finding in started.appraisal.findings if finding.verdict == "warning"} == {
        "policy.ak_trust",
        "policy.reference_signature",
    }
    assert power.status(folder).state == "running"
    assert started.seconds["ready"] <= started.seconds["attested"]
    assert "pluto: nonsense" not in str(power.logs(folder))
    assert any(isinstance(said, console.Malformed) for said in power.logs(folder))

    assert power.stop(folder) == started.record
    assert not processes.alive(started.record.qemu)
    assert not processes.alive(started.record.swtpm)
    assert power.status(folder).state == "stopped"
    assert not folder.tpm.exists()
    assert power.stop(folder) is None


def test_a_second_start_is_refused_while_a_machine_runs(dist: Dist, tools: ToolsTree, folder: StateFolder) -> None:
    first = start(dist, tools, folder)
    with pytest.raises(UsageError, match=f"already on port {first.record.port}"):
        start(dist, tools, folder)
    assert processes.alive(first.record.qemu)


def test_a_second_start_is_refused_while_another_one_is_under_way(
    dist: Dist, tools: ToolsTree, folder: StateFolder
) -> None:
    with folder.lock(), pytest.raises(UsageError, match="runs or starts already"):
        start(dist, tools, folder)


def test_a_machine_with_one_more_event_is_refused_named_and_stopped(
    dist: Dist, tools: ToolsTree, folder: StateFolder
) -> None:
    with pytest.raises(NotAttestedError, match=r"log\.events\.pcr11") as caught:
        start(dist, tools, folder, "other-image")
    assert caught.value.exit_code == 5
    assert {finding["id"] for finding in caught.value.findings} >= {"register.pcr11", "log.events.pcr11"}
    assert power.status(folder).state == "refused"
    assert not folder.locked()


@pytest.mark.parametrize(
    ("mode", "error", "words"),
    [
        ("malformed", FormatError, "JSON"),
        ("dies", SourceError, "something is wrong"),
        ("silent", SourceError, "not ready after 3 s"),
    ],
)
def test_a_machine_that_does_not_come_up_is_reported_and_nothing_is_left(
    mode: str, error: type[PlutoError], words: str, dist: Dist, tools: ToolsTree, folder: StateFolder
) -> None:
    with pytest.raises(error, match=words):
        start(dist, tools, folder, mode, timeout=3.0)
    assert power.status(folder).state == "failed"
    assert not folder.locked()
    record = folder.record()
    assert record is not None
    assert not processes.alive(record.qemu)
    assert not processes.alive(record.swtpm)


@pytest.mark.parametrize(("mode", "words"), [("unwilling", "answered 503"), ("mute-port", "no evidence")])
def test_a_machine_that_gives_no_evidence_in_time_is_stopped(
    mode: str, words: str, dist: Dist, tools: ToolsTree, folder: StateFolder
) -> None:
    with pytest.raises(SourceError, match=words):
        start(dist, tools, folder, mode, timeout=3.0)
    assert not folder.locked()


@pytest.mark.parametrize("program", ["qemu", "swtpm"])
def test_a_process_that_was_killed_is_noticed(program: str, dist: Dist, tools: ToolsTree, folder: StateFolder) -> None:
    record = start(dist, tools, folder).record
    os.kill(getattr(record, program).pid, signal.SIGKILL)
    limit = time.monotonic() + 5
    while program not in power.status(folder).gone:
        assert time.monotonic() < limit
    assert power.status(folder).state == "broken"


def test_what_is_left_of_a_machine_that_was_killed_is_cleared_away(
    dist: Dist, tools: ToolsTree, folder: StateFolder
) -> None:
    record = start(dist, tools, folder).record
    os.kill(record.qemu.pid, signal.SIGKILL)
    assert power.stop(folder) == record
    assert power.status(folder).state == "stopped"
    assert not folder.tpm.exists()


def test_a_start_under_way_is_not_disturbed_by_stopping_an_earlier_machine(
    dist: Dist, tools: ToolsTree, folder: StateFolder
) -> None:
    record = start(dist, tools, folder).record
    processes.end(record.qemu)
    with folder.lock(), pytest.raises(SourceError, match="another command is starting"):
        power.stop(folder)
    assert folder.tpm.exists()


def test_a_port_that_is_taken_is_an_error_before_anything_starts(
    dist: Dist, tools: ToolsTree, folder: StateFolder
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        busy = replace(order(dist), port=taken.getsockname()[1])
        with pytest.raises(UsageError, match="cannot be used"):
            local_runs.start(busy, tools, folder)
    assert folder.record() is None


def test_the_machine_outlives_the_command_and_can_be_stopped_by_another(
    dist: Dist, tools: ToolsTree, folder: StateFolder
) -> None:
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from simulators.pretend_tools import PretendTools\n"
        "from pluto_deploy.local.power import Order\nfrom pluto_deploy.local.machine import Machine\n"
        "from pluto_deploy.local.state import StateFolder\nfrom pluto_image.artifact import Dist\n"
        "from simulators import local_runs\n"
        "root, state = map(Path, sys.argv[1:])\n"
        "local_runs.start(Order(Dist.open(root), Machine(), 0), PretendTools(root), StateFolder(state))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", script, dist.root, folder.root], check=True, env=environment)
    assert power.status(folder).state == "running"
    record = power.stop(folder)
    assert record is not None
    assert not processes.alive(record.qemu)


def test_a_machine_whose_starter_was_killed_can_be_stopped(dist: Dist, tools: ToolsTree, folder: StateFolder) -> None:
    with folder.lock() as lock:
        record = power.power_on(replace(order(dist, "silent"), port=1), tools, folder, lock)
    assert power.status(folder).state == "starting"
    assert folder.locked(), "the machine itself holds the lock"
    assert power.stop(folder) == record
    assert not folder.locked()


def test_following_a_machine_ends_with_it(dist: Dist, tools: ToolsTree, folder: StateFolder) -> None:
    record = start(dist, tools, folder).record
    said = []
    for one in power.follow(folder, record):
        said.append(one)
        if len(said) == 4:
            processes.end(record.qemu)
    assert len(said) >= 4
