"""The workflows and actions of .github as values: what the tests read, and what `runner` executes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDER: Final = ROOT / ".github"


@dataclass(frozen=True, slots=True)
class Step:
    """One step. Either `uses` or `run` is a text; `given` are the inputs of an action ("with")."""

    place: str  # such as "check.yml: compare: 2"
    id: str
    uses: str
    run: str
    condition: str
    env: Mapping[str, str]
    given: Mapping[str, Any]
    shell: str
    may_fail: bool


@dataclass(frozen=True, slots=True)
class Job:
    """One job: its steps, or the reusable workflow that it calls (`uses`)."""

    id: str
    uses: str
    needs: tuple[str, ...]
    condition: str
    permissions: Mapping[str, str] | None
    matrix: Mapping[str, list[str]]
    outputs: Mapping[str, str]
    given: Mapping[str, Any]
    steps: tuple[Step, ...]
    raw: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Workflow:
    """One file of .github/workflows. `on`: what starts it."""

    name: str
    on: Mapping[str, Any]
    jobs: Mapping[str, Job]
    raw: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Action:
    """A composite action."""

    name: str
    inputs: Mapping[str, Any]
    outputs: Mapping[str, str]
    steps: tuple[Step, ...]


def workflow(path: Path) -> Workflow:
    raw = _load(path)
    on: Any = raw.get("on", raw.get(True))  # YAML 1.1 takes the word "on" for true
    jobs = {name: _job(path.name, name, job) for name, job in raw["jobs"].items()}
    return Workflow(path.name, on, jobs, raw)


def action(path: Path) -> Action:
    raw = _load(path)
    assert raw["runs"]["using"] == "composite"
    outputs = {name: str(one["value"]) for name, one in raw.get("outputs", {}).items()}
    return Action(path.parent.name, raw.get("inputs", {}), outputs, _steps(path.parent.name, raw["runs"]["steps"], ""))


def workflows(folder: Path = FOLDER) -> dict[str, Workflow]:
    return {path.name: workflow(path) for path in sorted((folder / "workflows").glob("*.yml"))}


def actions(folder: Path = FOLDER) -> dict[str, Action]:
    return {path.parent.name: action(path) for path in sorted((folder / "actions").glob("*/action.yml"))}


def every_step(folder: Path = FOLDER) -> Iterator[Step]:
    for found in workflows(folder).values():
        for job in found.jobs.values():
            yield from job.steps
    for one in actions(folder).values():
        yield from one.steps


def _load(path: Path) -> dict[Any, Any]:
    raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(raw, dict), path
    return raw


def _job(file: str, name: str, raw: dict[str, Any]) -> Job:
    needs = raw.get("needs", [])
    matrix = raw.get("strategy", {}).get("matrix", {})
    return Job(
        id=name,
        uses=raw.get("uses", ""),
        needs=(needs,) if isinstance(needs, str) else tuple(needs),
        condition=str(raw.get("if", "")),
        permissions=raw.get("permissions"),
        matrix=matrix,
        outputs=raw.get("outputs", {}),
        given=raw.get("with", {}),
        steps=_steps(f"{file}: {name}", raw.get("steps", []), "bash"),
        raw=raw,
    )


def _steps(place: str, raw: list[dict[str, Any]], shell: str) -> tuple[Step, ...]:
    return tuple(
        Step(
            place=f"{place}: {number}",
            id=one.get("id", ""),
            uses=one.get("uses", ""),
            run=one.get("run", ""),
            condition=str(one.get("if", "")),
            env={name: str(value) for name, value in one.get("env", {}).items()},
            given=one.get("with", {}),
            shell=one.get("shell", shell),
            may_fail=one.get("continue-on-error", False),
        )
        for number, one in enumerate(raw)
    )
