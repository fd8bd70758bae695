"""pluto-image fetch: bring all locked inputs into the store, so that later commands need no network."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path

from pluto_image.inputs import options, progress
from pluto_image.inputs.relock import all_inputs, relock_if_vanished
from pluto_measure.command import Result
from pluto_measure.wording import counted

_DESCRIPTION = """
Bring every file that DIR/lock.json names into the store: from the bundle, a project store, the snapshot archive or
a mirror, each checked by hash. Where files are gone from all of them and --relock names a folder, a new lock is
made there and what moved is named.
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program."""
    parser = subparsers.add_parser("fetch", help="bring all locked inputs into the store", description=_DESCRIPTION)
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of the definition, such as image/notary")
    parser.add_argument(
        "--relock", type=Path, metavar="FOLDER", help="where to put a new lock if locked files are gone"
    )
    parser.add_argument(
        "--builder", action="store_true", help="the builder's own wheels too, which a bundle carries (docs/formats)"
    )
    options.add_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Result:
    """Fetch, and relock if allowed and needed."""
    from pluto_image import definition as definitions
    from pluto_image.inputs import builder_wheels

    definition = definitions.load(arguments.folder)
    store, sources = options.store_from(arguments), options.sources_from(arguments, definition)
    now = datetime.now(UTC)
    store.sweep(now.timestamp())
    found = relock_if_vanished(
        arguments.folder,
        store,
        sources,
        into=arguments.relock,
        at=now,
        offline=arguments.offline,
        progress=progress.reporter(),
    )
    if arguments.builder:
        builder_wheels.bring(arguments.folder, store, sources, offline=arguments.offline, progress=progress.reporter())
    files = all_inputs(found.lock)
    document: dict[str, object] = {
        "lock": str(found.lock_path),
        "files": len(files),
        "moved": [{"name": one.name, "old": one.old, "new": one.new} for one in found.moved],
    }
    text = f"{store.root} holds {counted(len(files), 'input')} of {found.lock_path}\n"
    notes = [f"locked files are gone, so a new lock was made: {one}" for one in found.moved]
    return Result(document, text, notes=tuple(notes))
