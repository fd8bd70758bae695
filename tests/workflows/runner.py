"""Executes our workflows on this machine: their commands for real, GitHub's side by strict stand-ins.

A job gets what GitHub gives it and no more: an empty workspace, an empty home, a token with the permissions that it
asks for, no network but loopback. What a job of ours cannot do here stands in `ELSEWHERE`, each with its reason.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from workflows import expressions, stand_ins
from workflows.model import Action, Job, Step, Workflow, action, workflow
from workflows.project import REPOSITORY, Project

HERE: Final = Path(__file__).resolve().parent
TIMEOUT: Final = 300
_UNPACK: Final = (
    'python -m tarfile --extract "$RUNNER_TEMP/check-release/release.tar.gz" "$RUNNER_TEMP/check-release" --filter data'
)
_UNPACK_BEFORE: Final = "python -m tarfile --extract build/before/release.tar.gz build/before --filter data"
_WITHOUT_FILTERS: Final[Mapping[str, tuple[str, str]]] = (
    {}
    if hasattr(tarfile, "data_filter")
    else {
        command: (command.removesuffix(" --filter data"), "this Python is older than 3.11.4; the job asks for 3.13")
        for command in (_UNPACK, _UNPACK_BEFORE)
    }
)
_ATTEST: Final = 'pluto-image attest "$RELEASE"'
_WORD: Final = ' --dissent --offline --out "build/word/rebuild-$RUN.sigstore.json"'
_AUDIT: Final = 'pluto-image audit "$RELEASE"'
_BY: Final = " --policy .github/audit-policy.toml --html audit.html"
# Commands that are not run here, with what is run in their place ("" for nothing), and why.
ELSEWHERE: Final[Mapping[str, tuple[str, str]]] = {
    "make check PYTHON=python": ("", "is part of CI as it is; it checks this tree, not the made-up project"),
    "make quick PYTHON=python": ("", "is part of CI as it is; it checks this tree, not the made-up project"),
    "make peers PYTHON=python": ("", "is part of CI as it is, and fetches"),
    ".venv/bin/python -m pytest -q tests/workflows": ("", "is this very run"),
    "pluto-measure predict build/dist --profile bare-metal --registers": (
        "", "the made-up firmware can be on no machine; tests/readme.py runs it on the real build",
    ),
    "pluto-measure sign build/release/release.json --keyless": (
        'pluto-measure sign build/release/release.json --key "$TEST_KEY"',
        "needs the identity that GitHub gives to a job, and Sigstore",
    ),
    f"{_ATTEST} --keyless{_WORD}": (
        f'{_ATTEST} --key "$TEST_REBUILDER_KEY"{_WORD}',
        "needs the identity that GitHub gives to a job, and Sigstore",
    ),
    f"{_AUDIT} --fetch{_BY}": (
        f'{_AUDIT} --tracker "$TEST_TRACKER"{_BY}', "needs Debian's tracker; tests/image/audit fetches from a server",
    ),
    **_WITHOUT_FILTERS,
}  # fmt: skip
# Every interpreter of a job imports this first.
_SITE: Final = """
import os, socket, sys
found = socket.getaddrinfo
def loopback(host, *more, **how):
    if host not in ("127.0.0.1", "localhost", "::1", None):
        raise socket.gaierror(socket.EAI_NONAME, "the tests have no network")
    return found(host, *more, **how)
socket.getaddrinfo = loopback
if os.environ.get("RUNNER_OS") == "Windows" and any("pluto-" in word for word in sys.orig_argv):
    for name in ("grp", "pwd", "resource", "termios", "tty", "pty", "syslog"):
        sys.modules[name] = None
    sys.modules["fcntl"] = type(sys)("fcntl")  # may be imported where os.name says so, and is not there to be used
    for name in ("fork", "geteuid", "getuid", "getgid", "getegid", "chown", "mkfifo", "setsid", "sched_getaffinity"):
        vars(os).pop(name, None)
