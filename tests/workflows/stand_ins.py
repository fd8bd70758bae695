"""What the actions of others do, as far as our workflows use them: strict about every input."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from workflows.runner import _JobRun as Machine

_INSTALLED: Final[dict[str, Path]] = {}


class ActionError(Exception):
    """The action would fail."""


def use(uses: str, given: Mapping[str, str], machine: Machine) -> dict[str, str]:
    """Do what the action does; its outputs."""
    name = uses.partition("@")[0]
    inputs, does = _ACTIONS[name]
    assert given.keys() <= inputs, f"{name} takes no {sorted(given.keys() - inputs)}"
    return does(given, machine)


def installed_before(command: str, machine: Machine) -> bool:
    """Whether another job of this commit ran the same installation; the project is then laid as it was there."""
    if not command.startswith("python -m pip install"):
        return False
    words = ["git", "rev-parse", "HEAD"]
    commit = subprocess.run(words, cwd=machine.workspace, capture_output=True, text=True, check=True).stdout
    key = commit + (command if "--requirement" in command else "")
    if (known := _INSTALLED.get(key)) is None:
        _INSTALLED[key] = machine.site
        return False
    if "--requirement" not in command:
        shutil.copytree(known, machine.site, dirs_exist_ok=True)
    return True


def _git(machine: Machine, *words: str) -> None:
    env = {**os.environ, "HOME": str(machine.folder / "home")}
    subprocess.run(["git", "-c", "advice.detachedHead=false", *words], cwd=machine.workspace, env=env, check=True)


def _checkout(given: Mapping[str, str], machine: Machine) -> dict[str, str]:
    """A shallow clone of what started the run, without other branches and tags unless `fetch-depth` is 0."""
    assert given.get("persist-credentials") == "false"
    _permitted(machine, "contents", "read")
    github = machine.github
    origin = f"file://{machine.run_of.runner.project.origin}"
    _git(machine, "init", "--quiet", ".")
    _git(machine, "remote", "add", "origin", origin)
    if given.get("fetch-depth") == "0":
        _git(machine, "fetch", "--quiet", "origin", "+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")
    elif github["ref_type"] == "tag":
        _git(machine, "fetch", "--quiet", "--no-tags", "--depth=1", "origin", f"+{github['ref']}:{github['ref']}")
    else:
        there = f"refs/remotes/origin/{github['ref_name']}"
        _git(machine, "fetch", "--quiet", "--no-tags", "--depth=1", "origin", f"+{github['sha']}:{there}")
    if github["ref_type"] == "tag":
        _git(machine, "checkout", "--quiet", "--force", github["ref"])
    else:
        _git(machine, "checkout", "--quiet", "--force", "-B", github["ref_name"], github["sha"])
    return {}


def _setup_python(given: Mapping[str, str], machine: Machine) -> dict[str, str]:
    assert given["python-version"] in {"3.11", "3.12", "3.13", "3.14"}
    return {}


def _upload(given: Mapping[str, str], machine: Machine) -> dict[str, str]:
    """One path: its content (a folder's, or the file). Several: from the deepest folder that holds them all."""
    assert given["if-no-files-found"] == "error"
    target = _artifacts(machine) / given["name"]
    if target.exists():
        raise ActionError(f"artifact {given['name']} exists already")
    paths = [machine.workspace / line for line in given["path"].split("\n") if line]
    found = [file for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("*")))]
    # Hidden files are left out unless they are asked for.
    files = [file for file in found if file.is_file() and not _is_hidden(file.relative_to(machine.workspace))]
    if not files:
        raise ActionError(f"No files were found with the provided path: {given['path']}")
    base = Path(os.path.commonpath([path if path.is_dir() and len(paths) == 1 else path.parent for path in paths]))
    for file in files:
        place = target / file.relative_to(base)
        place.parent.mkdir(parents=True, exist_ok=True)
        _copy(file, place)
    return {}


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _download(given: Mapping[str, str], machine: Machine) -> dict[str, str]:
    to = machine.workspace / given.get("path", ".")
    if "name" in given:
        found = {given["name"]: to}
    else:
        names = sorted(path.name for path in _artifacts(machine).iterdir())
        found = {name: to / name for name in names if fnmatch(name, given["pattern"])}
    for name, place in found.items():
        if not (_artifacts(machine) / name).is_dir():
            raise ActionError(f"Artifact not found for name: {name}")
        shutil.copytree(_artifacts(machine) / name, place, dirs_exist_ok=True, copy_function=_copy)
    return {}


def _attest(given: Mapping[str, str], machine: Machine) -> dict[str, str]:
    """One attestation over the plain files that the patterns name."""
    _permitted(machine, "id-token", "write")
    _permitted(machine, "attestations", "write")
    lines = [line for line in given["subject-path"].split("\n") if line]
    found = {line: [path for path in machine.workspace.glob(line) if path.is_file()] for line in lines}
    if empty := [line for line, paths in found.items() if not paths]:
        raise ActionError(f"Could not find subject at path {empty[0]}")
    subjects = {hashlib.sha256(path.read_bytes()).hexdigest(): path.name for paths in found.values() for path in paths}
    state = machine.run_of.runner.folder / "hub/state.json"
    hub = json.loads(state.read_text())
    hub["attestations"].append({"subjects": subjects, "workflow": "build-release.yml", "ref": machine.github["ref"]})
    state.write_text(json.dumps(hub))
    bundle = machine.temp / "attestation/attestation.json"
    bundle.parent.mkdir()
    bundle.write_text(json.dumps({"made up": subjects}))
    return {"bundle-path": str(bundle)}


def _copy(source: Path | str, to: Path | str) -> None:
    """Content alone: modes do not survive. Disks stay sparse, for the sake of this machine."""
    subprocess.run(["cp", "--sparse=always", "--no-preserve=mode", source, to], check=True)


def _artifacts(machine: Machine) -> Path:
    return machine.run_of.runner.folder / f"hub/artifacts/run{machine.run_of.number}"


def _permitted(machine: Machine, kind: str, wanted: str) -> None:
    if machine.permissions.get(kind) not in (wanted, "write"):
        raise ActionError(f"the job's token lacks {kind}: {wanted}")


_ACTIONS: Final[Mapping[str, tuple[set[str], Callable[[Mapping[str, str], Any], dict[str, str]]]]] = {
    "actions/checkout": ({"persist-credentials", "fetch-depth"}, _checkout),
    "actions/setup-python": ({"python-version"}, _setup_python),
    "actions/upload-artifact": ({"name", "path", "if-no-files-found", "retention-days"}, _upload),
    "actions/download-artifact": ({"name", "path", "pattern"}, _download),
    "actions/attest": ({"subject-path"}, _attest),
}
