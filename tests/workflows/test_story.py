"""What the workflows do in the life of a project: every command of theirs, run, with its effect."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from workflows import model
from workflows.conftest import MAIN, Story
from workflows.runner import ELSEWHERE, Done, Event

pytestmark = pytest.mark.slow


def results(jobs: dict[str, Done]) -> dict[str, str]:
    return {name: one.result for name, one in jobs.items()}


def said(jobs: dict[str, Done]) -> str:
    """All that was printed, for the reader of a failure."""
    return "\n".join(text for one in jobs.values() for text in one.said.values())


def succeeded(jobs: dict[str, Done], *, but: tuple[str, ...] = ()) -> None:
    wrong = {name: one for name, one in results(jobs).items() if one != ("skipped" if name in but else "success")}
    assert wrong == {}, said(jobs)


def test_every_command_was_run_or_says_why_not(story: Story) -> None:
    steps = {step.place: step.run for step in model.every_step() if step.run}
    left = {place: run for place, run in steps.items() if place not in story.runner.executed and run not in ELSEWHERE}
    assert left == {}
    assert ELSEWHERE.keys() - set(steps.values()) == set(), "a command that no workflow has any more"
    assert all(len(reason) > 10 for _, reason in ELSEWHERE.values())


class TestCheck:
    def test_inputs_that_nobody_kept_come_from_a_mirror(self, story: Story) -> None:
        job = story.jobs["inputs are kept nowhere"]["inputs"]
        assert job.result == "success", job.said
        assert "fetched" in job.said["check.yml: inputs: 5"]

    def test_kept_inputs_are_used_without_a_network(self, story: Story) -> None:
        jobs = story.jobs["a change"]
        succeeded(jobs)
        assert "fetched" not in jobs["inputs"].said["check.yml: inputs: 5"]

    def test_each_machine_builds_the_same_and_one_job_compares_them_all(self, story: Story) -> None:
        jobs = story.jobs["a change"]
        assert {"build ubuntu-24.04 3.11", "build windows-2025 3.11", "compare"} <= jobs.keys()
        assert "nothing changed" in jobs["build windows-2025 3.11"].said["check.yml: build: 6"]

    def test_one_other_digest_fails_the_comparison(self, story: Story, tmp_path: Path) -> None:
        command = model.workflows()["check.yml"].jobs["compare"].steps[-1].run
        for name, text in {"ubuntu-24.04-3.11": "a\n", "macos-15-3.12": "a\n", "windows-2025-3.14": "b\n"}.items():
            (tmp_path / f"sums/sums-{name}").mkdir(parents=True)
            (tmp_path / f"sums/sums-{name}/SHA256SUMS").write_text(text)
        done = subprocess.run(["bash", "-ec", command], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "windows-2025-3.14" not in done.stderr
        assert "> b" in done.stdout


class TestRelease:
    def test_a_tag_becomes_a_release_that_another_machine_confirms(self, story: Story) -> None:
        jobs = story.jobs["a release"]
        succeeded(jobs, but=("verify/report",))
        assert "accepted: tiny 1 (release)" in said(jobs)
        assert story.runner.hub["releases"]["v1"] == {"title": "v1", "prerelease": False}

    def test_the_assets_are_the_archive_and_what_people_read_first(self, story: Story) -> None:
        folder = story.runner.folder / "hub/assets/v1"
        names = {path.name for path in folder.iterdir()}
        signature = {name for name in names if name.endswith(".dsse.json")}
        assert len(signature) == 1
        documents = {"release.json", "measurements.json", "sbom.spdx.json", "SHA256SUMS", "attestation.json"}
        assert names - signature == {"release.tar.gz", *documents}
        with tarfile.open(folder / "release.tar.gz") as archive:
            members = {member.name: member for member in archive if member.isfile()}
        for name in ("pluto.efi", "disk.raw", "disk.vhd", "inputs.tar", "provenance.json", "oci/index.json"):
            assert f"release/{name}" in members
        assert {f"release/signatures/{next(iter(signature))}", "release/release.json"} <= members.keys()
        assert (folder / "release.tar.gz").stat().st_size < 16 << 20, "two disks of a GiB, nearly all zeros"

    def test_what_builds_cannot_sign_and_what_signs_builds_nothing(self, story: Story) -> None:
        jobs = model.workflows()["build-release.yml"].jobs
        assert jobs["build"].permissions == {"contents": "read"}
        assert not [step.run for step in jobs["sign"].steps if "pluto-image" in step.run]

    def test_the_provenance_names_builder_and_run(self, story: Story) -> None:
        with tarfile.open(story.runner.folder / "hub/assets/v1/release.tar.gz") as archive:
            file = archive.extractfile("release/provenance.json")
            assert file is not None
            details = json.load(file)["predicate"]["runDetails"]
        place = "https://github.com/example/pluto"
        assert details["builder"]["id"] == f"{place}/.github/workflows/build-release.yml@refs/tags/v1"
        assert details["metadata"]["invocationId"].startswith(f"{place}/actions/runs/")

    def test_the_next_one_says_what_it_changes(self, story: Story) -> None:
        succeeded(story.jobs["the next release"], but=("verify/report",))
        folder = story.runner.folder / "hub/assets/v2"
        text = (folder / "difference.md").read_text()
        assert text.startswith("# Release\n\nDifferent: ")
        assert "| release | `tiny 1` | `tiny 2` |" in text
        assert (folder / "difference.html").read_text().startswith("<!DOCTYPE html>")
        assert not (story.runner.folder / "hub/assets/v1/difference.md").exists(), "nothing was before the first one"

    def test_it_is_not_published_again(self, story: Story) -> None:
        found = results(story.jobs["the release again"])
        assert found == {"admit": "failure", "build": "skipped", "publish": "skipped", "verify": "skipped"}

    def test_publishing_itself_refuses_a_release_that_is_there(self, story: Story, tmp_path: Path) -> None:
        """The early look may race with another run; the command that publishes does not."""
        step = model.workflows()["release.yml"].jobs["publish"].steps[-1]
        (tmp_path / "build/assets").mkdir(parents=True)
        (tmp_path / "build/assets/x").write_text("x")
        shutil.copytree(model.FOLDER, tmp_path / ".github")
        env = {
            "PATH": f"{story.runner.folder / 'bin'}:/usr/bin:/bin", "TAG": "v1", "GITHUB_REPOSITORY": "example/pluto",
            "FAKE_GITHUB": str(story.runner.folder / "hub"), "GH_TOKEN": 'token:{"contents": "write"}',
        }  # fmt: skip
        words = ["bash", "-ec", step.run]
        done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "already exists: v1" in done.stderr

    def test_a_commit_that_is_on_no_branch_is_not_released(self, story: Story) -> None:
        project = story.project
        project.git("switch", "--quiet", "--detach", "main")
        project.git("commit", "--quiet", "--allow-empty", "--message", "nobody reviewed this")
        project.tag("v1-dev.1")
        project.git("switch", "--quiet", "main")
        jobs = story.play("a stray tag", "release.yml", Event("push", "refs/tags/v1-dev.1"))
        assert results(jobs) == {"admit": "failure", "build": "skipped", "publish": "skipped", "verify": "skipped"}

    def test_a_tag_that_is_not_the_version_is_not_released(self, story: Story) -> None:
        story.project.tag("v7")
        jobs = story.play("a wrong tag", "release.yml", Event("push", "refs/tags/v7"))
        assert (jobs["build/build"].result, jobs["build/sign"].result) == ("failure", "skipped")
        assert "tag v7 is not that of this release" in said(jobs)
        assert jobs["publish"].result == "skipped"
        assert "v7" not in story.runner.hub["releases"]


class TestVerify:
    def test_the_latest_release_is_found_and_rebuilt_every_week(self, story: Story) -> None:
        """On a machine that is like Windows in what Python lacks there."""
        jobs = story.jobs["a week later"]
        succeeded(jobs, but=("report",))
        assert jobs["which"].outputs == {"tag": "v1"}  # not the pre-releases that keep inputs

    def test_a_changed_archive_is_refused_and_reported(self, story: Story) -> None:
        jobs = story.jobs["somebody changed it"]
        assert (jobs["rebuild"].result, jobs["report"].result) == ("failure", "success")
        assert "sbom.spdx.json" in jobs["rebuild macos-15"].said["check-release: 5"]
        assert "check-release: 6" not in jobs["rebuild macos-15"].said, "what is not authentic is not rebuilt"
        issue = story.runner.hub["issues"][0]
        assert issue["title"] == "Release v1 was not confirmed on another machine"
        assert "https://github.com/example/pluto/actions/runs/" in issue["body"]

    def test_one_that_is_signed_but_rebuilds_otherwise_is_reported(self, story: Story) -> None:
        """The tool of today makes another SBOM than the release's did."""
        before = len(story.runner.hub["issues"])
        module = story.project.work / "image/pluto_image/outputs/sbom.py"
        text = module.read_text()
        assert text.count("SPDXRef-DOCUMENT") >= 1
        module.write_text(text.replace("SPDXRef-DOCUMENT", "SPDXRef-Document"))
        story.project.commit("another builder")
        try:
            jobs = story.play("rebuilt otherwise", "verify-release.yml", Event("schedule", MAIN), os=["macos-15"])
        finally:
            module.write_text(text)
            story.project.commit("as before")
        assert "accepted: tiny 1" in jobs["rebuild macos-15"].said["check-release: 5"]
        assert "sbom.spdx.json" in jobs["rebuild macos-15"].said["check-release: 6"]
        assert len(story.runner.hub["issues"]) == before + 1

    def test_an_archive_that_no_workflow_attested_is_reported(self, story: Story) -> None:
        """Signed and equal, but GitHub knows nothing of it: somebody else's upload."""
        path = story.runner.folder / "hub/state.json"
        kept = path.read_text()
        path.write_text(json.dumps({**json.loads(kept), "attestations": []}))
        try:
            jobs = story.play("not attested", "verify-release.yml", Event("schedule", MAIN), os=["macos-15"])
        finally:
            path.write_text(kept)
        assert jobs["rebuild"].result == "failure"
        assert "no attestation of this file" in said(jobs)


