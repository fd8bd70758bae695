"""A deployment on this computer goes through its whole life by the commands; only QEMU and swtpm are pretended."""

from __future__ import annotations

import io
import json
import socket
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deploy.local_worlds import World
from pluto_deploy import cli
from pluto_deploy.local import processes
from pluto_deploy.local.processes import Process
from pluto_measure.publish.dissent import dissent
from pluto_measure.publish.dsse import signed
from simulators import releases

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("pretended")]


def test_plan_apply_verify_a_failed_upgrade_rollback_an_upgrade_and_destroy(world: World) -> None:
    a_plan_writes_nothing(world)
    first = a_first_machine_serves(world)
    another_build_than_was_released_is_refused(world, first)
    a_rollback_clears_it_away(world, first)
    second = an_upgrade_serves(world, first)
    it_is_watched(world)
    a_rollback_leads_back(world, second)
    last = a_relaunch_serves(world)
    a_destroy_leaves_nothing(world, last)


def a_plan_writes_nothing(world: World) -> None:
    before = world.everything()
    code, document = world.run("plan")
    assert (code, document["plan"]["kind"], document["target"]["serving"]) == (0, "create", None)
    assert document["release"]["organisations"] == ["one"]
    assert world.everything() == before


def a_first_machine_serves(world: World) -> Process:
    code, applied = world.run("apply")
    assert (code, applied["address"]) == (0, f"127.0.0.1:{world.port}")
    assert applied["appraisal"]["accepted"]
    first = world.process("a")
    before = world.everything()
    code, document = world.run("plan")
    assert (document["plan"]["kind"], document["plan"]["changes"]) == ("nothing", False)
    assert world.everything() == before
    assert world.run("apply")[0] == 0
    assert world.process("a") == first
    assert world.run("verify")[1]["accepted"]
    return first


def another_build_than_was_released_is_refused(world: World, first: Process) -> None:
    world.file(world.release("two", 2, mode="other-image"))
    code, document = world.run("apply")
    assert (code, document["error"]["kind"], document["error"]["serving"]) == (5, "NotAttestedError", "a")
    assert document["error"]["step"]["action"] == "appraise"
    assert {one["id"] for one in document["error"]["findings"]} >= {"register.pcr11"}
    assert processes.alive(first)
    assert not processes.alive(world.process("b"))
    code, document = world.run("status")
    assert [(one["state"], one["refused"]) for one in document["target"]["machines"]] == [
        ("running", False),
        ("stopped", True),
    ]
    assert (document["journal"]["state"], document["journal"]["step"]["action"]) == ("failed", "appraise")
    assert world.run("verify")[0] == 5, "another machine serves than the file asks for"


def a_rollback_clears_it_away(world: World, first: Process) -> None:
    """What served all along serves on."""
    code, document = world.run("rollback")
    assert (code, document["plan"]["kind"], document["plan"]["target"]) == (0, "rollback", "a")
    assert not (world.slots / "b").exists()
    assert processes.alive(first)


def an_upgrade_serves(world: World, first: Process) -> Process:
    world.file(world.release("three", 3))
    code, document = world.run("apply")
    assert (code, document["plan"]["kind"], document["plan"]["target"]) == (0, "upgrade", "b")
    assert not processes.alive(first)
    second = world.process("b")
    assert world.run("verify")[1]["machine"]["slot"] == "b"
    assert world.run("logs")[1]["events"][-1]["event"] == "ready"
    assert world.run("logs", "--slot", "a")[1]["slot"] == "a"
    return second


def it_is_watched(world: World) -> None:
    one = {**world.run("watch")[1], "at": ""}
    code, document = world.run("watch")
    assert (code, document["accepted"]) == (0, True)
    code, out = world.text("watch", "--every", 1, "--times", 2, "--json")
    assert [json.loads(line)["accepted"] for line in out.splitlines()] == [True, True]
    assert json.loads(out.splitlines()[0]).keys() == one.keys()


