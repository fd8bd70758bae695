"""Deployments and their hosts: several of them, reboots, power cuts, other keys, one that nobody prepared."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pluto_deploy.commands.plan import planned_for
from simulators.metal import desk
from simulators.metal.desk import Desk, states, steps
from simulators.metal.host import Host
from simulators.metal.td_releases import build_id

pytestmark = [pytest.mark.root, pytest.mark.slow]


@pytest.fixture
def mine(shared: Desk) -> Iterator[Desk]:
    """A desk with a deployment that serves release 5."""
    shared.ok("apply", shared.deployment(shared.release(5)))
    yield shared
    shared.clear()


def served(mine: Desk) -> str:
    """Who serves, once somebody does."""
    for _ in range(300):
        try:
            return mine.health()
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"nobody serves:\n{mine.host.journal()[-8000:]}")


def test_two_hosts_at_once(mine: Desk, make_metal_host: Callable[..., Host], tmp_path: Path) -> None:
    with desk.at(make_metal_host(), tmp_path) as other:
        started = [mine.process("apply", mine.deployment(mine.release(6)))]
        started.append(other.process("apply", other.deployment(other.release(5))))
        for process in started:
            out, err = process.communicate(timeout=60)
            assert process.returncode == 0, out + err
            assert json.loads(out)["appraisal"]["verdict"] == "accepted"
        assert (mine.health(), other.health()) == (build_id(6), build_id(5))
        other.ok("destroy", other.names["shop"])
        assert mine.ok("verify", mine.names["shop"])["accepted"]


@pytest.mark.parametrize("how", ["reboot", "reset"])
def test_what_serves_is_there_again_after_a_reboot(mine: Desk, how: str) -> None:
    file = mine.deployment(mine.release(6))
    mine.ok("apply", file)
    getattr(mine.host, how)()
    assert served(mine) == build_id(6)
    assert states(mine.ok("status", file)) == {"a": "stopped", "b": "running", "serves": "b"}
    assert not mine.ok("plan", file)["plan"]["changes"]
    assert mine.ok("verify", file)["accepted"]


def test_a_host_that_loses_its_power_during_an_upgrade(mine: Desk) -> None:
    file = mine.deployment(mine.release(6, "silent"))
    process = mine.process("apply", file)
    mine.wait_for("pluto-td-shop-b")
    mine.host.reset()
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 6, out
    assert served(mine) == build_id(5)
    assert states(mine.ok("status", file)) == {"a": "running", "b": "stopped", "serves": "a"}
    mine.ok("apply", mine.deployment(mine.release(7)))
    assert mine.health() == build_id(7)


def test_a_machine_whose_qemu_dies_comes_back(mine: Desk) -> None:
    mine.host.run(["systemctl", "kill", "--signal=KILL", "pluto-td-shop-a.service"])
    time.sleep(0.5)
    assert served(mine) == build_id(5)
    assert mine.ok("verify", mine.names["shop"])["accepted"]


def test_what_another_deployment_tidied_away_is_copied_again(mine: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The release is there when `apply` looks; nothing names it yet, so another `destroy` takes it away."""
    other = mine.deployment(mine.release(6), name="other", ports="[444]")
    mine.ok("apply", other)
    waiting = [lambda: mine.ok("destroy", other)]

    def first_the_other(*asked: Any, **how: Any) -> Any:
        found = planned_for(*asked, **how)
        if waiting:
            waiting.pop()()
        return found

    monkeypatch.setattr("pluto_deploy.commands.apply.planned_for", first_the_other)
    done = mine.ok("apply", mine.deployment(mine.release(6)))
    assert "put-release" not in steps(done)
    assert mine.health() == build_id(6)


def test_a_host_with_another_key_is_not_spoken_to(mine: Desk) -> None:
    file = mine.names["shop"]
    known = mine.host.change_host_key()
    for command in ("plan", "apply", "verify", "status", "destroy"):
        done = mine.call(command, file)
        assert done.code == 6
        assert "the host's key is not the one that is known for it" in done.document["error"]["message"]
    assert mine.health() == build_id(5)
    mine.host.known_hosts.write_text(known.read_text())
    assert mine.ok("verify", file)["accepted"]


def test_a_host_that_is_off_or_was_never_prepared(make_metal_host: Callable[..., Host], tmp_path: Path) -> None:
    host = make_metal_host()
    with desk.at(host, tmp_path, ready=False) as mine:
        file = mine.deployment(mine.release(5))
        for command in ("plan", "apply"):
            done = mine.call(command, file)
            assert done.code in (2, 5)
            assert "pluto-deploy host prepare" in json.dumps(done.document["error"])
        assert mine.host.run(["ls", "/var/lib"]).stdout.count("pluto") == 0
        host.power_off()
        done = mine.call("status", file)
        assert done.code == 6