class TestRebuild:
    def words(self, story: Story) -> list[Path]:
        """The files that rebuilders published, in order."""
        tags = [tag for tag in story.runner.hub["releases"] if tag.startswith("rebuild-v1-")]
        return [path for tag in tags for path in (story.runner.folder / "hub/assets" / tag).iterdir()]

    def judged(self, story: Story, word: Path, folder: Path, k: int) -> tuple[int, dict[str, Any], str]:
        """The release with this word beside it, for somebody who trusts both."""
        with tarfile.open(story.runner.folder / "hub/assets/v1/release.tar.gz") as archive:
            files = [one for one in archive if not one.name.startswith("release/disk.")]  # a GiB of zeros each
            if hasattr(tarfile, "data_filter"):
                archive.extraction_filter = tarfile.data_filter
            archive.extractall(folder, members=files)
        shutil.copy(word, folder / "release/signatures")
        words = [sys.executable, "-m", "pluto_measure.cli", "trust", "-k", str(k)]
        for name, key in {"us": story.runner.key, "them": story.runner.rebuilder}.items():
            public = ["openssl", "pkey", "-in", str(key), "-pubout", "-out", str(folder / name)]
            subprocess.run(public, check=True)
            words += ["--key", f"{name}={folder / name}"]
        trust = subprocess.run(words, capture_output=True, check=True).stdout
        (folder / "trust.toml").write_bytes(trust)
        words = [sys.executable, "-m", "pluto_measure.cli", "release", str(folder / "release"), "--json"]
        words += ["--trust", str(folder / "trust.toml")]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        return done.returncode, json.loads(done.stdout), done.stderr

    def test_a_rebuilder_publishes_a_signature_that_makes_two_of_two(self, story: Story, tmp_path: Path) -> None:
        jobs = story.jobs["somebody rebuilds it"]
        succeeded(jobs, but=("report",))
        assert jobs["rebuild"].outputs == {"tag": "v1", "attested": "success"}
        word = self.words(story)[0]
        assert word.name.startswith("rebuild-")
        code, verdict, err = self.judged(story, word, tmp_path, 2)
        assert (code, verdict["signers"]["organisations"], err) == (0, ["them", "us"], "")
        assert story.runner.hub["releases"][word.parent.name]["prerelease"], "so that it is nobody's latest release"

    def test_one_who_gets_other_bytes_publishes_that_and_opens_an_issue(self, story: Story, tmp_path: Path) -> None:
        """The tool of today makes another SBOM than the release's did."""
        before = len(story.runner.hub["issues"])
        module = story.project.work / "image/pluto_image/outputs/sbom.py"
        text = module.read_text()
        module.write_text(text.replace("SPDXRef-DOCUMENT", "SPDXRef-Document"))
        story.project.commit("another builder")
        try:
            jobs = story.play("rebuilt and dissented", "rebuild.yml", Event("schedule", MAIN))
        finally:
            module.write_text(text)
            story.project.commit("as before")
        succeeded(jobs)
        assert jobs["rebuild"].outputs["attested"] == "failure"
        issue = story.runner.hub["issues"][before]
        assert issue["title"] == "Release v1 was not rebuilt as it was published"
        code, verdict, err = self.judged(story, self.words(story)[-1], tmp_path, 1)
        assert (code, "DISAGREEMENT" in err) == (0, True)
        (one,) = verdict["disagreements"]
        assert (one["organisation"], [each["what"] for each in one["artifacts"]]) == ("them", ["sbom.spdx.json"])

    def test_what_its_publisher_did_not_sign_is_not_rebuilt(self, story: Story) -> None:
        jobs = story.jobs["a changed one is rebuilt"]
        assert results(jobs) == {"rebuild": "failure", "publish": "skipped", "report": "success"}
        assert not any("pluto-image attest" in text for text in jobs["rebuild"].said.values())
        assert len({one.parent for one in self.words(story)}) == len(self.words(story)), "a file in each"

    def test_nothing_happens_where_nobody_said_whose_releases(self, story: Story) -> None:
        name = "REBUILD_REPOSITORY"
        kept = story.runner.variables.pop(name)
        try:
            jobs = story.play("not set up", "rebuild.yml", Event("schedule", MAIN))
        finally:
            story.runner.variables[name] = kept
        assert set(results(jobs).values()) == {"skipped"}


