"""`pluto-measure revoke`: sign that a release must not run any more, and why."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Final

from pluto_measure.command import Result
from pluto_measure.commands import reattest, sign
from pluto_measure.errors import FormatError, UsageError

DESCRIPTION: Final = """Sign that the release in the folder RELEASE must not run any more, and why. Only its
release.json is read. The revocation goes into its folder signatures; whoever verifies the release with it there, and
trusts its signer, refuses the release, and with --state goes on refusing it. One trusted organisation suffices. It
cannot be taken back. Who can hide the file hides the revocation: a trust file with maxConfirmationAge, and no further
confirmations, end a release for everybody."""


def add(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command to pluto-measure."""
    sub = subparsers.add_parser("revoke", help="sign that a release must not run any more", description=DESCRIPTION)
    sub.add_argument("release", metavar="RELEASE", type=Path, help="folder of the release, or of its release.json")
    sub.add_argument("--reason", metavar="TEXT", required=True, help="why, in a line for those who are refused")
    sign.add_signer_options(sub)
    sub.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    sub.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Result:
    """Sign and write."""
    from pluto_measure.digests import Digests
    from pluto_measure.publish import notices
    from pluto_measure.publish.release import FILE

    payload, release = reattest.statement(arguments.release)
    try:
        said = notices.revocation(release, Digests.of(payload), reattest.now(), arguments.reason)
    except FormatError as error:
        raise UsageError(f"--reason: {error.problem}") from error
    return sign.sign(said.to_text().encode(), arguments.release / FILE, arguments, "revocation")
