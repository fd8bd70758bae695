"""The lock that a run works with, all of whose files are in the store: the committed one, or a new one.

When a locked file is gone from every source, a new lock is made in a build folder, what moved is named, and the work
goes on. The committed lock is never touched, and such a run is not the release that it describes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pluto_image import definition as definitions
from pluto_image.definition import Definition
from pluto_image.errors import UnavailableError
from pluto_image.inputs import fetch
from pluto_image.inputs.fetch import Progress, Sources, Wanted
from pluto_image.inputs.store import Store
from pluto_image.lock.difference import Moved, moved
from pluto_image.lock.folder import load_lock, read_lock, write_evidence, write_lock
from pluto_image.lock.lockfile import Lock
from pluto_measure.errors import SourceError, UsageError

Derive = Callable[[Definition, Lock], Lock]


@dataclass(frozen=True, slots=True)
class Inputs:
    """A definition with a lock whose packages are all in the store. `moved`: what a relock changed."""

    definition: Definition
    lock: Lock
    lock_path: Path
    moved: tuple[Moved, ...]


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


def _earlier(
    into: Path, definition: Definition, store: Store, sources: Sources, tools: bool, progress: Progress | None
) -> Lock | None:
    """The lock that an earlier run left in `into`, if it fits and its files can be had."""
    path = into / definitions.LOCK
    try:
        lock = read_lock(path, definition)
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
    from pluto_image.lock import making

    try:
        made = making.make(
            definition,
            folder / definitions.KEYS,
            store,
            sources,
            at=at,
            old=old,
            update=False,
            acknowledged=[making.EVERYTHING],
            progress=progress,
        )
    except SourceError as error:
        raise gone from error  # nobody can be reached: the first error says more
    write_evidence(into, made.evidence.items())
    write_lock(into, made.lock)
    return made.lock