def a_rollback_leads_back(world: World, second: Process) -> None:
    code, document = world.run("rollback")
    assert (code, document["plan"]["target"]) == (0, "a")
    another_serves(world)
    assert processes.alive(world.process("a"))
    assert not processes.alive(second)
    assert world.run("rollback")[1]["plan"]["changes"] is False


def a_relaunch_serves(world: World) -> Process:
    assert world.run("apply")[0] == 0
    third = world.process("b")
    code, document = world.run("apply", "--relaunch")
    assert (code, document["plan"]["kind"], document["plan"]["target"]) == (0, "relaunch", "a")
    assert not processes.alive(third)
    return world.process("a")


def a_destroy_leaves_nothing(world: World, last: Process) -> None:
    assert world.run("destroy", "--dry-run")[1]["plan"]["changes"]
    assert processes.alive(last)
    assert world.run("destroy")[0] == 0
    assert not processes.alive(last)
    assert not world.slots.exists()
    assert world.run("status")[1]["target"]["machines"] == []
    assert world.run("destroy")[0] == 0
    code, document = world.run("verify")
    assert (code, document["error"]["kind"]) == (5, "NothingServesError")


def another_serves(world: World) -> None:
    """After a rollback the file still names the newer release."""
    code, document = world.run("verify")
    error = document["error"]
    assert (code, error["kind"], error["accepted"]) == (5, "OtherRefusedError", False)
    what = "machine a serves, which is another one than the file asks for and is not accepted: release.rollback: "
    assert error["message"].startswith(what)
    assert "--accept-older" in error["hint"]
    assert error["machine"]["slot"] == "a"
    assert error["wanted"] not in (None, error["machine"]["generation"]["id"])
    assert [one["id"] for one in error["findings"]] == ["release.rollback"]
    assert world.run("watch")[1]["error"]["kind"] == "OtherRefusedError"
    code, document = world.run("verify", "--accept-older")
    assert (code, document["accepted"]) == (0, True)
    assert document["findings"][0]["text"].startswith("machine a serves, which is accepted and another one")


def test_people_read_words(world: World) -> None:
    assert "1. copy release" in world.text("plan")[1]
    code, out = world.text("apply")
    assert code == 0
    assert f"create done; machine a serves on 127.0.0.1:{world.port}" in out
    assert "lead clients to machine a" in world.err
    assert "nothing had to be changed" in world.text("apply")[1]
    assert "accepted: machine a" in world.text("verify")[1]
    assert "serves      machine a: running" in world.text("status")[1]
    assert "ready port=8443" in world.text("logs")[1]
    assert "generation.json" in world.text("render")[1]
    assert world.text("watch", "--quiet")[0] == 0
    world.file(world.release("two", 2))
    code, out = world.text("plan")
    assert "(changed: release)" in out
    assert "upgrade" in out
    world.text("destroy")


def test_render_writes_the_files_below_a_new_folder_and_nothing_else(world: World) -> None:
    before = world.everything()
    code, document = world.run("render")
    assert code == 0
    assert world.everything() == before
    out = world.root / "out"
    assert world.run("render", "--out", out)[1]["files"] == sorted(document["files"])
    assert (out / "generation.json").read_text() == document["files"]["generation.json"]
    assert world.run("render", "--out", out)[0] == 2


def test_another_configuration_or_size_is_another_machine(world: World) -> None:
    assert world.run("apply")[0] == 0
    world.file(world.root / "one", label="shop")
    code, document = world.run("apply")
    assert (code, document["plan"]["kind"], document["plan"]["steps"][1]["why"]) == (0, "upgrade", "changed: config")
    assert document["appraisal"]["claims"]["configDigest"] == document["generation"]["config"]


def test_another_port_leads_clients_anew_to_the_same_machine(world: World) -> None:
    assert world.run("apply")[0] == 0
    first, old = world.process("a"), world.port
    with socket.create_server(("127.0.0.1", 0)) as probe:
        world.port = int(probe.getsockname()[1])
    world.file(world.root / "one")
    code, document = world.run("apply")
    assert (code, document["plan"]["kind"]) == (0, "repair")
    assert (document["address"], world.process("a")) == (f"127.0.0.1:{world.port}", first)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", old), timeout=5)
    assert world.run("plan")[1]["plan"]["changes"] is False