"""


@dataclass(frozen=True, slots=True)
class Event:
    """What starts a workflow. `payload` is github.event."""

    name: str
    ref: str
    payload: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Done:
    """How a job ended: success, failure or skipped; its outputs; what each command printed, by its place."""

    result: str
    outputs: dict[str, str] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)


@dataclass
class Runner:
    """GitHub for one project. `only` narrows a matrix; `variables` are the repository's. `key` signs releases, and
    `rebuilder` is that of somebody else, whose repository is taken for the same one.
    """

    project: Project
    folder: Path
    key: Path
    rebuilder: Path
    only: Mapping[str, list[str]] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    executed: set[str] = field(default_factory=set)
    _count: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        empty: dict[str, Any] = {"releases": {}, "pulls": [], "issues": [], "dispatches": [], "attestations": []}
        state = {"repository": REPOSITORY, "origin": str(self.project.origin), **empty}
        (self.folder / "hub/artifacts").mkdir(parents=True)
        (self.folder / "hub/state.json").write_text(json.dumps(state))
        (self.folder / "bin").mkdir()
        for name, more in {"gh": f"'{HERE / 'fake_gh.py'}'", "python": ""}.items():
            (self.folder / "bin" / name).write_text(f"#!/bin/sh\nexec '{sys.executable}' {more} \"$@\"\n")
            (self.folder / "bin" / name).chmod(0o755)
        (self.folder / "python").mkdir()
        (self.folder / "python/sitecustomize.py").write_text(_SITE)

    @property
    def hub(self) -> dict[str, Any]:
        """What GitHub holds by now."""
        found: dict[str, Any] = json.loads((self.folder / "hub/state.json").read_text())
        return found

    def run(self, name: str, event: Event, inputs: Mapping[str, Any] | None = None) -> dict[str, Done]:
        """Run a workflow of the commit that `event.ref` names; jobs of called workflows stand under caller/job."""
        sha = self.project.git("rev-parse", f"{event.ref}^{{commit}}")
        run = _Run(self, event, sha, next(self._count))
        return run.workflow(workflow(self.project.work / ".github/workflows" / name), inputs or {}, None)


class _Run:
    """One run of a workflow, with the workflows that it calls."""

    def __init__(self, runner: Runner, event: Event, sha: str, number: int) -> None:
        self.runner, self.event, self.sha, self.number = runner, event, sha, number
        self.folder = runner.folder / f"run{number}"
        kind, _, name = event.ref.removeprefix("refs/").partition("/")
        self.github: dict[str, Any] = {
            "repository": REPOSITORY, "ref": event.ref, "ref_name": name, "sha": sha, "event_name": event.name,
            "event": {"repository": {"default_branch": "main"}, **event.payload}, "run_id": str(number),
            "run_attempt": "1", "server_url": "https://github.com", "ref_type": kind.removesuffix("s"),
        }  # fmt: skip

    def workflow(
        self, found: Workflow, inputs: Mapping[str, Any], ceiling: Mapping[str, str] | None, prefix: str = ""
    ) -> dict[str, Done]:
        done: dict[str, Done] = {}
        given = dict(inputs) if "workflow_call" in found.on and ceiling is not None else _dispatched(found, inputs)
        for job in found.jobs.values():
            before = {name: done[prefix + name] for name in job.needs}
            needs = {name: {"result": one.result, "outputs": one.outputs} for name, one in before.items()}
            names = {"github": self.github, "inputs": given, "needs": needs, "vars": self.runner.variables}
            functions = _functions([one.result for one in before.values()], None)
            if not expressions.condition(job.condition, names, functions):
                done[prefix + job.id] = Done("skipped")
            elif job.uses:
                done |= self._called(job, names, functions, prefix)
            else:
                done |= self._matrix(found, job, names, ceiling, prefix)
        return done

    def _called(
        self, job: Job, names: Mapping[str, Any], functions: expressions.Functions, prefix: str
    ) -> dict[str, Done]:
        """A reusable workflow: its jobs may not ask for more than the caller grants."""
        assert job.uses.startswith("./.github/workflows/"), job.uses
        found = workflow(self.runner.project.work / job.uses)
        given = _filled(job.given, names, functions)
        wanted = found.on["workflow_call"]["inputs"]
        assert given.keys() <= wanted.keys(), "an input that the workflow does not take"
        assert {name for name, one in wanted.items() if one.get("required")} <= given.keys(), "an input is missing"
        inner = self.workflow(found, given, job.permissions or {}, f"{prefix}{job.id}/")
        failed = any(one.result == "failure" for one in inner.values())
        return {**inner, prefix + job.id: Done("failure" if failed else "success")}

    def _matrix(
        self, found: Workflow, job: Job, names: Mapping[str, Any], ceiling: Mapping[str, str] | None, prefix: str
    ) -> dict[str, Done]:
        permissions = job.permissions if job.permissions is not None else found.raw["permissions"]
        if ceiling is not None:
            asked = {kind: level for kind, level in permissions.items() if ceiling.get(kind) not in (level, "write")}
            assert not asked, f"{found.name}: {job.id} asks for {asked}, which its caller does not grant"
        done = {}
        for chosen in _combinations(job.matrix, self.runner.only):
            label = "".join(f" {value}" for value in chosen.values())
            one = _JobRun(self, prefix + job.id + label, permissions, {**names, "matrix": chosen})
            done[prefix + job.id + label] = one.run(job)
        if job.matrix:
            failed = any(one.result == "failure" for one in done.values())
            done[prefix + job.id] = Done("failure" if failed else "success")
        return done


class _JobRun:
    """One job on a machine of its own."""

    def __init__(self, run: _Run, name: str, permissions: Mapping[str, str], names: Mapping[str, Any]) -> None:
        self.run_of, self.name, self.permissions = run, name, permissions
        self.folder = run.folder / name.replace("/", "-").replace(" ", "-")
        self.workspace, self.temp, self.site = (self.folder / part for part in ("workspace", "temp", "site"))
        for part in (self.workspace, self.temp, self.folder / "home"):
            part.mkdir(parents=True)
        system = str(names["matrix"].get("os", "ubuntu"))
        self.os = {"u": "Linux", "m": "macOS", "w": "Windows"}[system[0]]
        self.token = "token:" + json.dumps(dict(permissions))
        self.github = {**names["github"], "token": self.token, "workspace": str(self.workspace)}
        self.names: dict[str, Any] = {**names, "github": self.github, "runner": {"temp": str(self.temp)}, "steps": {}}
        self.done = Done("success")

    def run(self, job: Job) -> Done:
        self._steps(job.steps, self.names)
        functions = _functions([self.done.result], self.workspace)
        self.done.outputs = _filled(job.outputs, self.names, functions)
        return self.done

    def _steps(self, steps: tuple[Step, ...], names: dict[str, Any], more: Mapping[str, str] | None = None) -> None:
        for step in steps:
            functions = _functions([self.done.result], self.workspace)
            if not expressions.condition(step.condition, names, functions):
                outcome = "skipped"
                outputs: dict[str, str] = {}
            else:
                outcome, outputs = self._step(step, names, functions, more or {})
            if step.id:
                conclusion = "success" if step.may_fail and outcome == "failure" else outcome
                names["steps"][step.id] = {"outcome": outcome, "conclusion": conclusion, "outputs": outputs}
            if outcome == "failure" and not step.may_fail:
                self.done.result = "failure"

    def _step(
        self, step: Step, names: dict[str, Any], functions: expressions.Functions, more: Mapping[str, str]
    ) -> tuple[str, dict[str, str]]:
        env, given = (_filled(values, names, functions) for values in (step.env, step.given))
        if step.run:
            return self._command(step, {**more, **env})
        if step.uses.startswith("./"):
            return self._composite(step, given)
        try:
            return "success", stand_ins.use(step.uses, given, self)
        except stand_ins.ActionError as error:
            self.done.said[step.place] = str(error)
            return "failure", {}

    def _composite(self, step: Step, given: Mapping[str, str]) -> tuple[str, dict[str, str]]:
        path = self.workspace / step.uses
        found: Action = action(path / "action.yml")
        assert given.keys() <= found.inputs.keys(), "an input that the action does not take"
        functions = _functions([self.done.result], self.workspace)
        own = {"github": {**self.github, "action_path": str(path)}, "runner": self.names["runner"]}
        names: dict[str, Any] = {**own, "steps": {}, "inputs": {}}
        for name, one in found.inputs.items():
            assert name in given or not one["required"], f"input {name} is missing"
            names["inputs"][name] = given.get(name, expressions.text(str(one.get("default", "")), own, functions))
        before = self.done.result
        self._steps(found.steps, names, {"GITHUB_ACTION_PATH": str(path)})
        outputs = _filled(found.outputs, names, functions)
        return ("success" if self.done.result == before else "failure"), outputs

    def _command(self, step: Step, env: Mapping[str, str]) -> tuple[str, dict[str, str]]:
        assert step.shell == "bash", f"{step.place}: every command is written for bash"
        self.run_of.runner.executed.add(step.place)
        command, _ = ELSEWHERE.get(step.run, (step.run, ""))
        output = self.temp / "output"
        output.write_text("")
        if stand_ins.installed_before(command, self):
            return "success", {}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", command or "true"],
            cwd=self.workspace, env={**self._environment(command), "GITHUB_OUTPUT": str(output), **env},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT, check=False,
        )  # fmt: skip
        self.done.said[step.place] = f"$ {command}\n{done.stdout}{done.stderr}"
        outputs = dict(line.split("=", 1) for line in output.read_text().splitlines())
        return ("success" if done.returncode == 0 else "failure"), outputs

    def _environment(self, command: str) -> dict[str, str]:
        """What GitHub's machines set, and what keeps a job off this one's files and network."""
        runner = self.run_of.runner
        wheels = [] if (Path(sys.prefix) / "bin/pip").exists() else sorted(map(str, Path(sys.prefix).glob("pip-*.whl")))
        path = [runner.folder / "bin", self.site / "bin", Path(sys.prefix) / "bin"]
        found = {
            "PATH": os.pathsep.join([*map(str, path), os.environ["PATH"]]),
            "PYTHONPATH": os.pathsep.join([str(runner.folder / "python"), str(self.site), *wheels]),
            "HOME": str(self.folder / "home"),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "TEST_KEY": str(runner.key),
            "TEST_REBUILDER_KEY": str(runner.rebuilder),
            "TEST_TRACKER": str(runner.folder / "tracker.json"),
            "FAKE_GITHUB": str(runner.folder / "hub"),
            "RUNNER_TEMP": str(self.temp),
            "RUNNER_OS": self.os,
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "PIP_NO_INDEX": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        if command.startswith("python -m pip install --no-deps"):
            found["PIP_TARGET"] = str(self.site)  # what is installed is the job's, not this machine's
        github = ("repository", "sha", "ref", "ref_name", "workspace", "event_name")
        return {**found, **{f"GITHUB_{name.upper()}": str(self.github[name]) for name in github}}


def _combinations(matrix: Mapping[str, list[str]], only: Mapping[str, list[str]]) -> Iterator[dict[str, str]]:
    wanted = [[value for value in values if value in only.get(name, values)] for name, values in matrix.items()]
    for values in itertools.product(*wanted):
        yield dict(zip(matrix, values, strict=True))


def _filled(values: Mapping[str, Any], names: Mapping[str, Any], functions: expressions.Functions) -> dict[str, str]:
    return {name: expressions.text(expressions.shown(value), names, functions) for name, value in values.items()}


def _dispatched(found: Workflow, inputs: Mapping[str, Any]) -> dict[str, Any]:
    known = (found.on.get("workflow_dispatch") or {}).get("inputs", {})
    assert inputs.keys() <= known.keys()
    return dict(inputs)


def _functions(results: list[str], workspace: Path | None) -> expressions.Functions:
    def hash_files(*patterns: str) -> str:
        """GitHub's: SHA-256 over the SHA-256 of each file; nothing where there is none."""
        assert workspace is not None, "hashFiles is for steps"
        found = sorted({path for pattern in patterns for path in workspace.glob(pattern)})
        parts = b"".join(hashlib.sha256(path.read_bytes()).digest() for path in found)
        return hashlib.sha256(parts).hexdigest() if found else ""

    return {
        "success": lambda: all(one == "success" for one in results),
        "failure": lambda: "failure" in results,
        "always": lambda: True,
        "cancelled": lambda: False,
        "hashFiles": hash_files,
    }
