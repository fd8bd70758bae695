"""pluto-image release: what may become a release, what it holds, and that nothing is left where it is refused."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pluto_image import source_tree
from pluto_image.artifact import Dist
from pluto_image.cli import main
from pluto_image.inputs import bundle as bundles
from pluto_image.inputs.store import Store
from pluto_image.lock.lockfile import Lock
from pluto_measure.publish.provenance import Provenance
from pluto_measure.publish.release import Release
from pluto_measure.publish.statement import Statement
from simulators import tiny_definition

# No configuration of the machine's own: a commit needs a name, and hooks are nobody's.
GIT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    **{f"GIT_{who}_{what}": "a@example" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
}


def git(folder: Path, *words: str) -> str:
    argv = ["git", "-C", str(folder), *words]
    return subprocess.run(argv, check=True, capture_output=True, text=True, env={**os.environ, **GIT}).stdout.strip()


class Project:
    """A committed tiny project at tag v1, its DIST, and calls of the command."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root, self.capsys = root / "project", capsys
        self.store = Store(root / "store")
        self.root.mkdir()
        self.definition = tiny_definition.make(self.root, self.store)
        git(self.root, "init", "-q")
        git(self.root, "add", ".")
        git(self.root, "commit", "-qm", "first")
        git(self.root, "tag", "v1")
        self.dist, self.out = root / "dist", root / "release"
        self.build()

    def build(self, *more: str) -> None:
        words = ["build", str(self.definition), "--out", str(self.dist), "--store", str(self.store.root), "--offline"]
        assert main([*words, *more]) == 0
        self.capsys.readouterr()

    def release(self, *more: str, tag: str = "v1") -> tuple[int, Any, str]:
        words = ["release", str(self.definition), "--dist", str(self.dist), "--tag", tag, "--out", str(self.out)]
        code = main([*words, *more, "--json"])
        out, err = self.capsys.readouterr()
        return code, json.loads(out), err

    def refused(self, problem: str, code: int, *more: str, tag: str = "v1") -> None:
        found, _, err = self.release(*more, tag=tag)
        assert (found, problem in err) == (code, True), err
        assert sorted(path.name for path in self.out.parent.iterdir() if path.name.startswith((".", "rel"))) == [
            ".dist.receipt.json"
        ]


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str], small_disks: None) -> Project:
    return Project(tmp_path, capsys)


def test_a_release_is_the_dist_its_inputs_and_its_provenance(project: Project, tmp_path: Path) -> None:
    bundle = tmp_path / "inputs.tar"
    bundles.write(bundle, Lock.parse((project.dist / "lock.json").read_bytes()), {}, [], project.store)
    more = ("--bundle", str(bundle), "--builder", "https://ci.example/build", "--invocation", "https://ci.example/7")
    code, document, _ = project.release(*more, "--started", "2026-11-20T12:00:00Z")
    assert code == 0
    dist = Dist.open(project.dist)
    names = {*dist.sums, "SHA256SUMS", "inputs.tar", "provenance.json"}
    assert set(document["files"]) == names
    for name in names - {"inputs.tar", "provenance.json"}:
        assert (project.out / name).read_bytes() == (project.dist / name).read_bytes()
    assert (project.out / "inputs.tar").read_bytes() == bundle.read_bytes()
    assert (project.out / "disk.raw").stat().st_blocks * 512 < 8 << 20, "the copy is sparse, too"
    told = Statement.parse((project.out / "provenance.json").read_bytes())
    statement = Statement.parse((project.out / "release.json").read_bytes())
    provenance = Provenance.parse(told)
    assert told.subjects == statement.subjects
    assert provenance.commit == git(project.root, "rev-parse", "HEAD") == document["commit"]
    assert (provenance.ref, provenance.builder) == ("refs/tags/v1", "https://ci.example/build")
    assert provenance.invocation == "https://ci.example/7"
    Dist.open(project.out).check()


def test_a_bundle_of_another_lock_or_none_at_all_is_refused(project: Project, tmp_path: Path) -> None:
    other = Lock.parse((project.dist / "lock.json").read_bytes())
    bundles.write(tmp_path / "other.tar", replace(other, definition_digest="0" * 64), {}, [], project.store)
    project.refused("is of another lock", 5, "--bundle", str(tmp_path / "other.tar"))
    project.refused("is not a file of 'pluto-image bundle'", 3, "--bundle", str(project.dist / "disk.raw"))


