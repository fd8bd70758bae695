"""Makes and checks locks: signed Release files → indexes → resolved packages → hashes of what was downloaded.

1. Each archive's InRelease is fetched, its signature and time are checked (pluto_image.debian.openpgp).
2. Its Packages indexes are fetched by hash, so that they are those that the Release file lists.
3. Both trees are resolved; versions are compared across archives and none is preferred.
4. Every package is fetched by the index's SHA-256; SHA-1 and maintainer-script digests are taken from those bytes.
5. Changed maintainer scripts of the image stop the work until they are acknowledged.

Time and network are arguments. What is written is a lock and evidence that proves it; callers choose where.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from pluto_image.debian import deb, openpgp
from pluto_image.debian.archive import Candidate
from pluto_image.debian.archive_state import ArchiveState, archive_state, read_indexes
from pluto_image.debian.resolve import Resolution, Waived, resolve
from pluto_image.definition import Definition, Tree
from pluto_image.errors import UnacknowledgedError
from pluto_image.inputs import fetch
from pluto_image.inputs.fetch import Progress, Sources
from pluto_image.inputs.store import Store
from pluto_image.lock.lockfile import VERSION, Derived, Lock, Package, Wheel, script_changes
from pluto_measure.errors import FormatError, SourceError

EVERYTHING: Final = "all"


@dataclass(frozen=True, slots=True)
class Locked:
    """A new lock, the InRelease files that prove it (by archive id), and what to tell people."""

    lock: Lock
    evidence: Mapping[str, bytes]
    waived: tuple[Waived, ...]
    script_changes: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


def make(
    definition: Definition,
    keys: Path,
    store: Store,
    sources: Sources,
    *,
    at: datetime,
    old: Lock | None = None,
    update: bool = True,
    acknowledged: Sequence[str] = (),
    progress: Progress | None = None,
) -> Locked:
    """Resolve the definition against the archives as they are now.

    `old`: the lock before; with `update` False its versions are kept where they still fit. Raises
    SignatureRefusedError, UnresolvableError, UnacknowledgedError, UnavailableError and other SourceErrors.
    """
    states = _states(definition, keys, store, sources, at, old)
    prefer = {} if update or old is None else {one.name: one.version for one in (*old.image, *old.tools)}
    found = {name: _resolve(definition, tree, states, prefer) for name, tree in _trees(definition).items()}
    image, tools = (_lock_packages(found[name].chosen, store, sources, progress) for name in ("image", "tools"))
    changes = script_changes(old.image, image) if old else ()
    _demand_acknowledgement(changes, acknowledged)
    lock = Lock(
        version=VERSION,
        definition_digest=definition.lock_digest.hex(),
        archives=tuple(states[archive.id].entry for archive in definition.archives),
        image=image,
        tools=tools,
        wheels=_wheels(definition),
        derived=_still_valid(old, image),
    )
    return Locked(
        lock,
        evidence={name: state.evidence for name, state in states.items()},
        waived=tuple(waived for one in found.values() for waived in one.waived),
        script_changes=changes,
        notes=tuple(note for name, tree in _trees(definition).items() for note in _unused(name, tree, found[name])),
    )


def check_evidence(definition: Definition, lock: Lock, keys: Path, evidence: Mapping[str, bytes], store: Store) -> int:
    """Prove a lock again: signature → Release → index → package. Returns how many packages were proven.

    Of packages that lie in the store, SHA-1 and maintainer-script digests are computed again. Time plays no part: the
    files were current when they were locked. Raises SignatureRefusedError, FormatError.
    """
    indexes = {}
    for entry in lock.archives:
        archive = definition.archive(entry.id)
        data = evidence.get(entry.id, b"")
        if hashlib.sha256(data).hexdigest() != entry.release_sha256:
            raise FormatError(f"evidence {entry.id}.InRelease", "is not the file that was locked")
        signed = openpgp.verify_release(data, archive=entry.id, keys=openpgp.load_keys(keys, archive.fingerprints))
        for index in entry.indexes:
            if signed.release.indexes.get(index.path) != (index.size, bytes.fromhex(index.sha256)):
                raise FormatError(f"evidence {entry.id}.InRelease", f"does not list {index.path} as locked")
        indexes[entry.id] = read_indexes(archive, definition.architecture, entry.indexes, store)
    packages = (*lock.image, *lock.tools)
    for package in packages:
        listed = {(c.version, c.sha256.hex(), c.size, c.path) for c in indexes[package.archive].named(package.name)}
        if (package.version, package.sha256, package.size, package.path) not in listed:
            raise FormatError("lock.json", f"{package.name} {package.version} is not in the index of {package.archive}")
        if store.has(package.sha256, package.size) and _read(package, store) != package:
            raise FormatError("lock.json", f"SHA-1 or scripts of {package.name} are not those of the locked file")
    return len(packages)


def _lock_packages(
    chosen: Sequence[Candidate], store: Store, sources: Sources, progress: Progress | None
) -> tuple[Package, ...]:
    listed = [_unread(candidate) for candidate in chosen]
    fetch.ensure(listed, store, sources, progress=progress)
    return tuple(_read(package, store) for package in listed)


def _unread(candidate: Candidate) -> Package:
    return Package(
        name=candidate.name,
        version=candidate.version,
        architecture=candidate.architecture,
        size=candidate.size,
        sha256=candidate.sha256.hex(),
        sha1="",
        path=candidate.path,
        archive=candidate.archive,
        source=candidate.source,
        source_version=candidate.source_version,
        scripts={},
    )


def _read(package: Package, store: Store) -> Package:
    """The package with what only its bytes tell; they must be what the index says they are."""
    data = store.get(package.sha256)
    if data is None:
        raise SourceError(f"{package.name} vanished from the store")
    found = deb.read(data)
    stated = tuple(found.control.get(field, "") for field in ("Package", "Version", "Architecture"))
    if stated != (package.name, package.version, package.architecture):
        raise FormatError(package.path, f"says that it is {' '.join(stated)}")
    scripts = {name: hashlib.sha256(text).hexdigest() for name, text in sorted(found.scripts.items())}
    return replace(package, sha1=hashlib.sha1(data, usedforsecurity=False).hexdigest(), scripts=scripts)


def _demand_acknowledgement(changes: Sequence[tuple[str, str]], acknowledged: Sequence[str]) -> None:
    if EVERYTHING in acknowledged:
        return
    if left := [f"{package} {script}" for package, script in changes if package not in acknowledged]:
        raise UnacknowledgedError(left)


def _states(
    definition: Definition, keys: Path, store: Store, sources: Sources, at: datetime, old: Lock | None
) -> dict[str, ArchiveState]:
    dates = {one.id: datetime.fromisoformat(one.date) for one in old.archives} if old else {}
    return {
        one.id: archive_state(one, definition.architecture, keys, store, sources, at=at, not_before=dates.get(one.id))
        for one in definition.archives
    }


def _trees(definition: Definition) -> dict[str, Tree]:
    return {"image": definition.image, "tools": definition.tools}


def _resolve(
    definition: Definition, tree: Tree, states: Mapping[str, ArchiveState], prefer: Mapping[str, str]
) -> Resolution:
    indexes = [states[one].index for one in tree.archives]
    return resolve(tree.install, indexes, architecture=definition.architecture, excluded=tree.excluded, prefer=prefer)


def _unused(name: str, tree: Tree, found: Resolution) -> list[str]:
    used = {one.excluded for one in found.waived}
    return [f"{name}: nothing asks for the excluded {one.name}" for one in tree.exclude if one.name not in used]


def _wheels(definition: Definition) -> tuple[Wheel, ...]:
    found = [Wheel(one.name, one.version, one.file, one.size, one.sha256.hex()) for one in definition.wheels]
    return tuple(sorted(found, key=lambda one: one.name))


def _still_valid(old: Lock | None, image: Sequence[Package]) -> tuple[Derived, ...]:
    """Derived inputs stay only when the packages that they were made from did not change at all."""
    unchanged = old is not None and [one.sha256 for one in old.image] == [one.sha256 for one in image]
    return old.derived if old is not None and unchanged else ()
