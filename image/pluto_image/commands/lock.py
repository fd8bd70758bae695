"""pluto-image lock: pin every input of an image by hash, or check the pins that are there."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pluto_image import definition as definitions
from pluto_image.errors import UnavailableError
from pluto_image.inputs import options, progress
from pluto_image.lock.folder import read_evidence, write_evidence, write_lock
from pluto_image.lock.lockfile import Lock, Package
from pluto_measure.command import Result
from pluto_measure.errors import FormatError, UsageError
from pluto_measure.wording import counted

if TYPE_CHECKING:
    from pluto_image.definition import Definition
    from pluto_image.inputs.fetch import Sources
    from pluto_image.inputs.store import Store
    from pluto_image.lock.making import Locked

_DESCRIPTION = """
Resolve the packages that DIR/image.toml names against the signed Debian archives, fetch them, and write
DIR/lock.json with the hash of every one and DIR/evidence with the signed Release files. Where a lock exists that
fits the definition, it is checked instead: signature, index, every package. --update takes the newest versions; where
there are none, the lock stays as it is, so that no image changes for the date of an index alone.
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program."""
    parser = subparsers.add_parser("lock", help="pin every input by hash, or check the pins", description=_DESCRIPTION)
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of the definition, such as image/notary")
    parser.add_argument("--update", action="store_true", help="make a new lock with the newest versions")
    parser.add_argument(
        "--acknowledge",
        action="append",
        default=[],
        metavar="NAME",
        help="package whose changed maintainer scripts you have read; 'all' for every one; repeatable",
    )
    parser.add_argument(
        "--difference", type=Path, metavar="FILE", help="write what changed, scripts too, as Markdown for its review"
    )
    options.add_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Result:
    """Make the lock, or check it."""
    definition = definitions.load(arguments.folder)
    path = arguments.folder / definitions.LOCK
    old = Lock.parse(path.read_bytes()) if path.is_file() else None
    if old is not None and not arguments.update and old.definition_digest == definition.lock_digest.hex():
        return _check(arguments, definition, old)
    return _make(arguments, definition, old)


def _check(arguments: argparse.Namespace, definition: Definition, lock: Lock) -> Result:
    from pluto_image.debian.archive_state import index_files
    from pluto_image.inputs import fetch
    from pluto_image.lock import making

    store, sources = options.store_from(arguments), options.sources_from(arguments, definition)
    evidence = read_evidence(arguments.folder, lock)
    fetch.ensure(index_files(lock), store, sources, offline=arguments.offline)
    count = making.check_evidence(definition, lock, arguments.folder / definitions.KEYS, evidence, store)
    _write_difference(arguments.difference, lock, lock, (), store, sources)
    proven = counted(count, "package")
    text = f"{arguments.folder / definitions.LOCK}: {proven} proven by signed release files, nothing changed\n"
    return Result({"lock": lock.digest, "changed": False, "proven": count}, text)


def _make(arguments: argparse.Namespace, definition: Definition, old: Lock | None) -> Result:
    from pluto_image.lock import making

    store, sources = options.store_from(arguments), options.sources_from(arguments, definition)
    made = making.make(
        definition,
        arguments.folder / definitions.KEYS,
        store,
        sources,
        at=datetime.now(UTC),
        old=old,
        update=arguments.update,
        acknowledged=arguments.acknowledge,
        progress=progress.reporter(),
    )
    if old is not None and _nothing_new(arguments.folder, old, made.lock):
        made = replace(made, lock=old)
    else:
        write_evidence(arguments.folder, made.evidence.items())
        write_lock(arguments.folder, made.lock)
    _write_difference(arguments.difference, old, made.lock, made.script_changes, store, sources)
    return _report(arguments.folder / definitions.LOCK, made, old)


def _nothing_new(folder: Path, old: Lock, new: Lock) -> bool:
    """Whether the indexes are newer at most, and the old lock still has the evidence that proves it."""
    try:
        read_evidence(folder, old)
    except (UsageError, FormatError):
        return False
    return replace(new, archives=old.archives) == old


def _write_difference(
    path: Path | None,
    old: Lock | None,
    new: Lock,
    changes: Sequence[tuple[str, str]],
    store: Store,
    sources: Sources,
) -> None:
    if path is None:
        return
    from pluto_image.lock import difference
    from pluto_measure.commands import files

    before, after = (_scripts(lock.image if lock else (), changes, store, sources) for lock in (old, new))
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, difference.markdown(old, new, before, after))


def _scripts(
    packages: Sequence[Package], changes: Iterable[tuple[str, str]], store: Store, sources: Sources
) -> dict[tuple[str, str], bytes]:
    """The text of each changed script that these packages have, as far as the packages can still be had."""
    from pluto_image.debian import deb
    from pluto_image.inputs import fetch

    changed = {name for name, _ in changes}
    wanted = [one for one in packages if one.name in changed]
    with contextlib.suppress(UnavailableError):  # mirrors drop old versions: the new text is then shown alone
        fetch.ensure(wanted, store, sources)
    found = {one.name: deb.read(data).scripts for one in wanted if (data := store.get(one.sha256)) is not None}
    return {(name, kind): found[name][kind] for name, kind in changes if kind in found.get(name, {})}


def _report(path: Path, made: Locked, old: Lock | None) -> Result:
    from pluto_image.lock import difference

    lock = made.lock
    moved = difference.moved(old, lock) if old is not None else ()
    size = sum(one.size for one in (*lock.image, *lock.tools))
    document: dict[str, object] = {
        "lock": lock.digest,
        "changed": old is None or old != lock,
        "image": len(lock.image),
        "tools": len(lock.tools),
        "size": size,
        "moved": [{"name": one.name, "old": one.old, "new": one.new} for one in moved],
        "scripts": [{"package": package, "script": script} for package, script in made.script_changes],
        "waived": [{"package": one.package, "wants": one.group, "excluded": one.excluded} for one in made.waived],
    }
    lines = [
        f"{path}: {counted(len(lock.image), 'package')} for the image, {len(lock.tools)} for the tools, {size} bytes"
    ]
    lines += [f"  {one}" for one in moved]
    lines += [f"  changed script: {package} {script}" for package, script in made.script_changes]
    notes = list(made.notes)
    if old is not None and old.derived and not lock.derived:
        notes.append("derived inputs were dropped, since packages changed: run 'pluto-image derive' on the definition")
    return Result(document, "\n".join(lines) + "\n", notes=tuple(notes))
