"""pluto-image bundle: all inputs of an image and the builder's own in one file, for a build without a network."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from pluto_image.errors import UnavailableError
from pluto_image.inputs import options, progress
from pluto_image.inputs.relock import all_inputs, fetch_all
from pluto_image.lock.folder import load_lock, read_evidence
from pluto_measure.command import Result
from pluto_measure.errors import VerificationError
from pluto_measure.wording import counted

if TYPE_CHECKING:
    from pluto_image.definition import Definition
    from pluto_image.inputs.fetch import Sources
    from pluto_image.inputs.store import Store
    from pluto_image.lock.lockfile import Lock

_DESCRIPTION = """
Write one deterministic tar with every input that DIR/lock.json names: packages of the image and of the tools tree,
wheels, derived inputs, package indexes and signed Release files. 'pluto-image build --offline --bundle FILE' needs
nothing else. The builder's own wheels for all Pythons and platforms of requirements/wheels.json are in it, too: in an
unpacked source.tar, 'python3 requirements/bootstrap.py run --bundle FILE' installs the builder.
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program."""
    parser = subparsers.add_parser("bundle", help="write all inputs to one file", description=_DESCRIPTION)
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of the definition, such as image/notary")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the tar to write")
    options.add_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Result:
    """Fetch what is missing, then write."""
    from pluto_image import definition as definitions
    from pluto_image.debian.archive_state import index_files
    from pluto_image.inputs import builder_wheels, bundle, fetch

    definition = definitions.load(arguments.folder)
    lock = load_lock(arguments.folder, definition)
    store, sources = options.store_from(arguments), options.sources_from(arguments, definition)
    files = (*all_inputs(lock), *index_files(lock), *lock.derived)
    fetch_all(lock, store, sources, offline=arguments.offline, progress=progress.reporter())
    fetch.ensure(index_files(lock), store, sources, offline=arguments.offline)
    _provide_derived(definition, lock, store, sources, arguments.offline)
    builder = builder_wheels.bring(
        arguments.folder, store, sources, offline=arguments.offline, progress=progress.reporter()
    )
    wheels = () if builder is None else builder.wheels
    evidence = read_evidence(arguments.folder, lock)
    contents = [one.sha256 for one in (*files, *wheels)]
    names = None if builder is None else builder.text
    size = bundle.write(arguments.out, lock, evidence, contents, store, wheels=names)
    document: dict[str, object] = {
        "bundle": str(arguments.out),
        "files": len(files),
        "wheels": len(wheels),
        "size": size,
        "lock": lock.digest,
    }
    text = f"{arguments.out}: {counted(len(files), 'input')}, {counted(len(wheels), 'wheel')} of the builder"
    return Result(document, f"{text}, {size} bytes\n")


def _provide_derived(definition: Definition, lock: Lock, store: Store, sources: Sources, offline: bool) -> None:
    """Fetch what is derived; what nobody has is made here again, and must come out as it is pinned."""
    from pluto_image.inputs import fetch

    try:
        fetch.ensure(lock.derived, store, sources, offline=offline)
    except UnavailableError:
        from pluto_image import build

        made = build.locked_byte_code(definition, lock, store)
        if fetch.missing(lock.derived, store):
            found = f"{made.name} with SHA-256 {made.sha256}" if made else "nothing"
            raise VerificationError(f"derived inputs differ from the lock: this machine made {found}") from None
