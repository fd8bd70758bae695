"""pluto-image release: make a RELEASE of a DIST, ready to be signed and published."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pluto_measure.command import Result
from pluto_measure.errors import FormatError, UsageError
from pluto_measure.wording import counted

_LOCAL: Final = "https://pluto-tee.org/builder/local"
_DESCRIPTION = """
Make the folder RELEASE of a DIST: its files, the bundle of inputs, and SLSA provenance. Refused are a tree that is not
clean or not the tag's commit, a DIST that was built from other sources, the debug flavour, a tag that is not the
release's (v and its version), and a RELEASE that is there already. Sign RELEASE/release.json afterwards with
'pluto-measure sign'.
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program."""
    parser = subparsers.add_parser("release", help="make a RELEASE of a DIST", description=_DESCRIPTION)
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of the definition, such as image/notary")
    parser.add_argument("--dist", type=Path, required=True, metavar="DIST", help="what 'pluto-image build' wrote")
    parser.add_argument("--tag", required=True, help="the tag on the commit that is checked out, such as v0.1.0")
    parser.add_argument("--out", type=Path, required=True, metavar="RELEASE", help="the folder to make")
    parser.add_argument("--bundle", type=Path, metavar="FILE", help="what 'pluto-image bundle' wrote")
    parser.add_argument("--builder", default=_LOCAL, metavar="URI", help=f"who builds (default: {_LOCAL})")
    parser.add_argument("--invocation", default="", metavar="URI", help="the run that builds, such as a CI job's page")
    parser.add_argument("--started", metavar="TIME", help="when it began, such as 2026-11-20T12:00:00Z (default: now)")
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Result:
    """Check, then write."""
    from pluto_image import definition as definitions
    from pluto_image import source_tree, staging
    from pluto_image.artifact import Dist

    if arguments.bundle is not None and not arguments.bundle.is_file():
        raise UsageError(f"bundle {arguments.bundle} does not exist", hint="run 'pluto-image bundle'")
    definition = definitions.load(arguments.folder)
    dist, source = Dist.open(arguments.dist), source_tree.read(arguments.folder)
    now = datetime.now(UTC)
    started = _time(arguments.started, now)
    if started > now:
        raise UsageError("--started is after now")
    if "://" not in arguments.builder:
        raise UsageError(f"--builder {arguments.builder!r} is no URI, such as https://ci.example/build")
    when = staging.Run(arguments.builder, arguments.invocation, started, now)
    release, statement, commit = staging.check(arguments.tag, dist, definition, source)
    told = staging.provenance_of(release, statement, commit, arguments.tag, when)
    if arguments.bundle is not None:
        staging.check_bundle(arguments.bundle, dist)
    files = staging.write(arguments.out, dist, arguments.bundle, told)
    document: dict[str, object] = {
        "release": str(arguments.out),
        "tag": arguments.tag,
        "commit": commit,
        "buildId": release.build_id,
        "sequence": release.facts.place.sequence,
        "files": files,
    }
    hint = f"sign it: pluto-measure sign {arguments.out}/release.json --key FILE"
    return Result(document, f"{arguments.out}: {counted(len(files), 'file')}\n{hint}\n")


def _time(text: str | None, now: datetime) -> datetime:
    from pluto_measure.evidence import parse_time

    try:
        return now if text is None else parse_time(text, what="--started")
    except FormatError as error:
        raise UsageError(str(error)) from error
