"""The real image in a real unit on a namespaced host, emulated, attested with its software TPM through the gate."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from end_to_end.conftest import dist, tools  # noqa: F401 - fixtures
from pluto_image.artifact import Dist
from pluto_image.inputs.store import default_root
from pluto_image.tools import ToolsTree
from simulators import policies, releases
from simulators.metal import desk, preparing
from simulators.metal.desk import states
from simulators.metal.host import Host

pytestmark = [pytest.mark.root, pytest.mark.more_boots]

TIMEOUT = "600"  # seconds, emulated


def signed(build: Dist, folder: Path) -> Path:
    """A copy of a build with a signature beside it."""
    subprocess.run(["cp", "-r", "--sparse=always", build.root, folder], check=True)
    return releases.sign(folder).parents[1]


def test_the_image_is_deployed_attested_upgraded_and_removed(
    dist: Dist,  # noqa: F811
    tools: ToolsTree,  # noqa: F811 - fetched
    make_metal_host: Callable[..., Host],
    tmp_path: Path,
) -> None:
    host = make_metal_host()
    with desk.at(host, tmp_path, ready=False) as mine:
        preparing.prepare(host, "--insecure-no-tdx")
        mine.store_root = default_root()
        policy = mine.folder / "tpm.toml"
        policy.write_text(policies.changed(policies.TEXT, allowDebug="true", allowUnsignedReference="false"))
        shape = {"tee": '"insecure_none"', "machine": '"policy"', "policy": f'"{policy}"', "timeout": TIMEOUT}
        file = mine.deployment(signed(dist, tmp_path / "release"), **shape)

        applied = mine.ok("apply", file)
        assert applied["appraisal"]["verdict"] == "accepted"
        assert mine.health() == dist.launch.build_id
        names = [one["event"] for one in mine.ok("logs", file)["events"]]
        assert {"started", "config-accepted", "ready"} <= set(names)
        assert mine.ok("verify", file)["accepted"]

        other = mine.deployment(tmp_path / "release", **{**shape, "label": '"another"'})
        with mine.client() as client:
            mine.ok("apply", other)
            assert states(mine.ok("status", other)) == {"a": "stopped", "b": "running", "serves": "b"}
        assert client.failures == []
        mine.ok("destroy", other)
        assert host.run(["ls", "/var/lib/pluto/images", "/var/lib/pluto/td", "/opt/pluto/tools"]).stdout.split() == [
            "/opt/pluto/tools:", "/var/lib/pluto/images:", "/var/lib/pluto/td:",
        ]  # fmt: skip
