"""`pluto-measure reattest`: sign that a release is still good, from now on and until a day."""

from __future__ import annotations

import argparse
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pluto_measure.command import Result
from pluto_measure.commands import files, sign
from pluto_measure.commands.values import argument
from pluto_measure.errors import FormatError, RefusedError, UsageError
from pluto_measure.evidence import format_time, parse_time

if TYPE_CHECKING:
    from pluto_measure.publish.release import Release

DESCRIPTION: Final = """Sign that the release in the folder RELEASE is still good, from now on and until --until. The
statement goes into its folder signatures, where it takes the place of an earlier one by the same key. Verifiers whose
trust file sets maxConfirmationAge refuse a release that nobody confirmed lately. Refused are files that are not those
of the release, and a time after the release's own notAfter. Whether it is still good, you have to know."""


def add(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command to pluto-measure."""
    sub = subparsers.add_parser("reattest", help="sign that a release is still good", description=DESCRIPTION)
    sub.add_argument("release", metavar="RELEASE", type=Path, help="folder of the release")
    sub.add_argument(
        "--until", metavar="TIME", required=True, help="until when it may be relied on, such as 2026-12-20T12:00:00Z"
    )
    sign.add_signer_options(sub)
    sub.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    sub.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Result:
    """Look at the files, sign, write."""
    from pluto_measure.digests import Digests
    from pluto_measure.publish import notices
    from pluto_measure.publish.release import FILE

    until = argument("--until", lambda text: parse_time(text, what="time"), arguments.until)
    at = now()
    payload, release = whole(arguments.release)
    try:
        said = notices.confirmation(release, at, until)
    except FormatError as error:
        raise UsageError(f"--until: {error.problem}") from error
    text = said.statement(Digests.of(payload)).to_text().encode()
    found = sign.sign(text, arguments.release / FILE, arguments, "confirmation")
    times = {"confirmedAt": format_time(said.confirmed_at), "until": format_time(said.until)}
    return replace(found, document={**found.document, **times})


def now() -> datetime:
    """The time that is signed."""
    return datetime.now(UTC).replace(microsecond=0)


def whole(folder: Path) -> tuple[bytes, Release]:
    """release.json of a folder whose files are what it lists. RefusedError where one is not."""
    from pluto_measure.publish import folder as folders
    from pluto_measure.publish.release import FILE
    from pluto_measure.publish.statement import Statement

    received = folders.read(folder)
    payload, release = statement(folder)
    listed = {one.name: one.digests for one in Statement.parse(payload, what=FILE).subjects}
    odd = [name for name in sorted(received.digests) if received.digests[name] != listed.get(name)]
    if odd or payload != received.statement:
        raise RefusedError(f"{folder}: {odd[0] if odd else FILE} is not what the release lists, so it is not confirmed")
    if not received.digests:
        raise RefusedError(f"{folder} holds none of the released files, so there is nothing to look at")
    return payload, release


def statement(folder: Path) -> tuple[bytes, Release]:
    """release.json of a folder, read and parsed. UsageError, FormatError."""
    from pluto_measure.publish.release import FILE, Release
    from pluto_measure.publish.statement import LIMIT, Statement

    payload = files.read(folder / FILE, what="release", limit=LIMIT)
    with files.naming("release", folder / FILE, FILE):
        return payload, Release.parse(Statement.parse(payload, what=FILE))
