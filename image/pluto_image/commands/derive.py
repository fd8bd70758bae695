"""pluto-image derive: make the inputs that are computed from locked packages, and pin them."""

from __future__ import annotations

import argparse
from pathlib import Path

from pluto_measure.command import Result

_DESCRIPTION = """
Compile the Python sources of the locked packages with the image's own interpreter (on Linux on x86-64), keep the
result in the store, and pin its hash in DIR/lock.json. Needed after 'pluto-image lock' changed a Python package, or
after the list of kept Python files changed.
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program."""
    from pluto_image.inputs.options import add_options

    parser = subparsers.add_parser("derive", help="make and pin the image's byte code", description=_DESCRIPTION)
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of the definition, such as image/notary")
    add_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Result:
    """Derive and pin."""
    from pluto_image import build
    from pluto_image import definition as definitions
    from pluto_image.inputs import fetch, options, progress
    from pluto_image.lock.folder import load_lock, write_lock
    from pluto_image.lock.lockfile import with_derived

    definition = definitions.load(arguments.folder)
    lock = load_lock(arguments.folder, definition)
    store, sources = options.store_from(arguments), options.sources_from(arguments, definition)
    wanted = (*lock.image, *build.further_inputs(definition, lock)[:1])
    fetch.ensure(wanted, store, sources, offline=arguments.offline, progress=progress.reporter())
    made = build.locked_byte_code(definition, lock, store)
    if made is None:
        return Result({"derived": None, "changed": False}, "the definition asks for no byte code\n")
    new = with_derived(lock, [made])
    if new != lock:
        write_lock(arguments.folder, new)
    document: dict[str, object] = {
        "derived": made.name,
        "sha256": made.sha256,
        "size": made.size,
        "changed": new != lock,
    }
    return Result(document, f"{made.name}: {made.size} bytes, SHA-256 {made.sha256}\n")