def test_a_port_that_somebody_has_is_said_before_a_machine_is_started(world: World) -> None:
    with socket.create_server(("127.0.0.1", world.port)):
        code, document = world.run("apply")
    assert (code, "cannot be used" in document["error"]["message"]) == (2, True)
    assert "deployment file's ports" in document["error"]["hint"]
    assert not world.slots.joinpath("a").exists()
    assert world.run("apply")[0] == 0


def test_a_port_that_somebody_has_is_seen_by_a_plan_and_our_own_machines_is_none(world: World) -> None:
    with socket.create_server(("127.0.0.1", world.port)):
        before = world.everything()
        code, document = world.run("plan")
        assert (code, "cannot be used" in document["error"]["message"]) == (2, True)
        assert world.everything() == before
    assert world.run("apply")[0] == 0
    for options in ((), ("--relaunch",)):
        assert world.run("plan", *options)[0] == 0
    with socket.create_server(("127.0.0.1", 0)) as other:
        world.file(world.root / "one", port=other.getsockname()[1])
        assert world.run("plan")[0] == 2
        assert world.run("apply")[0] == 2
    world.file(world.root / "one")
    assert world.run("plan")[1]["plan"]["changes"] is False, "clients are led as before"


def test_the_log_of_a_machine_that_is_not_there(world: World) -> None:
    code, document = world.run("logs")
    assert (code, "nothing serves" in document["error"]["message"]) == (2, True)
    assert world.run("apply")[0] == 0
    code, document = world.run("logs", "--slot", "b")
    assert (code, document["error"]["message"]) == (2, "there is no machine in slot b")
    assert "pluto-deploy status" in document["error"]["hint"]


class Flushed(io.StringIO):
    """Shows what was flushed alone."""

    shown = ""

    def flush(self) -> None:
        self.shown = self.getvalue()


