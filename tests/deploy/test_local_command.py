from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from pluto_deploy import cli
from pluto_deploy.local import power, processes
from pluto_deploy.local.processes import Process
from pluto_image.artifact import Dist


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def run(*words: object) -> int:
    return cli.main(["local", *map(str, words)])


def document(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    value = json.loads(capsys.readouterr().out)
    assert isinstance(value, dict)
    return value


@pytest.mark.slow
@pytest.mark.usefixtures("pretended")
def test_a_machine_goes_through_its_life(dist: Dist, state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--state", state, "--json")
    try:
        assert run(dist.root, "--port", 0, "--accelerator", "tcg", "--deployment", "test", *options) == 0
        started = document(capsys)
        assert started["state"] == "running"
        assert started["url"] == f"https://127.0.0.1:{started['port']}"
        appraisal = started["appraisal"]
        assert isinstance(appraisal, dict)
        assert appraisal["accepted"] is True

        assert run("--status", *options) == 0
        assert document(capsys)["state"] == "running"
        assert run("--logs", *options) == 0
        events = document(capsys)["events"]
        assert isinstance(events, list)
        assert [event["event"] for event in events] == ["started", "ready"]

        # Called again: the same machine, appraised again.
        assert run(dist.root, "--port", 0, "--accelerator", "tcg", "--deployment", "test", *options) == 0
        again = document(capsys)
        assert [again[name] for name in ("qemu", "port", "keyDigest")] == [
            started[name] for name in ("qemu", "port", "keyDigest")
        ]
    finally:
        assert run("--stop", *options) == 0
    assert document(capsys)["state"] == "stopped"
    assert run("--status", *options) == 0
    assert document(capsys)["state"] == "stopped"


@pytest.mark.slow
@pytest.mark.usefixtures("pretended")
def test_people_read_words_and_a_broken_machine_is_an_error(
    dist: Dist, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        assert run(dist.root, "--port", 0, "--accelerator", "tcg", "--state", state) == 0
        out, err = capsys.readouterr()
        assert "running and attested: https://127.0.0.1:" in out
        assert "warning: policy.ak_trust" in err
        assert "attested: it is what was built" in err

        assert run("--logs", "--state", state) == 0
        assert "ready port=8443" in capsys.readouterr().out
        assert run("--status", "--state", state) == 0
        assert "QEMU is process" in capsys.readouterr().out
        swtpm = Process.from_json(json.loads((state / "local/local/a/machine.json").read_text())["swtpm"])
        os.kill(swtpm.pid, signal.SIGKILL)
        while processes.alive(swtpm):
            time.sleep(0.01)
        assert run("--status", "--state", state) == 6
        assert "swtpm" in capsys.readouterr().err
    finally:
        assert run("--stop", "--state", state) == 0


@pytest.mark.slow
@pytest.mark.usefixtures("pretended")
def test_the_foreground_stays_until_interrupted_and_stops_the_machine(
    dist: Dist, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(power, "follow", interrupted)
    assert run(dist.root, "--port", 0, "--accelerator", "tcg", "--state", state, "--foreground") == 0
    assert json.loads((state / "local/local/a/machine.json").read_text())["state"] == "stopped"


def test_without_a_machine_there_is_nothing_to_stop_or_to_show(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--stop", "--state", state) == 0
    assert capsys.readouterr().out == "no machine was running\n"
    assert run("--status", "--state", state) == 0
    assert run("--logs", "--state", state) == 0


@pytest.mark.usefixtures("pretended")
@pytest.mark.parametrize(
    "words",
    [
        ("--port", "-1"),
        ("--port", "65536"),
        ("--cpus", "0"),
        ("--memory", "1M"),
        ("--boot", "floppy"),
        ("--deployment", "Not A Label"),
        ("--stop", "--status"),
    ],
)
def test_what_cannot_work_is_a_usage_or_format_error(words: tuple[str, ...], dist: Dist, state: Path) -> None:
    assert run(dist.root, "--accelerator", "tcg", "--state", state, *words) in (2, 3)
    assert not (state / "local/local/a/machine.json").exists()


def test_a_dist_must_be_named_and_be_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--state", tmp_path / "state") == 2
    assert run(tmp_path, "--state", tmp_path / "state") == 2
    assert "SHA256SUMS" in capsys.readouterr().err


def test_a_file_that_was_changed_after_the_build_does_not_start(dist: Dist, state: Path) -> None:
    uki = bytearray((dist.root / "pluto.efi").read_bytes())
    uki[-1] ^= 1
    (dist.root / "pluto.efi").write_bytes(uki)
    assert run(dist.root, "--state", state) == 4
