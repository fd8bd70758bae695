"""source.tar of a build is enough to build again: docs/reproducibility.md's commands, as a test."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/reproducibility.md"
BUILD = "import sys; from pluto_image.cli import main; sys.exit(main())"

pytestmark = pytest.mark.slow


def build(definition: Path, out: Path) -> str:
    """SHA256SUMS of a debug build."""
    words = ["build", definition, "--out", out, "--flavour", "debug", "--offline", "--relock", ROOT / "build/relock"]
    done = subprocess.run([sys.executable, "-c", BUILD, *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return (out / "SHA256SUMS").read_text()


def unpack(dist: Path, folder: Path) -> Path:
    """The definition in what `source.tar` of `dist` holds, with the lock that the build used."""
    folder.mkdir()
    subprocess.run(["tar", "-xf", dist / "source.tar", "-C", folder], check=True)
    shutil.copy(dist / "lock.json", folder / "image/notary/lock.json")
    return folder / "image/notary"


def test_the_archived_sources_give_every_byte_again(tmp_path: Path) -> None:
    of_tree = build(ROOT / "image/notary", tmp_path / "dist")
    of_archive = build(unpack(tmp_path / "dist", tmp_path / "elsewhere"), tmp_path / "again")
    of_archives_archive = build(unpack(tmp_path / "again", tmp_path / "further"), tmp_path / "once more")

    assert of_archive == of_archives_archive
    changed = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True, check=False)
    if changed.returncode == 0 and not changed.stdout:  # a changed tree says so in its image, an archive cannot
        assert of_tree == of_archive


def test_the_page_shows_these_steps() -> None:
    section = PAGE.read_text().split("\n## By hand\n")[1].split("\n## ")[0]
    shown = re.findall(r"^\$ (.+)$", section, re.MULTILINE)
    assert [line.split()[0] for line in shown] == ["mkdir", "tar", "cp", "pluto-image", "cmp"]
