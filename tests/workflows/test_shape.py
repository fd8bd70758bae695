"""What every workflow keeps to: one command a step, pinned actions, small permissions, nobody's text in a command."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from pluto_measure.publish.trust import Trust
from workflows import model
from workflows.model import Job, Step

WORKFLOWS = model.workflows()
STEPS = list(model.every_step())
JOBS = [(found, job) for found in WORKFLOWS.values() for job in found.jobs.values()]
COMMANDS = [step for step in STEPS if step.run]
PINNED = re.compile(r"uses: (actions/[a-z-]+@[0-9a-f]{40}) # (v\d+\.\d+\.\d+)")


def place(item: object) -> str:
    return item.place if isinstance(item, Step) else item.id if isinstance(item, Job) else str(item)


def test_the_workflows_are_the_ones_that_are_documented() -> None:
    page = (model.ROOT / "docs/ci.md").read_text()
    named = set(re.findall(r"^\| `([\w-]+\.yml)` \|", page, re.MULTILINE))
    assert named == set(WORKFLOWS)


@pytest.mark.parametrize("step", COMMANDS, ids=place)
def test_a_step_is_one_command(step: Step) -> None:
    assert "\n" not in step.run.strip()
    lexer = shlex.shlex(step.run, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    operators = {word for word in lexer if word and set(word) <= set("();<>|&")}
    assert operators <= {">>"}, "a pipe or a list would hide a failure"
    assert not re.search(r"`|\$\(|<\(", step.run), "so would a command in a command"


@pytest.mark.parametrize("step", COMMANDS, ids=place)
def test_no_expression_is_pasted_into_a_command(step: Step) -> None:
    assert "${{" not in step.run
    assert step.shell == "bash"


@pytest.mark.parametrize("step", COMMANDS, ids=place)
def test_a_token_is_only_there_for_the_command_that_needs_it(step: Step) -> None:
    speaks = re.match(r"(! )?gh |git push ", step.run) is not None
    assert ("GH_TOKEN" in step.env) is speaks
    assert not any("secrets." in value for value in step.env.values())


def test_every_variable_of_a_command_is_set_or_github_s_own() -> None:
    own = {"GITHUB_REPOSITORY", "GITHUB_OUTPUT", "GITHUB_SHA", "GITHUB_ACTION_PATH", "RUNNER_TEMP"}
    for step in COMMANDS:
        used = set(re.findall(r"\$\{?([A-Z_]+)", step.run))
        assert used <= {*step.env, *own}, step.place
        assert set(step.env) - {"GH_TOKEN"} <= used, step.place


def test_actions_of_others_are_pinned_to_one_commit_each_with_its_version() -> None:
    found: dict[str, set[tuple[str, ...]]] = {}
    files = [*(model.FOLDER / "workflows").glob("*.yml"), *(model.FOLDER / "actions").glob("*/action.yml")]
    for path in files:
        for line in path.read_text().splitlines():
            if "uses:" in line and "uses: ./" not in line:
                match = PINNED.search(line)
                assert match is not None, f"{path.name}: {line.strip()}"
                found.setdefault(match[1].partition("@")[0], set()).add(match.groups())
    assert all(len(pins) == 1 for pins in found.values())
    assert set(found) == {f"actions/{name}" for name in ("checkout", "setup-python", "upload-artifact",
                                                         "download-artifact", "attest")}  # fmt: skip


@pytest.mark.parametrize("name", WORKFLOWS)
def test_nothing_is_permitted_but_by_job(name: str) -> None:
    assert WORKFLOWS[name].raw["permissions"] == {}
    assert "concurrency" in WORKFLOWS[name].raw or set(WORKFLOWS[name].on) == {"workflow_call"}
    assert "pull_request_target" not in WORKFLOWS[name].on
    assert "workflow_run" not in WORKFLOWS[name].on


@pytest.mark.parametrize(("found", "job"), JOBS, ids=place)
def test_a_job_says_what_it_may_and_how_long(found: model.Workflow, job: Job) -> None:
    assert job.permissions is not None
    if not job.uses:
        assert 0 < job.raw["timeout-minutes"] <= 60
        system = str(job.raw["runs-on"])
        assert "latest" not in system
        assert "self-hosted" not in system


def test_who_may_write_what() -> None:
    writers = {
        f"{found.name}: {job.id}": {kind for kind, level in (job.permissions or {}).items() if level == "write"}
        for found, job in JOBS
    }
    assert {name: kinds for name, kinds in writers.items() if kinds} == {
        "build-release.yml: sign": {"id-token", "attestations"},
        "release.yml: build": {"id-token", "attestations"},
        "release.yml: publish": {"contents"},
        "release.yml: verify": {"issues"},
        "verify-release.yml: report": {"issues"},
        "audit.yml: report": {"issues"},
        "rebuild.yml: rebuild": {"id-token"},
        "rebuild.yml: publish": {"contents"},
        "rebuild.yml: report": {"issues"},
        "update-lock.yml: keep": {"contents"},
        "update-lock.yml: propose": {"contents", "pull-requests", "actions"},
    }


def test_pull_requests_start_nothing_that_may_write() -> None:
    started = [found for found in WORKFLOWS.values() if "pull_request" in found.on]
    assert [found.name for found in started] == ["check.yml"]
    assert all(level == "read" for job in started[0].jobs.values() for level in (job.permissions or {}).values())


def test_a_checkout_leaves_no_credentials_behind() -> None:
    checkouts = [step for step in STEPS if step.uses.startswith("actions/checkout@")]
    assert checkouts
    assert all(step.given.get("persist-credentials") is False for step in checkouts)


def test_every_family_of_systems_builds_under_every_python() -> None:
    matrix = WORKFLOWS["check.yml"].jobs["build"].matrix
    assert [name.split("-")[0] for name in matrix["os"]] == ["ubuntu", "macos", "windows"]
    assert matrix["python"] == ["3.11", "3.12", "3.13", "3.14"]


def test_a_release_is_verified_by_other_families_than_built_it() -> None:
    verifying = {name.split("-")[0] for name in WORKFLOWS["verify-release.yml"].jobs["rebuild"].matrix["os"]}
    building = {job.raw["runs-on"].split("-")[0] for job in WORKFLOWS["build-release.yml"].jobs.values()}
    assert verifying.isdisjoint(building)


def test_releases_come_from_tags_alone_and_verifying_has_more_than_one_clock() -> None:
    assert dict(WORKFLOWS["release.yml"].on) == {"push": {"tags": ["v*"]}}
    assert set(WORKFLOWS["build-release.yml"].on) == {"workflow_call"}
    clocks = {"schedule", "workflow_dispatch", "repository_dispatch", "workflow_call", "release"}
    assert set(WORKFLOWS["verify-release.yml"].on) == clocks


def test_what_signs_and_what_checks_has_the_library_of_sigstore_and_the_builder_s_own_pins() -> None:
    signing, checking = WORKFLOWS["build-release.yml"].jobs["sign"], model.actions()["check-release"]
    for steps in (signing.steps, checking.steps):
        (command,) = [step.run for step in steps if "--requirement" in step.run]
        assert command.strip('"').endswith("requirements/publish.txt")
    pins = {name: pins_of(model.ROOT / f"requirements/{name}.txt") for name in ("run", "publish", "dev")}
    assert "sigstore" in pins["publish"]
    assert pins["run"].items() <= pins["publish"].items() <= pins["dev"].items(), "run 'make requirements'"


def pins_of(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==([^ ;\\]+)", path.read_text(), re.MULTILINE))


def test_the_trust_file_is_one_and_trusts_nobody_before_it_is_filled_in() -> None:
    trust = Trust.parse((model.FOLDER / "trust.toml").read_bytes())
    (organisation,) = trust.organisations
    assert organisation.keys == ()
    assert [one.repository_id for one in organisation.identities] == ["0"]
    assert [one.san.rpartition("/")[2] for one in organisation.identities] == ["build-release.yml"]
    assert [one.ref for one in organisation.identities] == ["any-tag"]


def test_the_documented_use_of_the_action_is_right() -> None:
    page = (model.ROOT / "docs/ci.md").read_text()
    (block,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (step,) = [step for step in yaml.safe_load(block) if "check-release" in step.get("uses", "")]
    action = model.actions()["check-release"]
    required = {name for name, one in action.inputs.items() if one["required"]}
    given: dict[str, Any] = step["with"]
    assert required <= set(given) <= set(action.inputs)
    assert step["uses"].startswith("OWNER/REPOSITORY/.github/actions/check-release@")
