"""The life of a deployment on a bare-metal host, by the commands that an operator gives.

The host is real but for its hardware (`simulators.metal`), its trust domains are pretended (`simulators.metal.inside`).
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pluto_deploy.engine import gate
from pluto_notary.config import encode_config_disk, encode_payload
from simulators.metal import desk
from simulators.metal.desk import Desk, states, steps
from simulators.metal.td_releases import build_id

pytestmark = [pytest.mark.root, pytest.mark.slow]

CREATE = ["put-tools", "put-release", "create a", "start a", "appraise a", "switch a", "confirm a", "tidy"]
UPGRADE = ["put-release", "create b", "start b", "appraise b", "switch b", "confirm b", "stop a", "tidy"]


@pytest.fixture
def mine(shared: Desk) -> Iterator[Desk]:
    before = shared.inventory()
    yield shared
    shared.clear()
    assert shared.inventory() == before, "a deployment leaves nothing behind"


def test_from_plan_to_destroy(mine: Desk) -> None:
    untouched = mine.inventory()
    first, third = mine.deployment(mine.release(5)), mine.deployment(mine.release(7))
    bad = mine.deployment(mine.release(6, "other-image"))

    assert steps(mine.ok("plan", first)) == CREATE
    assert mine.inventory() == untouched, "a plan writes nothing"
    applied = mine.ok("apply", first)
    assert steps(applied) == CREATE
    assert applied["appraisal"]["verdict"] == "accepted"
    assert mine.health() == build_id(5)
    assert not mine.ok("apply", first)["plan"]["changes"]
    assert mine.ok("verify", first)["accepted"]

    with mine.client() as client:
        refused = mine.call("apply", bad)
        assert refused.code == 5
        assert refused.document["error"]["serving"] == "a"
        assert "log.events.rtmr2" in refused.findings
        status = mine.ok("status", bad)
        assert states(status) == {"a": "running", "b": "stopped, refused", "serves": "a"}
        assert status["journal"]["state"] == "failed"

        assert steps(mine.ok("rollback", bad)) == ["confirm a", "remove b", "tidy"]
        assert states(mine.ok("status", first)) == {"a": "running", "serves": "a"}

        assert steps(mine.ok("apply", third)) == UPGRADE
        assert mine.ok("verify", third)["accepted"]
        assert states(mine.ok("status", third)) == {"a": "stopped", "b": "running", "serves": "b"}
    assert client.failures == []
    assert client.builds == [build_id(5), build_id(7)], "nobody ever met the machine that was refused"

    assert [one["event"] for one in mine.ok("logs", third)["events"]] == ["started", "config-accepted", "ready"]
    assert mine.ok("logs", third, "--slot", "a")["events"][-1]["event"] == "stopping"

    dry = mine.ok("destroy", third, "--dry-run")
    assert mine.health() == build_id(7)
    assert steps(mine.ok("destroy", third)) == steps(dry)
    assert mine.inventory() == untouched


def test_back_to_the_machine_that_served_before_and_forward_again(mine: Desk) -> None:
    first, second = mine.deployment(mine.release(5)), mine.deployment(mine.release(6))
    mine.ok("apply", first)
    mine.ok("apply", second)
    with mine.client() as client:
        back = mine.ok("rollback", second)
        assert steps(back)[:4] == ["start a", "appraise a", "switch a", "confirm a"]
        assert mine.health() == build_id(5)

        # What serves is genuine, and older than what was accepted once: whoever means that says so.
        for file in (first, second):
            verified = mine.call("verify", file)
            assert (verified.code, verified.findings) == (5, {"release.rollback"})
        meant = mine.ok("verify", second, "--accept-older")
        assert [one["verdict"] for one in meant["findings"]] == ["warning"], "not what the file asks for"
        assert mine.ok("verify", first, "--accept-older")["findings"][0]["verdict"] == "pass"

        assert steps(mine.ok("apply", second))[:3] == ["remove b", "create b", "start b"], "the newest is made last"
    assert client.failures == []
    assert client.builds == [build_id(6), build_id(5), build_id(6)]


def test_a_release_that_a_newer_one_revokes_is_not_gone_back_to(mine: Desk) -> None:
    mine.ok("apply", mine.deployment(mine.release(5)))
    file = mine.deployment(mine.release(6, revokes=(desk.revoked(5),)))
    mine.ok("apply", file)
    with mine.client() as client:
        done = mine.call("rollback", file)
        assert done.code == 5
        assert "release.rollback" in done.findings
    assert (client.failures, client.builds) == ([], [build_id(6)])


def test_a_host_cannot_choose_what_is_gone_back_to(mine: Desk) -> None:
    """It has an accepted release, and gives the earlier machine another configuration and the record of one."""
    file = mine.deployment(mine.release(6))
    mine.ok("apply", mine.deployment(mine.release(5)))
    mine.ok("apply", file)
    payload, folder = encode_payload(deployment="of-the-host"), "/var/lib/pluto/td/shop/a"
    record = json.loads(mine.host.read(f"{folder}/slot.json"))
    record["config"] = hashlib.sha256(payload).hexdigest()
    mine.host.put(f"{folder}/slot.json", json.dumps(record, separators=(",", ":"), sort_keys=True).encode() + b"\n")
    mine.host.put(f"{folder}/config.disk", encode_config_disk(payload))
    mine.host.run(["touch", "-d", "1 hour ago", f"{folder}/slot.json"])
    with mine.client() as client:
        done = mine.call("rollback", file)
        assert (done.code, done.document["error"]["kind"]) == (5, "UnknownGenerationError")
    assert (client.failures, client.builds) == ([], [build_id(6)])
    assert states(mine.ok("status", file))["serves"] == "b"


def test_replace_has_one_machine_at_a_time_and_returns_to_the_old_one(mine: Desk) -> None:
    first = mine.deployment(mine.release(5), strategy='"replace"')
    mine.ok("apply", first)
    bad = mine.deployment(mine.release(6, "other-image"), strategy='"replace"')
    planned = steps(mine.ok("plan", bad))
    assert planned.index("stop a") < planned.index("start b")
    refused = mine.call("apply", bad)
    assert (refused.code, refused.document["error"]["serving"]) == (5, "a")
    assert mine.health() == build_id(5)
    assert states(mine.ok("status", first)) == {"a": "running", "b": "stopped, refused", "serves": "a"}
    mine.ok("apply", mine.deployment(mine.release(7), strategy='"replace"'))
    assert mine.health() == build_id(7)


def test_a_relaunch_that_intel_advises(mine: Desk) -> None:
    """The host's TDX module was updated under a running machine, which keeps what it was launched with."""
    file = mine.deployment(mine.release(5))
    mine.ok("apply", file)
    assert mine.ok("watch", file)["relaunch"] is None
    updated = desk.hardware(module="OutOfDate", module_now="UpToDate")
    for guest in mine.inside.guests.values():
        guest.domain = replace(guest.domain, world=updated)
    advised = mine.call("watch", file)
    assert (advised.code, advised.document["appraisal"]["tcb"]["status"]) == (5, "TDRelaunchAdvised")
    assert [one["action"] for one in advised.document["relaunch"]["steps"]][:2] == ["create", "start"]
    with mine.client() as client:
        assert mine.ok("apply", file, "--relaunch")["plan"]["kind"] == "relaunch"
        assert states(mine.ok("status", file)) == {"a": "stopped", "b": "running", "serves": "b"}
        assert mine.ok("watch", file)["relaunch"] is None
    assert (client.failures, client.builds) == ([], [build_id(5)])


