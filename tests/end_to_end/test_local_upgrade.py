"""A deployment of the real image on this computer, under the real QEMU: clients' port goes from machine to machine."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from end_to_end import hostile
from pluto_deploy import cli
from pluto_deploy.local import processes
from pluto_deploy.local.state import StateFolder
from pluto_image.artifact import Dist
from simulators import deployments, policies

POLICY = policies.changed(policies.TEXT, allowDebug="true", maxEvidenceAge="300")  # the tree may be dirty


@dataclass
class World:
    """A deployment whose file has a label, which is in its machine's configuration."""

    root: Path
    dist: Dist
    capsys: pytest.CaptureFixture[str]
    port: int

    def file(self, label: str) -> None:
        release, changes = self.dist.root.resolve(), {"timeout = 60": f"timeout = {hostile.TIMEOUT:.0f}"}
        deployments.deployment(self.root / "file", release, port=self.port, label=label, policy=POLICY, changes=changes)

    def run(self, command: str) -> Any:
        words = ["--state", str(self.root), "--json"]
        if command in ("apply", "rollback"):  # which start machines, and so need the tools
            words += ["--offline"]
        code = cli.main([command, str(self.root / "file/DEPLOYMENT.toml"), *words])
        document = json.loads(self.capsys.readouterr().out)
        assert code == 0, document
        return document

    def serving(self) -> tuple[bool, bool]:
        """Of slot a and slot b."""
        return self._serving("a"), self._serving("b")

    def _serving(self, slot: str) -> bool:
        record = StateFolder(self.root / "local/notary" / slot).record()
        return record is not None and processes.alive(record.qemu) and record.state == "running"


@pytest.mark.more_boots
def test_an_upgrade_a_rollback_and_the_end(dist: Dist, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        world = World(tmp_path, dist, capsys, int(probe.getsockname()[1]))
    try:
        first = a_first_machine_serves(world)
        an_upgrade_serves(world, first)
        a_rollback_leads_back(world, first)
    finally:
        world.run("destroy")
    assert hostile.pids_of(tmp_path) == []
    assert not (tmp_path / "local/notary").exists()


def a_first_machine_serves(world: World) -> Any:
    world.file("first")
    first = world.run("apply")
    assert (first["plan"]["kind"], first["address"]) == ("create", f"127.0.0.1:{world.port}")
    assert world.run("apply")["plan"]["changes"] is False
    return first


def an_upgrade_serves(world: World, first: Any) -> None:
    world.file("second")
    second = world.run("apply")
    assert (second["plan"]["kind"], second["address"]) == ("upgrade", first["address"])
    assert [digest(one) for one in (first, second)] == [one["generation"]["config"] for one in (first, second)]
    assert digest(first) != digest(second)
    assert world.serving() == (False, True)
    assert world.run("verify")["accepted"]
    assert {"started", "ready", "evidence"} <= {one["event"] for one in world.run("logs")["events"]}


def a_rollback_leads_back(world: World, first: Any) -> None:
    assert digest(world.run("rollback")) == digest(first)
    assert world.serving() == (True, False)
    world.file("first")
    assert world.run("verify")["accepted"]


def digest(applied: Any) -> Any:
    """That of the configuration that the machine's evidence names."""
    return applied["appraisal"]["claims"]["configDigest"]
