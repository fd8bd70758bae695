"""docs/operations/baremetal.md: every command on it works on a namespaced host, with the exit code that it shows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from documents.typed import Outcome, Page, check
from simulators.metal import desk, inside, intel, packages, prepared, preparing
from simulators.metal.host import Host
from simulators.metal.tdx import Tdx

PAGE = Page("operations/baremetal")

pytestmark = [pytest.mark.root, pytest.mark.slow]


def files_of_the_page(folder: Path, host: Host, mine: desk.Desk) -> None:
    """What an operator has: key, known host, release, trust file, policy, collateral, deployment file."""
    shutil.copy(host.key, folder / "key")
    shutil.copy(host.known_hosts, folder / "known_hosts")
    shutil.copytree(mine.release(5), folder / "release")
    for name in ("trust.toml", "policy.toml", "collateral.json"):
        shutil.copy(mine.folder / name, folder / name)
    [text] = [one for one in re.findall(r"```toml\n(.*?)```", PAGE.text, re.DOTALL) if one.startswith("version")]
    # The pretended release is made for a smaller machine.
    (folder / "notary.toml").write_text(text.replace("HOST", host.address).replace("4G", "1G"))


def test_an_operator_gets_from_a_server_to_a_notary(make_metal_host: Callable[..., Host], tmp_path: Path) -> None:
    host = make_metal_host(tdx=Tdx.unset())
    work = tmp_path / "work"
    work.mkdir()
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = {**os.environ, "PATH": path, "XDG_STATE_HOME": str(tmp_path / "s"), "XDG_CACHE_HOME": str(tmp_path / "c")}
    machine = desk.hardware()
    with (
        packages.serving(host.wire.gateway, intel.packages()) as archive,
        inside.serving(host, machine) as (answers, port),
    ):
        mine = desk.Desk(host, tmp_path, answers, machine)
        preparing.words_of(archive, work)
        files_of_the_page(work, host, mine)
        (tmp_path / "c").mkdir()
        (tmp_path / "c/pluto-tee").symlink_to(mine.store.root)
        for one in PAGE.commands:
            command = one.command.replace("HOST", host.address).replace(
                "IMAGE", "Ubuntu-2604-resolute-amd64-base.tar.gz"
            )
            command = command.replace("https://PCCS:8081/", f"https://{host.wire.gateway}:8081/")
            done = subprocess.run(["bash", "-c", command], cwd=work, env=env, capture_output=True, text=True)
            check(one, Outcome.of(done))
            if "--reboot" in command:
                prepared.put_fabric(host, port)
        assert mine.health()
        assert "SWRAID 1" in (work / "install.conf").read_text()
