"""What the commands share about inputs: options, store, sources, and the lock that a run works with.

`relock_if_vanished` follows design §11: when a locked file is gone from every source, a new lock is made in a build
folder, what moved is named, and the work goes on. The committed lock is never touched, and such a run is not the
release that the committed lock describes.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from pluto_image import definition as definitions
from pluto_image.debian import mirrors
from pluto_image.definition import Definition
from pluto_image.errors import UnavailableError
from pluto_image.inputs import fetch
from pluto_image.inputs.fetch import Progress, Sources, Wanted
from pluto_image.inputs.store import Store, default_root
from pluto_image.lock.lockfile import Lock
from pluto_measure.errors import FormatError, SourceError, UsageError

Derive = Callable[[Definition, Lock], Lock]
_STALE: Final = "run 'pluto-image lock' on the definition"
_NO_EVIDENCE: Final = "run 'pluto-image lock DIR --update'"


@dataclass(frozen=True, slots=True)
class Moved:
    """A package whose version differs between two locks; an empty text stands for "not there"."""

    name: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.name} {self.old or '(new)'} -> {self.new or '(gone)'}"


@dataclass(frozen=True, slots=True)
class Inputs:
    """A definition with a lock whose packages are all in the store. `moved`: what a relock changed."""

    definition: Definition
    lock: Lock
    lock_path: Path
    moved: tuple[Moved, ...]


def add_options(parser: argparse.ArgumentParser) -> None:
    """--store, --bundle, --mirror and --offline, for every command that needs inputs."""
    parser.add_argument(
        "--store",
        action="append",
        default=[],
        metavar="PATH|URL",
        help="folder of the store (default: the user's cache), or URL of a project store to read from; repeatable",
    )
    parser.add_argument(
        "--bundle", type=Path, metavar="FILE", help="take inputs from this file of 'pluto-image bundle'"
    )
    parser.add_argument(
        "--mirror",
        action="append",
        default=[],
        metavar="URL",
        help="URL that holds debian and debian-security (default: what apt is configured with); repeatable",
    )
    parser.add_argument("--offline", action="store_true", help="use the store and the bundle only, never the network")


def store_from(arguments: argparse.Namespace) -> Store:
    """The store that --store names, or the user's. Raises UsageError for two folders."""
    folders = [text for text in arguments.store if not _is_url(text)]
    if len(folders) > 1:
        raise UsageError(f"--store names {len(folders)} folders, but there is one store")
    return Store(Path(folders[0]) if folders else default_root())


def sources_from(arguments: argparse.Namespace, definition: Definition) -> Sources:
    """Where inputs may come from. Raises UsageError for a mirror that is no URL, or a bundle that does not exist."""
    if arguments.bundle is not None and not arguments.bundle.is_file():
        raise UsageError(f"bundle {arguments.bundle} does not exist")
    known = mirrors.from_options(arguments.mirror) if arguments.mirror else mirrors.from_apt()
    return Sources(
        bundle=arguments.bundle,
        projects=tuple(text for text in arguments.store if _is_url(text)),
        mirrors={archive.id: known.get(archive.path, ()) for archive in definition.archives},
    )


def load_lock(folder: Path, definition: Definition) -> Lock:
    """The lock beside a definition. Raises UsageError if it is not there or belongs to another definition."""
    path = folder / definitions.LOCK
    if not path.is_file():
        raise UsageError(f"{folder} holds no {definitions.LOCK}", hint=_STALE)
    return _matching(path, definition)


def all_inputs(lock: Lock, *, tools: bool = True) -> tuple[Wanted, ...]:
    """Every file that a build (and with `tools`, a boot) takes from elsewhere; derived inputs are not among them."""
    return (*lock.image, *(lock.tools if tools else ()), *lock.wheels)


def fetch_all(
    lock: Lock,
    store: Store,
    sources: Sources,
    *,
    offline: bool = False,
    tools: bool = True,
    progress: Progress | None = None,
) -> None:
    """Bring `all_inputs` into the store. Raises UnavailableError, and SourceErrors of the store."""
    packages = (*lock.image, *(lock.tools if tools else ()))
    fetch.ensure(packages, store, sources, offline=offline, progress=progress)
    if fetch.missing(lock.wheels, store):
        from pluto_image.inputs.wheels import ensure_wheels

        ensure_wheels(lock.wheels, store, sources, offline=offline)


