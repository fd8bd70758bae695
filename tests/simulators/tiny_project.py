"""A committed project whose image/notary is the tiny definition, at the notary's version. For tests alone."""

from __future__ import annotations

import hashlib
import os
import subprocess
from dataclasses import replace
from pathlib import Path

from pluto_image import definition as definitions
from pluto_image.inputs.store import Store
from pluto_image.lock.lockfile import Lock
from simulators import tiny_definition

RELEASE_FILE = b"the signed Release file"
# git as nobody has set it up.
GIT = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@x"}
GIT |= {"GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@x"}


def lay(root: Path, cache: Path) -> None:
    """Write it below `root`, its inputs into the cache."""
    store = Store(cache / "pluto-tee")
    text = tiny_definition.DEFINITION.replace('version = "1"', 'version = "0.1.0"')
    tiny = tiny_definition.make(root, store, text=text)
    folder = tiny.rename(tiny.with_name("notary"))
    lock = tiny_definition.lock(definitions.load(folder), store)
    digest = hashlib.sha256(RELEASE_FILE).hexdigest()
    archives = tuple(replace(one, release_sha256=digest, release_size=len(RELEASE_FILE)) for one in lock.archives)
    (folder / "lock.json").write_text(replace(lock, archives=archives).to_text(), newline="\n")
    (folder / "evidence").mkdir()
    (folder / "evidence/main.InRelease").write_bytes(RELEASE_FILE)
    assert Lock.parse((folder / "lock.json").read_bytes()).archives == archives


def commit(root: Path) -> None:
    """Make a repository of what lies there."""
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
        subprocess.run(["git", "-C", str(root), *words], check=True, env={**os.environ, **GIT}, capture_output=True)
