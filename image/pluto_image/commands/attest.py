"""pluto-image attest: reproduce a release, and sign its statement if every byte is equal."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from pluto_image import inputs
from pluto_image.commands import reproduce
from pluto_measure.command import Result
from pluto_measure.commands import sign

_DESCRIPTION = """
Reproduce the release in the folder RELEASE (see 'pluto-image reproduce') and sign its statement, release.json, as
somebody who rebuilt it: with --key, or with --keyless by Sigstore. What is signed is the statement that was made here
again. On any difference nothing is signed and nothing is written, and the exit code is 4.
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program."""
    parser = subparsers.add_parser("attest", help="reproduce a release, then sign it", description=_DESCRIPTION)
    parser.add_argument("release", type=Path, metavar="RELEASE", help="folder with the files of a release")
    sign.add_signer_options(parser)
    inputs.add_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Result:
    """Reproduce; sign only what is equal."""
    from pluto_measure.publish.release import FILE
    from pluto_measure.publish.writing import load_key

    if arguments.key is not None:
        load_key(arguments.key, arguments.password_file)  # a key that does not open is said before the build
    began = time.monotonic()
    found = reproduce.reproduced(arguments, began)
    said = reproduce.report(arguments.release, found, time.monotonic() - began)
    if not found.equal:
        text = f"{said.text}nothing was signed\n"
        return Result({**said.document, "signature": None}, text, said.exit_code, said.notes)
    signed = sign.sign(found.outputs.texts[FILE], arguments.release / FILE, arguments)
    return Result({**said.document, **signed.document}, said.text + signed.text, notes=said.notes)