def test_a_builder_that_is_no_uri_and_a_start_after_the_end_are_mistakes(project: Project) -> None:
    project.refused("is no URI", 2, "--builder", "me")
    project.refused("--started is after now", 2, "--started", "2999-01-01T00:00:00Z")


def test_the_statement_is_about_every_file_and_says_where_it_comes_from(project: Project) -> None:
    statement = Statement.parse((project.dist / "release.json").read_bytes())
    release = Release.parse(statement)
    dist = Dist.open(project.dist)
    assert {one.name: one.digests.sha256.hex() for one in statement.subjects} == {
        name: digest for name, digest in dist.sums.items() if name != "release.json"
    }
    source = source_tree.read(project.definition)
    assert release.source.tree_digest.hex() == source_tree.digest(source.files)
    assert (release.name, release.version, release.flavour) == ("tiny", "1", "release")
    assert release.facts.place.sequence == 2
    assert [one.name for one in release.components][:3] == ["firmware", "partition table", "pluto.efi"]


def test_a_tag_may_name_the_place_in_the_channel_as_well(project: Project) -> None:
    git(project.root, "tag", "v1-test.2")
    assert project.release(tag="v1-test.2")[0] == 0


@pytest.mark.parametrize("tag", ["v2", "1", "v1-test.3", "v1-stable.2", "release"])
def test_a_tag_of_another_name_is_refused(project: Project, tag: str) -> None:
    git(project.root, "tag", tag)
    project.refused("is not that of this release, which is v1 or v1-test.2", 5, tag=tag)


def test_a_tag_that_is_not_here_or_not_on_this_commit_is_refused(project: Project) -> None:
    project.refused("is not on the commit", 5, tag="v9")
    git(project.root, "commit", "-q", "--allow-empty", "-m", "second")
    project.refused("is not on the commit", 5)


@pytest.mark.parametrize("tag", ["--help", "a b", "../v1", "v1^{commit}", ""])
def test_what_cannot_be_a_tag_never_reaches_git(project: Project, tag: str) -> None:
    code, _, err = project.release(f"--tag={tag}")
    assert code == 2
    assert "cannot be the tag of a release" in err


def test_an_uncommitted_file_is_refused(project: Project) -> None:
    (project.root / "pyproject.toml").write_text("# changed\n")
    project.refused("pyproject.toml is not committed", 5)


def test_a_dist_of_other_sources_is_refused(project: Project) -> None:
    (project.root / "pyproject.toml").write_text("# changed\n")
    git(project.root, "commit", "-qam", "second")
    git(project.root, "tag", "-f", "v1")
    project.refused("was built from other sources", 5)


def test_a_debug_build_is_never_released(project: Project) -> None:
    project.build("--flavour", "debug")
    project.refused("is a debug build, which is never released", 5)


def test_a_damaged_dist_is_refused(project: Project) -> None:
    path = project.dist / "sbom.spdx.json"
    path.write_bytes(path.read_bytes().replace(b"SPDX-2.3", b"SPDX-2.4"))
    project.refused("sbom.spdx.json does not have the digest", 4)


def test_a_release_is_never_made_twice(project: Project) -> None:
    assert project.release()[0] == 0
    before = sorted(path.stat().st_mtime_ns for path in project.out.rglob("*"))
    code, _, err = project.release()
    assert (code, "never made twice" in err) == (2, True)
    assert sorted(path.stat().st_mtime_ns for path in project.out.rglob("*")) == before


def test_a_bundle_that_is_not_there_and_a_time_that_is_none_are_mistakes(project: Project, tmp_path: Path) -> None:
    project.refused("does not exist", 2, "--bundle", str(tmp_path / "no"))
    project.refused("not a time", 2, "--started", "yesterday")


def test_a_build_does_not_replace_a_release(project: Project) -> None:
    assert project.release()[0] == 0
    words = ["build", str(project.definition), "--out", str(project.out), "--store", str(project.store.root)]
    assert main([*words, "--offline", "--flavour", "debug"]) == 2
    assert "is a release, which would be lost" in project.capsys.readouterr().err
