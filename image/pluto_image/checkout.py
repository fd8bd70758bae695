"""What git says of the checkout that a release is made in: its commit, and whether a tag is on it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Final

from pluto_measure.errors import SourceError, UsageError

_COMMIT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}", re.ASCII)
_TAG: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}", re.ASCII)
_TIMEOUT: Final = 60  # seconds


def commit(root: Path) -> str:
    """The commit that is checked out, in hex. UsageError outside a checkout, SourceError where git does not run."""
    found = _git(root, "rev-parse", "--verify", "HEAD^{commit}")
    if found is None or _COMMIT.fullmatch(found) is None:
        raise UsageError(f"{root} is no git checkout with a commit")
    return found


def commit_of_tag(root: Path, tag: str) -> str | None:
    """The commit that a tag names; None where there is no such tag."""
    if _TAG.fullmatch(tag) is None:
        raise UsageError(f"{tag[:80]!r} cannot be the tag of a release")
    return _git(root, "rev-parse", "--verify", "--quiet", f"refs/tags/{tag}^{{commit}}")


def _git(root: Path, *words: str) -> str | None:
    # No program of the checkout's own configuration is started.
    argv = ["git", "-C", str(root), "-c", "core.fsmonitor=false", *words]
    try:
        done = subprocess.run(argv, capture_output=True, check=False, timeout=_TIMEOUT)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SourceError(f"git did not run: {error}") from error
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else None
