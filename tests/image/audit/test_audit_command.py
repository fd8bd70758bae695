"""`pluto-image audit`: reads what it needs and no more, says what it found in three forms, and uses no network."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import socket
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pluto_image.cli import main
from simulators import audited_builds as builds
from simulators.launches import LAUNCH

SCHEMA = json.loads((resources.files("pluto_image") / "schemas/audit.json").read_text())
FLAWED = {"tool": {"CVE-2026-0001": builds.fixed("1:1.0-1+deb13u3"), "CVE-2026-0002": builds.issue(urgency="low")}}
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("nothing here may use the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A build, data without and with a flaw, a policy; the folder is the current one."""
    builds.lay(tmp_path / "dist")
    (tmp_path / "clean.json").write_bytes(builds.tracker())
    (tmp_path / "flawed.json").write_bytes(builds.tracker(FLAWED))
    (tmp_path / "policy.toml").write_text(builds.POLICY)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def audit(words: str, data: str = "clean.json", *, policy: bool = True, at: bool = True) -> int:
    typed = f"audit dist --tracker {data} {words}"
    typed += " --policy policy.toml" if policy else ""
    typed += f" --fetched-at {builds.FETCHED} --at {builds.NOW}" if at else ""
    return main(shlex.split(typed))


def document(capsys: Capture) -> dict[str, Any]:
    found = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator(SCHEMA).validate(found)
    return found  # type: ignore[no-any-return]


def test_a_clean_build_is_accepted(world: Path, capsys: Capture) -> None:
    assert audit("") == 0
    out, err = capsys.readouterr()
    assert out.startswith("accepted: small 1.2 (release)\n")
    assert "not in the tracker: coin 21.0 (Python wheel), the project's own files" in out
    assert err == ""


def test_a_flawed_one_is_refused_and_says_what_to_do(world: Path, capsys: Capture) -> None:
    assert audit("", "flawed.json") == 5
    out = capsys.readouterr().out
    assert out.startswith("REFUSED: small 1.2 (release)\n")
    assert "FAIL CVE-2026-0001 high: fixed in 1:1.0-1+deb13u3; a newer lock fixes it" in out
    assert "note CVE-2026-0002 low: no fix yet" in out
    assert "libtool1: usr/lib/libtool.so.1" in out


def test_the_document_has_everything_and_follows_its_schema(world: Path, capsys: Capture) -> None:
    (world / "all.json").write_bytes(builds.rebuilds(("tool", builds.TOOL, "BAD"), ("libtool1", "1", "GOOD")))
    assert audit("--json --rebuilders all.json", "flawed.json") == 5
    found = document(capsys)
    assert (found["accepted"], found["at"], found["tracker"]["knownBy"]) == (False, builds.NOW, "option")
    assert found["release"]["buildId"] == LAUNCH.build_id
    assert found["tracker"]["sha256"] == hashlib.sha256((world / "flawed.json").read_bytes()).hexdigest()
    assert found["counts"] == {"sources": 7, "refused": 1, "warnings": 1, "accepted": 0, "fixedByNewerLock": 1}
    first = found["cves"][0]
    assert (first["source"], first["installed"], first["fixed"]) == ("tool", builds.TOOL, "1:1.0-1+deb13u3")
    assert (first["state"], first["fixedByNewerLock"], first["verdict"]) == ("fixable", True, "fail")
    (source,) = found["sources"]
    assert {part["name"]: part["files"] for part in source["packages"]} == {
        "libtool1": ["usr/lib/libtool.so.1"], "tool": ["usr/bin/tool"],
    }  # fmt: skip
    assert found["outside"] == ["unused"]
    assert [one["name"] for one in found["rebuilders"]["packages"] if one["refused"]] == ["tool"]
    assert found["running"] is None


def test_without_a_policy_a_strict_one_judges_and_is_told_in_words(world: Path, capsys: Capture) -> None:
    assert audit("--json", "flawed.json", policy=False) == 5
    out, err = capsys.readouterr()
    assert "no policy was given: refused is everything that a newer lock would fix" in err
    found = json.loads(out)
    assert (found["policy"]["file"], found["counts"]["refused"]) == (None, 2)


def test_the_file_s_own_time_counts_where_nobody_says_another(world: Path, capsys: Capture) -> None:
    assert audit("--json", at=False) == 0
    assert document(capsys)["tracker"]["knownBy"] == "file"
    os.utime(world / "clean.json", (1_700_000_000, 1_700_000_000))
    assert audit("--json", at=False) == 5
    found = document(capsys)
    assert found["tracker"]["fetchedAt"] == "2023-11-14T22:13:20Z"
    assert [one["id"] for one in found["findings"] if one["verdict"] == "fail"] == ["tracker.age"]


