"""pluto-image reproduce: rebuild a release from what it publishes, and compare every byte."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pluto_image.inputs import options
from pluto_image.inputs.relock import fetch_all
from pluto_measure.command import Result
from pluto_measure.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from pluto_image.inputs.store import Store
    from pluto_image.rebuild.again import Ingredients
    from pluto_image.rebuild.published import Published
    from pluto_image.rebuild.reproduce import Reproduced

_DESCRIPTION = """
Rebuild the release in the folder RELEASE from its own source.tar and lock.json, and compare every byte of every file.
The builder is the one that is installed here: source.tar is data, and no code of the release runs. Inputs come from
the store, from RELEASE/inputs.tar (or --bundle) and from mirrors, and count only if they have the locked digests.
Exit code 0: all equal. 4: something differs; each difference and its likely cause is named.
"""
DIFFERENT: Final = 4


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program."""
    parser = subparsers.add_parser("reproduce", help="rebuild a release and compare", description=_DESCRIPTION)
    parser.add_argument("release", type=Path, metavar="RELEASE", help="folder with the files of a release, or a DIST")
    parser.add_argument("--out", type=Path, metavar="DIST", help="write what was rebuilt to this folder too")
    options.add_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Result:
    """Rebuild, compare, say what was found."""
    began = time.monotonic()
    found = reproduced(arguments, began)
    if arguments.out is not None:
        from pluto_image import artifact

        artifact.write(arguments.out, found.outputs.texts, found.outputs.sparse, found.outputs.sums)
    return report(arguments.release, found, time.monotonic() - began)


def reproduced(arguments: argparse.Namespace, began: float) -> Reproduced:
    """Reproduce the release that the arguments name; steps go to stderr with seconds since `began`."""
    from pluto_image.rebuild.reproduce import reproduce

    def fetched(published: Published, made_of: Ingredients) -> Store:
        return _inputs(arguments, published, made_of)

    return reproduce(arguments.release, fetched, _progress(began))


def report(release: Path, found: Reproduced, seconds: float) -> Result:
    """The result as document and text, with exit code 0 or 4."""
    from pluto_image.rebuild.compare import Verdict
    from pluto_image.rebuild.explain.difference import report as told

    wrong = [one for one in found.compared if one.verdict is not Verdict.EQUAL]
    document: dict[str, object] = {
        "release": str(release),
        "equal": found.equal,
        "buildId": found.build_id,
        "flavour": found.made_of.flavour,
        "files": {one.name: one.verdict.value for one in found.compared},
        "differences": [each.to_json() for one in found.explained for each in one.differences],
        "unlisted": {one.file: one.more for one in found.explained if one.more},
        "causes": [cause.to_json() for cause in found.causes],
        "builder": None if found.builder is None else list(found.builder),
        "notRebuilt": list(found.published.beside),
        "seconds": round(seconds, 2),
    }
    files = counted(len(found.compared), "file")
    if found.equal:
        text = f"{release}: reproduced, {files} equal byte by byte, in {seconds:.1f} s\n"
    else:
        text = f"{release}: not reproduced, {len(wrong)} of {files} differ\n"
    text += f"  build id  {found.build_id}\n  flavour   {found.made_of.flavour}\n"
    text += "".join(f"likely cause: {cause.text}\n" for cause in found.causes)
    text += told(found.explained)
    return Result(document, text, exit_code=0 if found.equal else DIFFERENT, notes=_notes(found))


def _notes(found: Reproduced) -> tuple[str, ...]:
    notes = []
    if found.builder is None:
        notes.append("source.tar holds no builder to compare the installed one with")
    elif found.builder:
        files = counted(len(found.builder), "file")
        notes.append(f"the installed builder is not the one in source.tar: {files}, such as {found.builder[0]}")
    return tuple(notes)


def _inputs(arguments: argparse.Namespace, published: Published, made_of: Ingredients) -> Store:
    """A store that has all locked inputs of a build."""
    from pluto_image import build
    from pluto_image.inputs import fetch, progress

    if arguments.bundle is None:
        arguments.bundle = published.bundle
    definition, lock = made_of.definition, made_of.lock
    store, sources = options.store_from(arguments), options.sources_from(arguments, definition)
    fetch_all(lock, store, sources, offline=arguments.offline, tools=False, progress=progress.reporter())
    more = build.further_inputs(definition, lock)
    fetch.ensure(more, store, sources, offline=arguments.offline, progress=progress.reporter())
    return store


def _progress(began: float) -> Callable[[str], None]:
    def say(step: str) -> None:
        sys.stderr.write(f"pluto-image: {time.monotonic() - began:5.1f} s  {step}\n")
        sys.stderr.flush()

    return say