def test_a_look_is_told_at_once_in_a_line_of_its_own(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stdout, seen = Flushed(), list[str]()

    def sleep(_: float) -> None:
        seen.append(stdout.shown)
        if len(seen) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(sys, "stdout", stdout)
    assert world.text("watch", "--every", 1, "--json")[0] == 5, "nothing serves"
    lines = stdout.getvalue().splitlines(keepends=True)
    assert seen == [lines[0], lines[0] + lines[1]]
    assert {json.loads(line)["error"]["kind"] for line in lines} == {"NothingServesError"}
    assert world.err == ""


def test_a_look_is_words_for_people(world: World) -> None:
    code, out = world.text("watch", "--every", 1, "--times", 1)
    assert (code, "nothing serves" in out, "hint: run 'pluto-deploy apply'" in out) == (5, True, True)


def test_quiet_says_nothing_of_what_the_policy_permits_and_all_else(world: World) -> None:
    assert world.run("apply")[0] == 0
    assert "policy.ak_trust" in world.text("watch")[1]
    assert world.text("watch", "--quiet") == (0, "")
    assert world.text("watch", "--quiet", "--every", 1, "--times", 1) == (0, "")
    processes.end(world.process("a"))
    code, _ = world.text("watch", "--quiet")
    assert (code, "no evidence" in world.err) == (6, True)


@pytest.mark.parametrize("command", ["status", "logs", "destroy", "verify", "watch"])
def test_who_fetches_no_tools_is_not_asked_where_from(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    assert not {"--mirror", "--bundle", "--store", "--offline"} & set(capsys.readouterr().out.split())


def test_a_machine_that_does_not_come_up_is_an_error_of_its_own(world: World) -> None:
    assert world.run("apply")[0] == 0
    world.file(world.release("two", 2, mode="dies"))
    code, document = world.run("apply")
    assert (code, document["error"]["serving"]) == (6, "a")
    assert "something is wrong" in document["error"]["message"]
    assert world.run("status")[1]["target"]["serving"] == "a"
    world.file(world.root / "one")
    assert world.run("verify")[0] == 0


def test_with_replace_the_old_machine_comes_back(world: World) -> None:
    world.file(world.root / "one", strategy="replace")
    assert world.run("apply")[0] == 0
    first = world.process("a")
    world.file(world.release("two", 2, mode="other-image"), strategy="replace")
    code, document = world.run("apply")
    assert (code, document["error"]["serving"], "cleanup" in document["error"]) == (5, "a", False)
    assert not processes.alive(first)
    assert processes.alive(world.process("a"))
    world.file(world.root / "one", strategy="replace")
    assert world.run("verify")[0] == 0
    assert world.run("plan")[1]["plan"]["changes"] is False


def test_two_commands_at_once_do_not_get_in_each_others_way(world: World) -> None:
    assert world.run("apply")[0] == 0
    from pluto_deploy.local.target import LocalTarget
    from pluto_measure.progress import Silent

    def no_tools(_: object) -> Any:
        raise AssertionError

    with LocalTarget(world.slots, None, no_tools, Silent()).lock():
        for command in ("apply", "rollback", "destroy"):
            code, document = world.run(command)
            assert (code, "another command is at work" in document["error"]["message"]) == (2, True)
        assert world.run("verify")[0] == 0, "whoever only looks is not kept out"
        assert world.run("plan")[0] == 0


def test_a_machine_that_ended_is_started_again(world: World) -> None:
    assert world.run("apply")[0] == 0
    processes.end(world.process("a"))
    assert world.run("verify")[0] == 6
    assert world.run("status")[1]["target"]["machines"][0]["state"] == "broken"
    code, document = world.run("apply")
    assert (code, document["plan"]["kind"]) == (0, "repair")
    assert world.run("verify")[0] == 0


def test_a_release_whose_rebuilders_disagree_is_run_if_enough_signed_and_that_is_said_each_time(world: World) -> None:
    folder = world.release("disputed", 2)
    published = (folder / "release.json").read_bytes()
    said = json.loads(published)
    said["subject"][0]["digest"]["sha256"] = "ab" * 32
    named = said["subject"][0]["name"]
    payload = dissent(published, json.dumps(said).encode()).to_text().encode()
    (folder / "signatures/theirs.json").write_text(signed(payload, releases.P256).to_text())
    world.file(folder, trust=releases.trust_text(releases.ED25519, releases.P256, k=1))
    words = f"DISAGREEMENT: signatures/theirs.json: two rebuilt this release and got other bytes: file {named}"
    code, document = world.run("plan")
    assert (code, document["notes"]) == (0, [words])
    assert f"note        {words}\n" in world.text("plan")[1]
    assert world.run("apply")[0] == 0
    assert words in world.err


def test_a_machine_that_serves_stays_when_its_release_grew_stale_and_a_new_one_is_refused(world: World) -> None:
    """The old machine is started again after the new one failed, though nobody confirmed its release lately."""
    world.file(world.root / "one", strategy="replace")
    assert world.run("apply")[0] == 0
    now = datetime.now(UTC)
    validity = {"issued_at": now - timedelta(hours=1), "not_after": now + timedelta(days=9)}
    new = world.release("fresh", 2, mode="other-image", **validity)
    world.file(new, strategy="replace", trust=releases.trust_text(releases.ED25519, age="86400"))
    code, document = world.run("apply")
    assert (code, document["error"]["kind"], document["error"]["serving"]) == (5, "NotAttestedError", "a")
    world.file(world.root / "one", trust=releases.trust_text(releases.ED25519, age="86400"))
    before = world.everything()
    for command in ("plan", "apply", "verify"):
        code, document = world.run(command)
        assert (code, "release.freshness" in document["error"]["message"]) == (5, True), command
    assert world.everything() == before, "also not what was accepted before"
