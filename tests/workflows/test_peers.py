"""The workflows read by other people's programs: actionlint, zizmor and GitHub's command line."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from interop import peers
from workflows import fake_gh, model

pytestmark = pytest.mark.interop


def need(name: str) -> None:
    try:
        peers.need(name)
    except peers.AbsentError as error:
        pytest.skip(f"no peer: {error}")


def actionlint(folder: Path) -> subprocess.CompletedProcess[str]:
    need("go-actionlint")
    files = sorted((folder / "workflows").glob("*.yml"))
    words = [str(peers.BUILD / "bin/actionlint"), "-no-color", "-shellcheck=", "-pyflakes=", *map(str, files)]
    return subprocess.run(words, capture_output=True, text=True, timeout=peers.TIMEOUT, check=False)


def zizmor(folder: Path) -> subprocess.CompletedProcess[str]:
    need("zizmor")
    program = str(peers.BUILD / "zizmor/bin/zizmor")
    words = [program, "--offline", "--no-progress", "--color=never", "--persona=pedantic", str(folder)]
    return subprocess.run(words, capture_output=True, text=True, timeout=peers.TIMEOUT, check=False)


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A copy that a test may spoil. In a repository, since actionlint looks for one."""
    (tmp_path / ".git").mkdir()
    return Path(shutil.copytree(model.FOLDER, tmp_path / ".github"))


def spoil(folder: Path, name: str, old: str, new: str) -> None:
    path = folder / "workflows" / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_actionlint_finds_nothing() -> None:
    done = actionlint(model.FOLDER)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("needs: [which, rebuild]", "needs: [which, rebuilt]", "rebuilt"),
        ("steps.which.outputs.tag", "steps.what.outputs.tag", "what"),
        ("runs-on: ubuntu-24.04", "runs-on: ubuntu-24.4", "ubuntu-24.4"),
    ],
)
def test_actionlint_would_find_a_mistake(old: str, new: str, found: str, broken: Path) -> None:
    spoil(broken, "verify-release.yml", old, new)
    done = actionlint(broken)
    assert done.returncode == 1
    assert found in done.stdout


def test_zizmor_finds_nothing() -> None:
    done = zizmor(model.FOLDER)
    assert done.returncode == 0, done.stdout
    assert "No findings to report" in done.stdout


@pytest.mark.parametrize(
    ("name", "old", "new", "audit"),
    [
        ("check.yml", "  pull_request:", "  pull_request_target:", "dangerous-triggers"),
        ("check.yml", "checkout@de0fac2e4500dabe0009e67214ff5f5447ce83dd", "checkout@v6", "unpinned-uses"),
        ("release.yml", '"origin/$BRANCH"', '"origin/${{ github.event.repository.default_branch }}"', "template-inj"),
        ("update-lock.yml", "permissions: {}", "permissions: write-all", "excessive-permissions"),
    ],
)  # fmt: skip
def test_zizmor_would_find_a_weakness(name: str, old: str, new: str, audit: str, broken: Path) -> None:
    spoil(broken, name, old, new)
    done = zizmor(broken)
    assert done.returncode != 0
    assert audit in done.stdout


def test_github_s_command_line_knows_every_option_that_we_use() -> None:
    program = shutil.which("gh")
    if program is None:
        pytest.skip("no peer: gh, GitHub's command line, is absent")
    for command, options in fake_gh.OPTIONS.items():
        if command == "attestation verify":
            continue  # since gh 2.49; distributions have older ones
        words = [program, *command.split(), "--help"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=peers.TIMEOUT, check=True)
        known = set(re.findall(r"--[a-z-]+", done.stdout))
        assert options <= known, command


def test_the_stand_in_takes_every_command_that_we_use() -> None:
    used = set()
    for step in model.every_step():
        if re.match(r"(! )?gh ", step.run):
            words = shlex.split(step.run.removeprefix("! "))[1:]
            command = " ".join(words[:2])
            assert {word for word in words if word.startswith("--")} <= fake_gh.OPTIONS[command], step.place
            used.add(command)
    assert used == set(fake_gh.OPTIONS)