def test_a_second_deployment_of_the_host_is_left_alone(mine: Desk) -> None:
    shop, till = mine.deployment(mine.release(5)), mine.deployment(mine.release(5), name="till", ports="[444]")
    mine.ok("apply", shop)
    mine.ok("apply", till)
    assert (mine.health(), mine.health(444)) == (build_id(5), build_id(5))
    with mine.client(444) as client:
        mine.ok("apply", shop, "--relaunch")
        mine.ok("destroy", shop)
        with pytest.raises(OSError):
            mine.health()
        assert mine.ok("verify", till)["accepted"]
        assert not mine.ok("plan", till)["plan"]["changes"], "its release and tools are there, though both shared them"
    assert (client.failures, client.builds) == ([], [build_id(5)])


def test_ports_are_changed_without_another_machine(mine: Desk) -> None:
    mine.ok("apply", mine.deployment(mine.release(5)))
    file = mine.deployment(mine.release(5), ports="[444, 445]")
    assert "create b" not in steps(mine.ok("plan", file))
    mine.ok("apply", file)
    assert mine.health(444) == mine.health(445) == build_id(5)
    with pytest.raises(OSError):
        mine.health(443)
    assert not mine.ok("apply", file)["plan"]["changes"]


def test_watch_tells_early_what_will_be_amiss(mine: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "Gate", partial(gate.Gate, patience=1.0))
    file = mine.deployment(mine.release(5))
    nothing = mine.call("watch", file)
    assert nothing.code == 5
    mine.ok("apply", file)
    assert "policy.insecure_root" in mine.call("watch", file, text=True).out, "this hardware's root is a warning"
    assert mine.call("watch", file, "--quiet", text=True).out == "", "which the policy permits by its word"

    done = mine.ok("watch", file, "--collateral", mine.early_collateral())
    early = [one for one in done["appraisal"]["findings"] if one["id"] == "tcb.forecast"]
    assert [one["verdict"] for one in early] == ["warning"]
    assert "OutOfDate" in json.dumps(early)

    often = mine.call("watch", file, "--every", "1", "--times", "2")
    assert [json.loads(line)["exitCode"] for line in often.out.splitlines()] == [0, 0]

    mine.host.run(["systemctl", "stop", "pluto-td-shop-a.service"])
    gone = mine.call("watch", file)
    assert gone.code == 6
    assert mine.ok("apply", file)["plan"]["kind"] == "repair"
    assert mine.ok("watch", file)["accepted"]