def relock_if_vanished(
    folder: Path,
    store: Store,
    sources: Sources,
    *,
    into: Path | None,
    at: datetime,
    offline: bool = False,
    tools: bool = True,
    progress: Progress | None = None,
    derive: Derive | None = None,
) -> Inputs:
    """Fetch the inputs of the definition in `folder`; where files are gone, with the lock in `into`, made if need be.

    `into` None forbids a new lock. `derive` adds derived inputs to a lock that was made here. Raises
    UnavailableError when no new lock could be made either, and the errors of `pluto_image.lock.making.make`.
    """
    definition = definitions.load(folder)
    lock = load_lock(folder, definition)
    try:
        fetch_all(lock, store, sources, offline=offline, tools=tools, progress=progress)
        return Inputs(definition, lock, folder / definitions.LOCK, ())
    except UnavailableError as gone:
        if into is None or offline:
            raise
        new = _earlier(into, definition, store, sources, tools, progress) or _relock(
            folder, definition, lock, store, sources, into, at, progress, gone
        )
    if derive is not None and not new.derived:
        new = derive(definition, new)
        write_lock(into, new)
    return Inputs(definition, new, into / definitions.LOCK, moved(lock, new))


def write_lock(folder: Path, lock: Lock) -> None:
    """Put the lock beside a definition, or into a build folder: whole or not at all. Raises SourceError."""
    _write(folder / definitions.LOCK, lock.to_text().encode())


def write_evidence(folder: Path, evidence: Iterable[tuple[str, bytes]]) -> None:
    """Keep the signed Release files of a lock in `folder`/evidence. Raises SourceError."""
    for name, data in evidence:
        _write(folder / definitions.EVIDENCE / f"{name}.InRelease", data)


def read_evidence(folder: Path, lock: Lock) -> dict[str, bytes]:
    """The signed Release files of a lock. Raises UsageError if one is missing, FormatError if one is another."""
    found = {}
    for archive in lock.archives:
        path = folder / definitions.EVIDENCE / f"{archive.id}.InRelease"
        if not path.is_file():
            raise UsageError(f"evidence {path} does not exist", hint=_NO_EVIDENCE)
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != archive.release_sha256:
            raise FormatError(f"evidence {path}", "is not the file that was locked", hint=_NO_EVIDENCE)
        found[archive.id] = data
    return found


def moved(old: Lock, new: Lock) -> tuple[Moved, ...]:
    """Packages that differ between two locks, by tree and name."""
    found = []
    for before, after in ((old.image, new.image), (old.tools, new.tools)):
        left, right = ({one.name: one for one in packages} for packages in (before, after))
        for name in sorted({*left, *right}):
            if name not in left or name not in right or left[name].sha256 != right[name].sha256:
                versions = (tree[name].version if name in tree else "" for tree in (left, right))
                found.append(Moved(name, *versions))
    return tuple(dict.fromkeys(found))


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise SourceError(f"cannot write {path}: {error.strerror or error}") from error


def _earlier(
    into: Path, definition: Definition, store: Store, sources: Sources, tools: bool, progress: Progress | None
) -> Lock | None:
    """The lock that an earlier run left in `into`, if it fits and its files can be had."""
    path = into / definitions.LOCK
    try:
        lock = _matching(path, definition)
        fetch_all(lock, store, sources, tools=tools, progress=progress)
    except (OSError, UsageError, UnavailableError):
        return None
    return lock


def _relock(
    folder: Path,
    definition: Definition,
    old: Lock,
    store: Store,
    sources: Sources,
    into: Path,
    at: datetime,
    progress: Progress | None,
    gone: UnavailableError,
) -> Lock:
    from pluto_image.lock import making as locks

    try:
        made = locks.make(
            definition,
            folder / definitions.KEYS,
            store,
            sources,
            at=at,
            old=old,
            update=False,
            acknowledged=[locks.EVERYTHING],
            progress=progress,
        )
    except SourceError as error:
        raise gone from error  # nobody can be reached: the first error says more
    write_evidence(into, made.evidence.items())
    write_lock(into, made.lock)
    return made.lock


def _matching(path: Path, definition: Definition) -> Lock:
    lock = Lock.parse(path.read_bytes())
    if lock.definition_digest != definition.lock_digest.hex():
        raise UsageError(f"{path} was made for other packages than the definition names now", hint=_STALE)
    return lock


def _is_url(text: str) -> bool:
    return text.startswith(("http://", "https://"))
