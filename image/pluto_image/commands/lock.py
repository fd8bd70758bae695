"""pluto-image lock: pin every input of an image by hash, or check the pins that are there."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pluto_image import definition as definitions
from pluto_image import inputs, progress
from pluto_image.lockfile import Lock
from pluto_measure.command import Result, counted

if TYPE_CHECKING:
    from pluto_image.definition import Definition
    from pluto_image.lock import Locked

_DESCRIPTION = """
Resolve the packages that DIR/image.toml names against the signed Debian archives, fetch them, and write
DIR/lock.json with the hash of every one and DIR/evidence with the signed Release files. Where a lock exists that
fits the definition, it is checked instead: signature, index, every package. --update takes the newest versions.
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
    inputs.add_options(parser)
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
    from pluto_image import fetch
    from pluto_image import lock as locks
    from pluto_image.archive_state import index_files

    store = inputs.store_from(arguments)
    evidence = inputs.read_evidence(arguments.folder, lock)
    fetch.ensure(index_files(lock), store, inputs.sources_from(arguments, definition), offline=arguments.offline)
    count = locks.check_evidence(definition, lock, arguments.folder / definitions.KEYS, evidence, store)
    proven = counted(count, "package")
    text = f"{arguments.folder / definitions.LOCK}: {proven} proven by signed release files, nothing changed\n"
    return Result({"lock": lock.digest, "changed": False, "proven": count}, text)


def _make(arguments: argparse.Namespace, definition: Definition, old: Lock | None) -> Result:
    from pluto_image import lock as locks

    store = inputs.store_from(arguments)
    made = locks.make(
        definition,
        arguments.folder / definitions.KEYS,
        store,
        inputs.sources_from(arguments, definition),
        at=datetime.now(UTC),
        old=old,
        update=arguments.update,
        acknowledged=arguments.acknowledge,
        progress=progress.reporter(),
    )
    inputs.write_evidence(arguments.folder, made.evidence.items())
    inputs.write_lock(arguments.folder, made.lock)
    return _report(arguments.folder / definitions.LOCK, made, old)


def _report(path: Path, made: Locked, old: Lock | None) -> Result:
    lock = made.lock
    moved = inputs.moved(old, lock) if old is not None else ()
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
