"""A deployment of the real image on this computer, under the real QEMU: clients' port goes from machine to machine."""

from __future__ import annotations

import json
import socket
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


@pytest.mark.more_boots
def test_an_upgrade_a_rollback_and_the_end(dist: Dist, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    changes = {"timeout = 60": f"timeout = {hostile.TIMEOUT:.0f}"}

    def file(label: str) -> Path:
        return deployments.deployment(
            tmp_path / "file", dist.root.resolve(), port=port, label=label, policy=POLICY, changes=changes
        )

    def run(command: str, *words: str) -> Any:
        argv = [command, str(tmp_path / "file/DEPLOYMENT.toml"), "--state", str(tmp_path), "--offline", "--json"]
        code = cli.main([*argv, *words])
        document = json.loads(capsys.readouterr().out)
        assert code == 0, document
        return document

    def serving(slot: str) -> bool:
        record = StateFolder(tmp_path / "local/notary" / slot).record()
        return record is not None and processes.alive(record.qemu) and record.state == "running"

    try:
        file("first")
        first = run("apply")
        assert (first["plan"]["kind"], first["address"]) == ("create", f"127.0.0.1:{port}")
        assert run("apply")["plan"]["changes"] is False

        file("second")
        second = run("apply")
        assert (second["plan"]["kind"], second["address"]) == ("upgrade", first["address"])
        digests = [one["appraisal"]["claims"]["configDigest"] for one in (first, second)]
        assert digests == [one["generation"]["config"] for one in (first, second)]
        assert digests[0] != digests[1]
        assert (serving("a"), serving("b")) == (False, True)
        assert run("verify")["accepted"]
        assert {"started", "ready", "evidence"} <= {one["event"] for one in run("logs")["events"]}

        assert run("rollback")["appraisal"]["claims"]["configDigest"] == digests[0]
        assert (serving("a"), serving("b")) == (True, False)
        file("first")
        assert run("verify")["accepted"]
    finally:
        run("destroy")
    assert hostile.pids_of(tmp_path) == []
    assert not (tmp_path / "local/notary").exists()