def test_what_render_shows_is_what_lies_on_the_host(mine: Desk, tmp_path: Path) -> None:
    file = mine.deployment(mine.release(5), egress='["udp:123"]')
    shown = mine.folder / f"rendered-{tmp_path.name}"
    mine.ok("render", file, "--out", shown)
    mine.ok("apply", file)
    rendered = {f"/{path.relative_to(shown)}": path for path in shown.rglob("*") if path.is_file()}
    on_host = {name for name in rendered if not name.startswith("/reference/") and "/b/" not in name}
    of_a = {name for name in on_host if "shop-b" not in name}
    assert len(of_a) >= 5
    for name in sorted(of_a):
        assert mine.host.read(name) == rendered[name].read_bytes(), name


def test_an_operator_who_is_not_root_uses_sudo(mine: Desk) -> None:
    file = mine.deployment(mine.release(5), user="operator")
    mine.ok("apply", file)
    assert mine.ok("verify", file)["accepted"]
    assert states(mine.ok("status", file)) == {"a": "running", "serves": "a"}
    mine.ok("apply", mine.deployment(mine.release(6), user="operator"))
    mine.ok("rollback", mine.deployment(mine.release(6), user="operator"))
    assert mine.health() == build_id(5)
    mine.host.put("/etc/sudoers.d/operator", b"", 0o440)
    try:
        refused = mine.call("status", file)
        assert refused.code == 2
        assert "may not become root without a password" in refused.document["error"]["message"]
    finally:
        mine.host.put("/etc/sudoers.d/operator", b"operator ALL=(ALL) NOPASSWD: ALL\n", 0o440)


def test_no_secret_is_shown_or_kept(mine: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    start = subprocess.Popen.__init__

    def noted(self: Any, argv: Any, *words: Any, **more: Any) -> None:
        seen.append(repr(argv))
        start(self, argv, *words, **more)

    monkeypatch.setattr(subprocess.Popen, "__init__", noted)
    file, bad = mine.deployment(mine.release(5)), mine.deployment(mine.release(6, "other-image"))
    for command, given in (("plan", file), ("apply", file), ("apply", bad), ("status", file), ("logs", file)):
        done = mine.call(command, given)
        seen += [done.out, done.err]
    seen += [path.read_text(errors="replace") for path in mine.state.rglob("*") if path.is_file()]
    assert any("ssh" in one for one in seen)
    secret = mine.host.key.read_text().splitlines()[1:-1]
    assert [one for one in seen for line in secret if line in one] == []
