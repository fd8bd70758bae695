"""Makes a RELEASE of a DIST: checks that it is one, then lays its files, its inputs and its provenance together.

What is refused: a tag that does not name this release, a tree that is not the tag's commit, a DIST that was not built
from it, the debug flavour, and a RELEASE that is there already.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from pluto_image import checkout
from pluto_image.artifact import Dist
from pluto_image.definition import Definition
from pluto_image.inputs.bundle import lock_of
from pluto_image.source_tree import SourceTree
from pluto_image.sparse import copy_sparse
from pluto_measure.errors import RefusedError, SourceError, UsageError
from pluto_measure.publish import provenance
from pluto_measure.publish.provenance import Provenance
from pluto_measure.publish.release import BUNDLE, FILE, Release
from pluto_measure.publish.statement import Statement

_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Run:
    """Who built it, and when: the builder's URI, the run's URI (or empty), when the build began and ended."""

    builder: str
    invocation: str
    started_at: datetime
    finished_at: datetime


def check(tag: str, dist: Dist, definition: Definition, source: SourceTree) -> tuple[Release, Statement, str]:
    """The release that this DIST is, its statement and its commit. RefusedError, UsageError, VerificationError."""
    if source.dirty:
        raise RefusedError(
            f"a release is made of committed files only, and {source.dirty[0]} is not committed",
            hint="run 'git status'",
        )
    commit = checkout.commit(source.root)
    if checkout.commit_of_tag(source.root, tag) != commit:
        raise RefusedError(f"tag {tag} is not on the commit {commit} that is checked out", hint="run 'git tag'")
    dist.check()
    statement = Statement.parse((dist.root / FILE).read_bytes(), what=FILE)
    release = Release.parse(statement)
    if release.flavour != "release":
        raise RefusedError(f"{dist.root} is a {release.flavour} build, which is never released")
    if tag not in (names := tags_of(release)):
        raise RefusedError(f"tag {tag} is not that of this release, which is {' or '.join(names)}")
    if dist.sums["source.tar"] != hashlib.sha256(source.tar(definition.epoch)).hexdigest():
        raise RefusedError(f"{dist.root} was built from other sources than are checked out", hint="run 'make build'")
    return release, statement, commit


def check_bundle(bundle: Path, dist: Dist) -> None:
    """A bundle of other inputs would leave whoever rebuilds offline with nothing. FormatError, RefusedError."""
    if hashlib.sha256(lock_of(bundle)).hexdigest() != dist.sums["lock.json"]:
        raise RefusedError(f"bundle {bundle} is of another lock than {dist.root}", hint="run 'pluto-image bundle'")


def tags_of(release: Release) -> tuple[str, str]:
    """The tags that may name a release: its version, alone or with its place in the channel."""
    place = release.facts.place
    return f"v{release.version}", f"v{release.version}-{place.channel}.{place.sequence}"


def write(out: Path, dist: Dist, bundle: Path | None, told: Statement) -> list[str]:
    """Lay the RELEASE: DIST's files, inputs.tar, provenance.json. Whole or not at all. UsageError, SourceError."""
    if out.exists() or out.is_symlink():
        raise UsageError(f"{out} is there already, and a release is never made twice")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent))
        try:
            folder.chmod(0o755)
            for name in (*dist.sums, "SHA256SUMS"):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                copy_sparse(dist.root / name, folder / name)
            if bundle is not None:
                copy_sparse(bundle, folder / BUNDLE)
            (folder / provenance.FILE).write_text(told.to_text(), encoding="utf-8", newline="\n")
            os.replace(folder, out)  # noqa: PTH105  Path.replace returns a path nobody needs
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise SourceError(f"cannot write {out}: {error.strerror or error}") from error
    return sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())


def provenance_of(release: Release, statement: Statement, commit: str, tag: str, run: Run) -> Statement:
    """The SLSA statement about the same files."""
    told = Provenance(commit, f"refs/tags/{tag}", run.builder, run.invocation, run.started_at, run.finished_at)
    return told.statement(release, statement.subjects)