class TestUpdateLock:
    def test_inputs_of_a_lock_are_kept_once(self, story: Story) -> None:
        first, second = (story.jobs[f"nothing new, {what}"] for what in ("inputs are kept", "nothing to do"))
        assert results(first) == {"lock": "success", "keep": "success", "propose": "skipped"}
        assert results(second) == {"lock": "success", "keep": "skipped", "propose": "skipped"}

    def test_newer_packages_make_one_pull_request_that_is_brought_up_to_date(self, story: Story) -> None:
        succeeded(story.jobs["a newer package"])
        succeeded(story.jobs["a still newer one"])
        (request,) = story.runner.hub["pulls"]
        assert (request["head"], request["base"]) == ("update-lock", "main")

    def test_its_text_says_what_the_lock_moves_down_to_the_registers(self, story: Story) -> None:
        body = story.body["a still newer one"]
        assert body.startswith("# Release\n\nDifferent: 1 package, ")
        assert "| `init` | `257.1` | `257.3` |" in body
        assert "### Maintainer scripts: init postinst: added" in body
        assert "+exit 1" in body
        assert "build id, made of lock" in body

    def test_where_the_new_image_cannot_be_built_its_text_is_the_locks_own(self, story: Story) -> None:
        """The recipe takes firmware 2025 only: the checks of the branch fail, and people still read what moved."""
        succeeded(story.jobs["one that no build takes"])
        body = story.body["one that no build takes"]
        assert body.startswith("# Lock\n")
        assert "| ovmf | 2025.01-1 | 2026.01-1 |" in body
        assert "### init postinst: new" in body
        assert "+exit 1" in body

    def test_the_branch_holds_the_lock_and_its_evidence_and_is_checked(self, story: Story) -> None:
        words = ["git", "-C", str(story.project.origin), "diff", "--name-only", "main~0", "update-lock", "--", "image"]
        story.project.git("fetch", "--quiet", "origin", "update-lock")
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        assert {"image/notary/lock.json", "image/notary/evidence/main.InRelease"} <= set(done.stdout.split())
        assert story.runner.hub["dispatches"] == [["check.yml", "update-lock"]] * 3
        kept = [name for name in story.runner.hub["releases"] if name.startswith("inputs-")]
        assert len(kept) == 4


class TestAudit:
    def test_a_release_without_known_flaws_opens_no_issue(self, story: Story) -> None:
        succeeded(story.jobs["nothing is known"], but=("report",))
        assert "accepted: tiny 1 (release)" in said(story.jobs["nothing is known"])

    def test_a_flaw_that_became_known_opens_one_issue_and_no_second(self, story: Story) -> None:
        for title in ("a flaw is known", "it still is"):
            found = story.jobs[title]
            assert (found["audit"].result, found["report"].result) == ("failure", "success"), said(found)
            assert "FAIL CVE-2026-0002 high: fixed in 257.2; a newer lock fixes it" in said(found)
        opened = [one for one in story.runner.hub["issues"] if one["title"].startswith("Audit of v1")]
        assert len(opened) == 1
        assert "https://github.com/example/pluto/actions/runs/" in opened[0]["body"]

    def test_the_page_is_kept_whether_refused_or_not(self, story: Story) -> None:
        pages = sorted(story.runner.folder.glob("hub/artifacts/run*/audit/audit.html"))
        assert ["Accepted" in page.read_text().split("</title>")[0] for page in pages] == [True, False, False]