@pytest.mark.parametrize(("data", "affected"), [("clean.json", False), ("flawed.json", True)])
def test_what_runs_is_affected_or_not(world: Path, capsys: Capture, data: str, affected: bool) -> None:
    (world / "health.json").write_text(json.dumps({"status": "ok", "buildId": LAUNCH.build_id}))
    assert audit("--running health.json --json", data) == (5 if affected else 0)
    running = document(capsys)["running"]
    assert (running["kind"], running["matches"], running["affected"]) == ("document", True, affected)
    audit("--running health.json", data)
    said = "is affected" if affected else "is not affected by what the policy refuses"
    assert f"what runs by health.json {said}" in capsys.readouterr().out


def test_a_deployment_is_known_by_the_digest_of_its_release(world: Path, capsys: Capture) -> None:
    machine = {"slot": "a", "generation": {"release": hashlib.sha256(builds.RELEASE).hexdigest()}}
    status = {"deployment": "x", "target": {"serving": "a", "machines": [machine]}}
    (world / "status.json").write_text(json.dumps(status))
    assert audit("--running status.json --json") == 0
    assert document(capsys)["running"]["affected"] is False


def test_what_runs_and_was_not_audited_refuses(world: Path, capsys: Capture) -> None:
    (world / "health.json").write_text(json.dumps({"buildId": "ab" * 32}))
    assert audit("--running health.json --json") == 5
    found = document(capsys)
    assert (found["running"]["matches"], found["running"]["affected"]) == (False, None)
    audit("--running health.json")
    out = capsys.readouterr().out
    assert "what runs is not what was audited, but build abababababab: audit the release that it is of" in out
    assert "what runs by health.json was not audited" in out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("audit dist", 2, "one of the arguments --tracker --fetch is required"),
        ("audit dist --fetch --tracker clean.json", 2, "not allowed with"),
        ("audit dist --tracker clean.json --out kept.json", 2, "there is no --fetch"),
        ("audit dist --fetch --fetched-at 2026-01-01T00:00:00Z", 2, "is about --tracker"),
        ("audit dist --tracker clean.json --at yesterday", 2, "--at: not a time"),
        ("audit dist --tracker clean.json --html dist", 2, "is a directory"),
        ("audit dist --tracker clean.json --html no/page.html", 2, "there is no folder"),
        ("audit . --tracker clean.json", 2, "holds no SHA256SUMS"),
        ("audit dist --tracker absent.json", 2, "cannot be read"),
        ("audit dist --tracker policy.toml", 3, "security tracker: not JSON"),
        ("audit dist --tracker clean.json --policy clean.json", 3, "audit policy clean.json: not TOML"),
        ("audit dist --tracker clean.json --running policy.toml", 3, "what runs policy.toml: not JSON"),
        ("audit dist --tracker clean.json --rebuilders clean.json", 3, "rebuilders' list: is not a list"),
    ],
)
def test_what_cannot_work_is_said(world: Path, capsys: Capture, words: str, code: int, said: str) -> None:
    assert main(shlex.split(words)) == code
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("name", ["launch.json", "lock.json", "files.json", "source.tar", "release.json"])
def test_a_file_that_was_changed_is_not_believed(world: Path, capsys: Capture, name: str) -> None:
    path = world / "dist" / name
    path.write_bytes(path.read_bytes() + b" ")
    assert audit("") == 4
    assert f"{name} does not have the digest in SHA256SUMS" in capsys.readouterr().err


def test_a_build_that_lacks_a_file_is_not_judged(world: Path, capsys: Capture) -> None:
    builds.lay(world / "dist", changes={"files.json": None})
    (world / "dist/files.json").unlink(missing_ok=True)
    assert audit("") == 4
    assert "files.json is not in SHA256SUMS" in capsys.readouterr().err


@pytest.mark.parametrize("recipe", ["x = [", 'name = "small"\n', builds.RECIPE.replace('name = "small"', "name = 1")])
def test_a_recipe_that_says_too_little_is_malformed(world: Path, recipe: str) -> None:
    builds.lay(world / "dist", recipe=recipe)
    assert audit("") == 3


def test_words_of_others_reach_no_terminal_as_they_are(world: Path, capsys: Capture) -> None:
    issue = builds.fixed("1:2") | {"description": "\x1b[2Jaccepted\r\n\u202e"}
    (world / "odd.json").write_bytes(builds.tracker({"tool": {"CVE-2026-0001": issue}}))
    assert audit("", "odd.json") == 5
    out = capsys.readouterr().out
    assert not set("\x1b\r\u202e") & set(out)
