"""The life of a project, played once for all tests: locked, checked, released, verified, updated."""

from __future__ import annotations

import json
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pluto_image import cli
from simulators import audited_builds
from workflows.project import REPOSITORY, Project, project
from workflows.runner import Done, Event, Runner

MAIN, TAG = "refs/heads/main", "refs/tags/v1"
TRUST = """
version = 2
k = 1
maxConfirmationAge = "any"
[[organisations]]
name = "us"
identities = []
keys = ['''
{key}''']
"""
# What the tracker says: it knows the release, and later a flaw in what the release has.
KNOWN = {"systemd-boot-efi": {"CVE-2026-0001": audited_builds.fixed("0")}}
FLAW = {"init": {"CVE-2026-0002": audited_builds.fixed("257.2")}}


@dataclass
class Story:
    """`jobs`: what became of each run's jobs, by what happened in the story; `body`: the pull request's text then."""

    project: Project
    runner: Runner
    jobs: dict[str, dict[str, Done]] = field(default_factory=dict)
    body: dict[str, str] = field(default_factory=dict)

    def play(self, title: str, workflow: str, event: Event, **only: list[str]) -> dict[str, Done]:
        self.runner.only = only
        self.jobs[title] = self.runner.run(workflow, event)
        self.body[title] = next((str(request["body"]) for request in self.runner.hub["pulls"]), "")
        return self.jobs[title]


@pytest.fixture(scope="session")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """A locked and committed project whose releases a key of ours signs; nothing ran yet."""
    folder = tmp_path_factory.mktemp("workflows")
    key, rebuilder = folder / "key.pem", folder / "rebuilder.pem"
    for path in (key, rebuilder):
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", path], check=True)
        path.chmod(0o600)
    public = subprocess.run(["openssl", "pkey", "-in", key, "-pubout"], capture_output=True, text=True, check=True)
    with project(folder / "project") as made:
        (made.work / ".github/trust.toml").write_text(TRUST.format(key=public.stdout))
        words = ["lock", str(made.definition), "--store", str(folder / "store"), "--mirror", made.mirror.url]
        assert cli.main(words) == 0
        made.commit("the beginning")
        (folder / "hub").mkdir()
        variables = {"DEBIAN_MIRROR": made.mirror.url, "REBUILD_REPOSITORY": REPOSITORY}
        yield Story(made, Runner(made, folder / "hub", key, rebuilder, variables=variables))


@pytest.fixture(scope="session")
def story(begun: Story, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """The whole life. Every command of every workflow that can run here ran in it."""
    weekly, main = Event("schedule", MAIN), Event("push", MAIN)
    begun.play("inputs are kept nowhere", "check.yml", main, os=[])
    begun.play("nothing new, inputs are kept", "update-lock.yml", weekly)
    begun.play("nothing new, nothing to do", "update-lock.yml", weekly)
    begun.play("a change", "check.yml", main, os=["ubuntu-24.04", "windows-2025"], python=["3.11"])
    begun.project.tag("v1")
    begun.play("a release", "release.yml", Event("push", TAG), os=["macos-15"])
    begun.play("the release again", "release.yml", Event("push", TAG), os=["macos-15"])
    begun.play("a week later", "verify-release.yml", weekly, os=["windows-2025"])
    begun.play("somebody rebuilds it", "rebuild.yml", weekly)
    with changed_archive(begun.runner.folder / "hub/assets/v1/release.tar.gz", tmp_path_factory.mktemp("changed")):
        begun.play("somebody changed it", "verify-release.yml", Event("repository_dispatch", MAIN), os=["macos-15"])
        begun.play("a changed one is rebuilt", "rebuild.yml", weekly)
    with next_release(begun):
        begun.play("the next release", "release.yml", Event("push", "refs/tags/v2"), os=["macos-15"])
    begun.project.upgrade("init", "257.2", {"postinst": b"#!/bin/sh\nexit 0\n"})
    begun.play("a newer package", "update-lock.yml", weekly)
    begun.project.upgrade("init", "257.3", {"postinst": b"#!/bin/sh\nexit 1\n"})
    begun.play("a still newer one", "update-lock.yml", weekly)
    begun.project.upgrade("ovmf", "2026.01-1")
    begun.play("one that no build takes", "update-lock.yml", weekly)
    for title, more in (("nothing is known", {}), ("a flaw is known", FLAW), ("it still is", FLAW)):
        (begun.runner.folder / "tracker.json").write_bytes(audited_builds.tracker(KNOWN | more))
        begun.play(title, "audit.yml", weekly)
    return begun


@contextmanager
def next_release(story: Story) -> Iterator[None]:
    """Inside the block, version 2 is committed and tagged; afterwards it is withdrawn, so that v1 is the latest."""
    image = story.project.definition / "image.toml"
    kept = image.read_text()
    image.write_text(kept.replace('version = "1"', 'version = "2"', 1))
    story.project.commit("version 2")
    story.project.tag("v2")
    yield
    image.write_text(kept)
    story.project.commit("withdrawn")
    state = story.runner.hub
    del state["releases"]["v2"]
    (story.runner.folder / "hub/state.json").write_text(json.dumps(state))


@contextmanager
def changed_archive(path: Path, folder: Path) -> Iterator[None]:
    """Inside the block, the archive holds another SBOM than was signed."""
    kept = path.read_bytes()
    with tarfile.open(path) as archive:
        # Debian 12's Python 3.11.2 has no filters yet; the archive is this test's own.
        if hasattr(tarfile, "data_filter"):
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(folder)
    (folder / "release/sbom.spdx.json").write_bytes(b"{}")
    subprocess.run(["tar", "-cSzf", path, "-C", folder, "release"], check=True)
    try:
        yield
    finally:
        path.write_bytes(kept)
