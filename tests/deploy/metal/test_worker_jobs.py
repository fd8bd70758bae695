"""How a job is carried out, on pyinfra's fake host: in a process of its own, since pyinfra needs gevent's patches."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from typing import Any

import pytest

FRAME = """
from pluto_deploy.metal.worker import __main__ as worker, jobs
import json, os, sys
from pyinfra.api.inventory import Inventory
from pyinfra.operations import server
ask = json.loads(sys.stdin.read())
told = []
def carry_out(job, plan=False):
    inventory = Inventory(([("@fake/host", {"fake_delay": 0, "fake_delay_jitter": 0, "fake_responses": ask})], {}))
    answer = jobs.carry_out(inventory, job, {}, lambda *words: told.append(words), plan=plan)
    ran = next(iter(inventory)).connector.executed_commands
    return {**answer, "ran": ran, "told": told}
"""


def carried_out(job: str, responses: Mapping[str, Any] | None = None, *, plan: bool = False) -> dict[str, Any]:
    """What came of a job, the body of `def job(steps, parameters)`, and the commands that the host was given."""
    body = f"def job(steps, parameters):\n{textwrap.indent(textwrap.dedent(job), '    ')}"
    script = f"{FRAME}\n{body}\nprint(json.dumps(carry_out(job, plan={plan})), flush=True)\nos._exit(0)"
    asked = json.dumps({"id -u": "0", **(responses or {})})
    done = subprocess.run(
        [sys.executable, "-c", script], input=asked, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def changed(found: Mapping[str, Any]) -> dict[str, bool]:
    return {one["name"]: one["changed"] for one in found["operations"]}


TWO = """
first = steps.add("first", server.group, group="there")
second = steps.add("second", server.group, group="new")
steps.add("third", server.shell, "run-it")
"""
GROUPS = {"cat /etc/group": "there:x:999:"}


def test_what_changed_is_what_had_something_to_do() -> None:
    found = carried_out(TWO, GROUPS)
    assert changed(found) == {"first": False, "second": True, "third": True}
    assert [command for command in found["ran"] if "groupadd" in command] == ["groupadd new"]


def test_a_plan_says_the_same_and_runs_nothing() -> None:
    found = carried_out(TWO, GROUPS, plan=True)
    assert changed(found) == changed(carried_out(TWO, GROUPS))
    assert not [command for command in found["ran"] if "run-it" in command or "groupadd" in command]


def test_a_plan_counts_what_comes_after_a_change() -> None:
    job = """
    there = steps.add("there", server.group, group="there")
    new = steps.add("new", server.group, group="new")
    for name, causes in (("after none", []), ("after there", [there]), ("after new", [there, new])):
        steps.add(name, server.group, group="there", causes=causes)
    """
    wanted = {"there": False, "new": True, "after none": False, "after there": False, "after new": True}
    assert changed(carried_out(job, GROUPS, plan=True)) == wanted
    assert changed(carried_out(job, GROUPS)) == {**wanted, "after new": False}


def test_progress_names_what_begins_and_what_changed() -> None:
    found = carried_out(TWO, GROUPS)
    assert [text for kind, text in found["told"] if kind == "doing"] == ["first", "second", "third"]
    assert [text for kind, text in found["told"] if kind == "step"] == ["second", "third"]


def test_an_operation_that_fails_is_named_with_the_last_line_of_its_errors() -> None:
    job = """
    steps.add("good", server.shell, "true")
    steps.add("bad", server.shell, "break-it")
    steps.add("never", server.shell, "not-reached")
    """
    found = carried_out(job, {"break-it": {"success": False, "stderr": ["warning", "E: broken", ""]}})
    assert found["error"] == "bad: E: broken"
    assert changed(found) == {"good": True, "bad": False}
    assert "not-reached" not in "\n".join(found["ran"])


def test_a_failure_without_a_word() -> None:
    found = carried_out('steps.add("bad", server.shell, "break-it")', {"break-it": {"success": False}})
    assert found["error"] == "bad: it failed and did not say why"


def test_a_look_that_fails_is_an_error_and_not_a_guess() -> None:
    found = carried_out('steps.add("group", server.group, group="new")', {"cat /etc/group": {"success": False}})
    assert found["error"].startswith("group: ")
    assert not [command for command in found["ran"] if "groupadd" in command]


@pytest.mark.parametrize(("user", "sudo"), [("0", False), ("1000", True)])
def test_a_login_that_is_not_roots_uses_sudo_and_roots_does_not(user: str, sudo: bool) -> None:
    # The fake host shows commands without what a connector puts around them, so the settings are asked.
    job = 'steps.add("any", server.shell, "true")\ntold.append(("sudo", steps.state.config.SUDO))'
    assert ["sudo", sudo] in carried_out(job, {"id -u": user})["told"]


def test_every_operation_has_a_time_limit() -> None:
    job = """
    steps.add("default", server.shell, "true")
    steps.add("own", server.shell, "true", timeout=7)
    for host in steps.state.inventory:
        for data in steps.state.ops[host].values():
            told.append(("timeout", data.global_arguments["_timeout"]))
    """
    assert [text for kind, text in carried_out(job)["told"] if kind == "timeout"] == [60, 7]


def test_host_keys_are_always_checked() -> None:
    script = (
        "from pluto_deploy.metal.worker import __main__ as worker, jobs\nimport json\n"
        "from pluto_deploy.metal.worker.process import _login\n"
        "from pluto_deploy.metal.login import Login\n"
        "print(json.dumps(jobs.connection_data(_login(Login('h')))), flush=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"ssh_hostname": "h", "ssh_strict_host_key_checking": "yes"}
