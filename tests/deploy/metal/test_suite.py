"""The machinery of `host test`: the configuration of ssh, the outcomes, and a run of pytest that nothing leaks into."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluto_deploy.metal.connection import Answer, Connection
from pluto_deploy.metal.login import Login
from pluto_deploy.metal.suite import run, sshconfig
from pluto_deploy.metal.suite.outcome import Outcome
from pluto_measure.errors import FormatError, RefusedError, UsageError

CHECKS = '''
import pytest

def test_good(host):
    """A good thing."""
    assert host.check_output("echo yes") == "yes"

def test_bad(host):
    """A bad thing.

    With more words."""
    assert host.file("/absent").exists, "the file is\\tnot there"

@pytest.fixture
def broken():
    raise ValueError("no such luck")

def test_broken(host, broken):
    pass

@pytest.fixture
def untidy():
    yield
    raise ValueError("late")

def test_untidy(host, untidy):
    pass

def test_left_out(host):
    pytest.skip("not on this one")

@pytest.mark.parametrize("path", ["/a", "/b"])
def test_each(host, path):
    assert path == "/a"
'''
WRAPPER = """#!/bin/sh
# ssh for a host that is this machine: the options must name the alias; the command is what follows it.
while [ "$1" != target ]; do shift; [ $# -gt 0 ] || exit 99; done
shift
exec sh -c "$*"
"""


@pytest.fixture
def pretended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Connection:
    """A connection whose ssh runs commands here."""
    ssh = tmp_path / "bin/ssh"
    ssh.parent.mkdir()
    ssh.write_text(WRAPPER)
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ssh.parent}{os.pathsep}{os.environ['PATH']}")
    return Connection(Login("metal.example"), tmp_path)


def ssh_reads(text: str, folder: Path) -> dict[str, str]:
    """What OpenSSH makes of a configuration."""
    if shutil.which("ssh") is None:
        pytest.skip("no peer: there is no OpenSSH here")
    path = folder / "ssh_config"
    path.write_text(text)
    done = subprocess.run(["ssh", "-G", "-F", str(path), sshconfig.ALIAS], capture_output=True, text=True, check=True)
    return dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)


@pytest.mark.interop
def test_openssh_reads_what_is_written(tmp_path: Path) -> None:
    key, known = Path('/k/a "b" 100%\\c'), Path("/k/known hosts")
    login = Login("2001:db8::1", "operator", 2222, key, known)
    found = ssh_reads(sshconfig.render(login, Path("/run/m 1/master")), tmp_path)
    assert (found["hostname"], found["user"], found["port"]) == ("2001:db8::1", "operator", "2222")
    assert found["stricthostkeychecking"] == "true"
    assert (found["batchmode"], found["identitiesonly"], found["controlmaster"]) == ("yes", "yes", "false")
    assert found["userknownhostsfile"] in ("/k/known hosts", '"/k/known hosts"')
    assert found["globalknownhostsfile"] == "none"
    assert found["controlpath"] == "/run/m 1/master"
    assert (found["forwardagent"], found["forwardx11"], found["updatehostkeys"]) == ("no", "no", "false")
    assert found["identityfile"].replace("%%", "%") == str(key)


@pytest.mark.interop
def test_a_login_without_options_takes_opensshs_own(tmp_path: Path) -> None:
    found = ssh_reads(sshconfig.render(Login("metal.example"), Path("/m")), tmp_path)
    assert (found["hostname"], found["port"], found["identitiesonly"]) == ("metal.example", "22", "no")
    assert "known_hosts" in found["userknownhostsfile"]


@pytest.mark.parametrize(
    "login",
    [
        Login("a b"), Login("a\nProxyCommand x"), Login('a"b'), Login("a", "u\nPort 1"), Login("a", "u v"),
        Login("a", key=Path("/k\nProxyCommand x")), Login("a", known_hosts=Path("/k\0")), Login("-a"),
    ],
)  # fmt: skip
def test_nothing_is_smuggled_into_the_configuration(login: Login) -> None:
    with pytest.raises(UsageError):
        sshconfig.render(login, Path("/m"))


def test_outcomes_of_every_kind_are_told_apart(pretended: Connection, tmp_path: Path) -> None:
    suite = tmp_path / "suite"
    suite.mkdir()
    (suite / "check_things.py").write_text(CHECKS)
    (suite / "test_not_mine.py").write_text("def test_no(): assert False\n")
    outcome = run.run_files(suite, pretended)
    found = {check.id: (check.outcome, check.message) for check in outcome.checks}
    assert found == {
        "things.good": ("passed", None),
        "things.bad": ("failed", "the file is?not there"),
        "things.broken": ("error", "ValueError: no such luck"),
        "things.untidy": ("error", "ValueError: late"),
        "things.left_out": ("skipped", "not on this one"),
        "things.each[/a]": ("passed", None),
        "things.each[/b]": ("failed", found["things.each[/b]"][1]),
    }
    assert [check.text for check in outcome.checks][:3] == ["A good thing", "A bad thing", "test_broken[ssh://target]"]
    assert not outcome.passed
    assert not list(suite.rglob("__pycache__"))


def test_the_operators_own_pytest_has_no_say(
    pretended: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = tmp_path / "suite"
    suite.mkdir()
    (suite / "check_one.py").write_text("def test_one(host): pass\n")
    (tmp_path / "conftest.py").write_text("raise RuntimeError\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --nonsense\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTEST_ADDOPTS", "--more-nonsense")
    monkeypatch.setenv("PYTEST_PLUGINS", "nonsense")
    assert run.run_files(suite, pretended).passed


def test_a_file_that_cannot_be_read_is_a_bug_of_ours(pretended: Connection, tmp_path: Path) -> None:
    suite = tmp_path / "suite"
    suite.mkdir()
    (suite / "check_one.py").write_text("import nonsense\n")
    with pytest.raises(RuntimeError, match="pytest ended with 2"):
        run.run_files(suite, pretended)


def test_the_run_ends_where_the_host_is_lost(pretended: Connection, tmp_path: Path) -> None:
    suite = tmp_path / "suite"
    suite.mkdir()
    lost = "def test_lost(host): host.run('exit 255')\n"
    (suite / "check_one.py").write_text(f"{lost}def test_next(host): assert host.run('true').rc == 0\n")
    outcome = run.run_files(suite, pretended)
    assert [(one.id, one.outcome) for one in outcome.checks] == [("one.lost", "failed"), ("one.next", "error")]
    assert outcome.checks[1].message == "did not run"


def test_sudo_is_used_where_the_login_is_not_root(pretended: Connection, tmp_path: Path) -> None:
    sudo = tmp_path / "bin/sudo"
    sudo.write_text('#!/bin/sh\necho sudo: "$@"\n')
    sudo.chmod(0o755)
    suite = tmp_path / "suite"
    suite.mkdir()
    (suite / "check_one.py").write_text('def test_one(host): assert "sudo:" in host.run("true").stdout\n')
    pretended.sudo = True
    assert run.run_files(suite, pretended).passed


def test_without_testinfra_the_extra_is_named(pretended: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_NEEDED", ("pytest", "no_such_module"))
    with pytest.raises(UsageError, match="need no_such_module"):
        run.run(pretended)


def test_a_host_that_was_never_prepared_is_not_tested(pretended: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def answer(_: Connection, argv: list[str], **more: object) -> Answer:
        asked.append(argv)
        return Answer(len(asked) % 2, b"", "")

    monkeypatch.setattr(Connection, "run", answer)
    monkeypatch.setattr(run, "run_files", lambda suite, connection: Outcome.parse(json.dumps([row("passed")])))
    with pytest.raises(RefusedError, match=r"metal\.example was not prepared") as refused:
        run.run(pretended)
    assert refused.value.hint == "run 'pluto-deploy host prepare metal.example'"
    assert run.run(pretended).passed
    assert asked == [["test", "-e", "/etc/pluto/host.json"]] * 2


def row(outcome: str, message: str | None = None, name: str = "folders.exists") -> dict[str, object]:
    return {"id": name, "text": "A folder", "outcome": outcome, "seconds": 0.25, "message": message}


def test_the_report_has_the_verdict_first() -> None:
    good = Outcome.parse(json.dumps([row("passed"), row("skipped", "not here")]))
    assert good.passed
    assert good.text("metal").splitlines() == [
        "metal: as prepared, 2 tests",
        "",
        "Folders",
        "  ok    A folder  [folders.exists]",
        "  skip  A folder  [folders.exists]",
        "        not here",
    ]
    bad = Outcome.parse(json.dumps([row("passed"), row("failed", "mode 0777"), row("error", "broken", "quotes.x")]))
    lines = bad.text("root@metal").splitlines()
    assert lines[0] == "root@metal: not as prepared: 2 of 3 tests failed"
    assert "        mode 0777" in lines
    assert lines[-1] == "to make it so again: pluto-deploy host prepare root@metal"
    assert bad.document("metal")["counts"] == {"passed": 1, "failed": 1, "error": 1, "skipped": 0}


def test_nothing_tested_is_not_passed() -> None:
    assert not Outcome.parse("[]").passed
    assert not Outcome.parse(json.dumps([row("skipped")])).passed


@given(
    value=st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_other_results_are_refused(value: object) -> None:
    if value == []:
        return
    with pytest.raises(FormatError):
        Outcome.parse(json.dumps(value))


@pytest.mark.parametrize("change", [{"outcome": "perhaps"}, {"seconds": "1"}, {"more": 1}, {"id": None}])
def test_wrong_results_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(FormatError):
        Outcome.parse(json.dumps([{**row("passed"), **change}]))
