"""pluto-image build: make UKI and disk from locked inputs."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pluto_measure.command import Result
from pluto_measure.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pluto_image.definition import Definition
    from pluto_image.inputs.relock import Inputs
    from pluto_image.inputs.store import Store
    from pluto_image.lock.lockfile import Lock

_DESCRIPTION = """
Build the image that DIR/image.toml defines, from the inputs that DIR/lock.json pins, into the folder DIST: UKI, disk
(raw, for Azure, for Google), container, firmware, what a boot measures (launch.json, measurements.json), what the root
is made of (files.json, SBOM), lock, sources, the unsigned statement about all of them (release.json) and SHA256SUMS.
The same inputs give the same bytes on every machine. If nothing changed since the last build, nothing is done.
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program."""
    from pluto_image.inputs.options import add_options, add_relock_option

    parser = subparsers.add_parser("build", help="make UKI and disk from locked inputs", description=_DESCRIPTION)
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of the definition, such as image/notary")
    parser.add_argument("--out", type=Path, required=True, metavar="DIST", help="folder for the result, replaced whole")
    parser.add_argument(
        "--flavour",
        choices=("release", "debug"),
        default="release",
        help="release (default) asks for committed sources; verifiers refuse debug unless told otherwise",
    )
    parser.add_argument("--check", action="store_true", help="hash inputs and outputs again before believing that")
    add_relock_option(parser)
    add_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Result:
    """Build, or find that nothing changed."""
    from pluto_image import receipt

    began = time.monotonic()
    place = _place(arguments)
    known = list(_input_files(arguments.folder, place, arguments.relock))
    if receipt.holds(arguments.out, flavour=arguments.flavour, inputs=known, check=arguments.check):
        return _report(arguments.out, began, unchanged=True)
    notes = _build(arguments, began)
    return _report(arguments.out, began, unchanged=False, notes=notes)


def _build(arguments: argparse.Namespace, began: float) -> tuple[str, ...]:
    from pluto_image import artifact, build, receipt, source_tree
    from pluto_image.outputs.everything import outputs

    place = _place(arguments)
    before = receipt.facts(_input_files(arguments.folder, place, arguments.relock), time.time_ns())
    artifact.sweep(arguments.out, time.time())
    found, store = _inputs(arguments)
    source = source_tree.read(arguments.folder)
    build.check_inputs(found.definition, found.lock, source, arguments.flavour)
    say = _progress(began)
    image = build.build_image(found.definition, found.lock, store, source, arguments.flavour, say)
    say("making disks, archives and documents")
    made = outputs(found.definition, found.lock, source, image)
    say("writing")
    sums = artifact.write(arguments.out, made.texts, made.sparse, made.sums)
    # What was fetched just now is known only afterwards; what was there before counts as it was before.
    known = receipt.facts(_input_files(arguments.folder, place, arguments.relock), time.time_ns()) | before
    receipt.write(arguments.out, flavour=arguments.flavour, inputs=known, sums=sums)
    notes = [f"locked files are gone, so a new lock was made: {one}" for one in found.moved]
    if source.dirty:
        uncommitted = counted(len(source.dirty), "uncommitted file")
        notes.append(f"built from a tree with {uncommitted}, which the image says of itself")
    return tuple(notes)


def _inputs(arguments: argparse.Namespace) -> tuple[Inputs, Store]:
    """The definition with a lock all of whose inputs are in the store."""
    from datetime import UTC, datetime

    from pluto_image import build
    from pluto_image import definition as definitions
    from pluto_image.inputs import fetch, options, progress
    from pluto_image.inputs.relock import relock_if_vanished

    definition = definitions.load(arguments.folder)
    store = options.store_from(arguments)
    sources = options.sources_from(arguments, definition)
    store.sweep(time.time())
    found = relock_if_vanished(
        arguments.folder,
        store,
        sources,
        into=arguments.relock,
        at=datetime.now(UTC),
        offline=arguments.offline,
        tools=False,
        progress=progress.reporter(),
        derive=lambda definition, lock: _derived(definition, lock, store),
    )
    more = build.further_inputs(found.definition, found.lock)
    fetch.ensure(more, store, sources, offline=arguments.offline, progress=progress.reporter())
    return found, store


def _derived(definition: Definition, lock: Lock, store: Store) -> Lock:
    from pluto_image import build
    from pluto_image.lock.lockfile import with_derived

    made = build.locked_byte_code(definition, lock, store)
    return lock if made is None else with_derived(lock, [made])


def _place(arguments: argparse.Namespace) -> Path:
    from pluto_image.inputs.store import default_root

    folders = [text for text in arguments.store if not text.startswith(("http://", "https://"))]
    return Path(folders[0]) if folders else default_root()


def _input_files(folder: Path, store: Path, relock: Path | None) -> Iterator[Path]:
    """Every file that decides a build: sources, the builder, and the locked inputs in the store."""
    import pluto_image
    import pluto_measure
    from pluto_image import source_tree

    root, names = source_tree.paths(folder)
    found = {(root / name).resolve() for name in names}
    for package in (pluto_image, pluto_measure):
        found |= {path.resolve() for path in Path(str(package.__file__)).parent.rglob("*.py")}
    locks = [folder / "lock.json", *([relock / "lock.json"] if relock is not None else [])]
    for lock in locks:
        if lock.is_file():
            found.add(lock.resolve())
    yield from found
    for digest in {digest for lock in locks for digest in _locked_digests(lock, folder / "image.toml")}:
        path = store / "sha256" / digest[:2] / digest
        if path.is_file():
            yield path.resolve()


def _locked_digests(lock: Path, definition: Path) -> Iterator[str]:
    """SHA-256 of what a build takes from the store: packages, the firmware's package, wheels, derived inputs.

    Relaxed reading is enough: a lock or a definition that changed at all is found by its own size, time and digest,
    and one that cannot be read this way is refused by the build itself.
    """
    import json
    import tomllib

    if not (lock.is_file() and definition.is_file()):
        return
    with contextlib.suppress(ValueError, LookupError, TypeError):
        firmware = tomllib.loads(definition.read_text(encoding="utf-8"))["firmware"]["package"]
        document = json.loads(lock.read_bytes())
        tools = [one for one in document["tools"] if one["name"] == firmware]
        for one in (*document["image"], *tools, *document["wheels"], *document["derived"]):
            yield str(one["sha256"])


def _report(out: Path, began: float, *, unchanged: bool, notes: tuple[str, ...] = ()) -> Result:
    from pluto_image.artifact import Dist

    dist = Dist.open(out)
    seconds = round(time.monotonic() - began, 2)
    document: dict[str, object] = {
        "dist": str(out),
        "buildId": dist.launch.build_id,
        "flavour": dist.launch.flavour,
        "unchanged": unchanged,
        "seconds": seconds,
        "digest": dist.digest,
        "files": dict(dist.sums),
    }
    what = "nothing changed" if unchanged else f"built in {seconds} s"
    text = f"{out}: {what}\n  build id  {dist.launch.build_id}\n  flavour   {dist.launch.flavour}\n"
    text += f"  UKI       {dist.launch.uki_size / 1e6:.1f} MB, SHA-256 {dist.sums['pluto.efi']}\n"
    return Result(document, text, notes=notes)


def _progress(began: float) -> Callable[[str], None]:
    def say(step: str) -> None:
        sys.stderr.write(f"pluto-image: {time.monotonic() - began:5.1f} s  {step}\n")
        sys.stderr.flush()

    return say
