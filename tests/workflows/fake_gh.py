"""A strict stand-in for GitHub's command line: a program that keeps releases, pull requests and issues in a folder.

It refuses what GitHub refuses (a release twice, an unknown tag, a token without the permission, a text too long), and
any option that our workflows do not use. State: $FAKE_GITHUB/state.json and $FAKE_GITHUB/assets/TAG/NAME. A token is
"token:" and the JSON of the job's permissions.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

OPTIONS = {
    "release view": {"--repo", "--json", "--jq"},
    "release create": {"--repo", "--verify-tag", "--title", "--notes", "--notes-file", "--prerelease", "--target"},
    "release download": {"--repo", "--pattern", "--dir"},
    "issue create": {"--repo", "--title", "--body"},
    "issue list": {"--repo", "--state", "--search", "--json", "--jq"},
    "pr list": {"--repo", "--head", "--state", "--json", "--jq"},
    "pr create": {"--repo", "--head", "--base", "--title", "--body-file"},
    "pr edit": {"--repo", "--body-file"},
    "workflow run": {"--repo", "--ref"},
    "auth setup-git": set(),
    "attestation verify": {"--repo", "--signer-workflow", "--source-ref", "--deny-self-hosted-runners"},
}
FLAGS = {"--verify-tag", "--prerelease", "--deny-self-hosted-runners"}
NEEDS = {
    "release view": ("contents", "read"),
    "release create": ("contents", "write"),
    "release download": ("contents", "read"),
    "issue create": ("issues", "write"),
    "issue list": ("issues", "read"),
    "pr list": ("pull-requests", "read"),
    "pr create": ("pull-requests", "write"),
    "pr edit": ("pull-requests", "write"),
    "workflow run": ("actions", "write"),
    "attestation verify": ("attestations", "read"),
}
LONGEST_BODY = 65_536
# What jq computes for the expressions that the workflows use.
JQ = {
    '"tag=" + .tagName': lambda found: f"tag={found['tagName']}",
    r'"number=\(.[0].number // "")"': lambda found: f"number={found[0]['number'] if found else ''}",
}


def fail(why: str) -> NoReturn:
    sys.exit(f"gh: {why}")


class GitHub:
    def __init__(self) -> None:
        self.root = Path(os.environ["FAKE_GITHUB"])
        self.path = self.root / "state.json"
        self.state: dict[str, Any] = json.loads(self.path.read_text())

    def save(self) -> None:
        self.path.write_text(json.dumps(self.state, indent=1))

    def permitted(self, kind: str, wanted: str) -> None:
        token = os.environ.get("GH_TOKEN", "")
        if not token.startswith("token:"):
            fail("no token in GH_TOKEN")
        level = json.loads(token.removeprefix("token:")).get(kind, "none")
        if level != "write" and level != wanted:
            fail(f"HTTP 403: Resource not accessible by integration ({kind}: {level}, needed: {wanted})")

    def git(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", "-C", self.state["origin"], *words], capture_output=True, text=True, check=False)

    def release(self, tags: list[str]) -> str:
        """The tag that is asked for, or the latest that is no pre-release."""
        releases: dict[str, Any] = self.state["releases"]
        if tags:
            found = [tag for tag in releases if tag == tags[0]]
        else:
            found = [tag for tag, one in releases.items() if not one["prerelease"]]
        return found[-1] if found else fail("release not found")


def parsed(words: list[str]) -> tuple[str, list[str], dict[str, str]]:
    command = " ".join(words[:2])
    if command not in OPTIONS:
        fail(f"unknown command {command!r}")
    left, operands, options = words[2:], [], {}
    while left:
        word = left.pop(0)
        if not word.startswith("-"):
            operands.append(word)
        elif word not in OPTIONS[command] or word in options:
            fail(f"{command}: option {word}")
        else:
            options[word] = "true" if word in FLAGS else left.pop(0)
    return command, operands, options


def shown(document: object, options: dict[str, str]) -> None:
    if "--json" in options:
        print(JQ[options["--jq"]](document))


def create_release(hub: GitHub, operands: list[str], options: dict[str, str]) -> None:
    tag, files = operands[0], [Path(one) for one in operands[1:]]
    if tag in hub.state["releases"]:
        fail(f"a release with the same tag name already exists: {tag}")
    known = hub.git("rev-parse", "--verify", "--quiet", f"refs/tags/{tag}").returncode == 0
    if not known and ("--verify-tag" in options or "--target" not in options):
        fail(f"tag {tag} doesn't exist in the repo {options['--repo']}")
    if not known and hub.git("tag", tag, options["--target"]).returncode:
        fail(f"HTTP 422: {options['--target']} is no commit")
    if "--notes-file" in options:
        Path(options["--notes-file"]).read_text()
    if not files or len({one.name for one in files}) != len(files) or not all(one.is_file() for one in files):
        fail(f"assets must be plain files of different names: {[str(one) for one in files]}")
    folder = hub.root / "assets" / tag
    folder.mkdir(parents=True)
    for one in files:
        shutil.copy(one, folder)
    hub.state["releases"][tag] = {"title": options["--title"], "prerelease": "--prerelease" in options}


def download(hub: GitHub, operands: list[str], options: dict[str, str]) -> None:
    tag = hub.release(operands)
    found = [one for one in (hub.root / "assets" / tag).iterdir() if fnmatch.fnmatch(one.name, options["--pattern"])]
    folder = Path(options["--dir"])
    folder.mkdir(parents=True, exist_ok=True)
    for one in found:
        if (folder / one.name).exists():
            fail(f"{folder / one.name} already exists (use `--clobber` to overwrite)")
        shutil.copy(one, folder)
    if not found:
        fail("no assets match the file pattern")


def pull_request(hub: GitHub, command: str, operands: list[str], options: dict[str, str]) -> None:
    requests = hub.state["pulls"]
    body = Path(options["--body-file"]).read_text() if "--body-file" in options else ""
    if len(body) > LONGEST_BODY:
        fail("HTTP 422: body is too long (maximum is 65536 characters)")
    if command == "pr list":
        shown([one for one in requests if one["head"] == options["--head"] and one["state"] == "open"], options)
    elif command == "pr edit":
        requests[int(operands[0]) - 1]["body"] = body
    elif any(one["head"] == options["--head"] and one["state"] == "open" for one in requests):
        fail("a pull request for this branch already exists")
    elif hub.git("rev-parse", "--verify", "--quiet", f"refs/heads/{options['--head']}").returncode:
        fail("HTTP 422: head: invalid")
    else:
        one = {"head": options["--head"], "base": options["--base"], "title": options["--title"], "state": "open"}
        requests.append({"number": len(requests) + 1, **one, "body": body})


def issues(hub: GitHub, options: dict[str, str]) -> list[dict[str, Any]]:
    """Those that are open, whose title has the words in quotes."""
    words = re.fullmatch(r'"([^"]+)" in:title', options["--search"])
    if words is None or options["--state"] != "open":
        fail("issue list: a search of another kind")
    numbered = [{"number": number, **one} for number, one in enumerate(hub.state["issues"], 1)]
    return [one for one in numbered if words[1] in one["title"] and one.get("state", "open") == "open"]


def attestation(hub: GitHub, operands: list[str], options: dict[str, str]) -> None:
    digest = hashlib.sha256(Path(operands[0]).read_bytes()).hexdigest()
    for one in hub.state["attestations"]:
        signer = f"{options['--repo']}/.github/workflows/{one['workflow']}"
        if digest in one["subjects"] and (signer, one["ref"]) == (
            options["--signer-workflow"],
            options["--source-ref"],
        ):
            return
    fail("no attestation of this file by that workflow")


def main(words: list[str]) -> None:
    command, operands, options = parsed(words)
    hub = GitHub()
    if command == "auth setup-git":
        hub.permitted("contents", "read")
        subprocess.run(["git", "config", "--global", "pluto.credentials", "true"], check=True)
        return
    hub.permitted(*NEEDS[command])
    if options["--repo"] != hub.state["repository"]:
        fail(f"Could not resolve to a Repository with the name '{options['--repo']}'")
    if command == "release view":
        shown({"tagName": hub.release(operands)}, options)
    elif command == "release create":
        create_release(hub, operands, options)
    elif command == "release download":
        download(hub, operands, options)
    elif command == "attestation verify":
        attestation(hub, operands, options)
    elif command == "issue create":
        hub.state["issues"].append({"title": options["--title"], "body": options["--body"]})
    elif command == "issue list":
        shown(issues(hub, options), options)
    elif command == "workflow run":
        if hub.git("cat-file", "-e", f"{options['--ref']}:.github/workflows/{operands[0]}").returncode:
            fail(f"HTTP 404: no workflow {operands[0]} on {options['--ref']}")
        hub.state["dispatches"].append([operands[0], options["--ref"]])
    else:
        pull_request(hub, command, operands, options)
    hub.save()


if __name__ == "__main__":
    main(sys.argv[1:])
