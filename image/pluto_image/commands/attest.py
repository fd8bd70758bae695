"""pluto-image attest: reproduce a release, and sign its statement if every byte is equal, or what was got instead."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pluto_image.commands import reproduce
from pluto_image.inputs import options
from pluto_measure.command import Result
from pluto_measure.commands import sign

if TYPE_CHECKING:
    from pluto_image.rebuild.reproduce import Reproduced

_DESCRIPTION = """
Reproduce the release in the folder RELEASE (see 'pluto-image reproduce') and sign its statement, release.json, as
somebody who rebuilt it: with --key, or with --keyless by Sigstore. What is signed is the statement that was made here
again. On any difference the exit code is 4, and nothing is signed and nothing is written, unless --dissent is given:
then what was got here is signed, as a statement that counts for no release and names every file and register in it.
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program."""
    parser = subparsers.add_parser("attest", help="reproduce a release, then sign it", description=_DESCRIPTION)
    parser.add_argument("release", type=Path, metavar="RELEASE", help="folder with the files of a release")
    parser.add_argument("--dissent", action="store_true", help="where it differs, sign what was got here instead")
    sign.add_signer_options(parser)
    options.add_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Result:
    """Reproduce; sign what is equal, or what differs as such."""
    from pluto_measure.publish.release import FILE
    from pluto_measure.publish.writing import load_key

    if arguments.key is not None:
        load_key(arguments.key, arguments.password_file)  # a key that does not open is said before the build
    began = time.monotonic()
    found = reproduce.reproduced(arguments, began)
    said = reproduce.report(arguments.release, found, time.monotonic() - began)
    if found.equal:
        signed = sign.sign(found.outputs.texts[FILE], arguments.release / FILE, arguments)
        document = {**said.document, **signed.document, "dissent": False}
        return Result(document, said.text + signed.text, notes=said.notes)
    if arguments.dissent and (payload := _dissent(found)) is not None:
        signed = sign.sign(payload, arguments.release / FILE, arguments, "dissent")
        document = {**said.document, **signed.document, "dissent": True}
        return Result(document, f"{said.text}signed as a dissent: {signed.text}", said.exit_code, said.notes)
    text = f"{said.text}nothing was signed\n"
    if arguments.dissent:
        text += f"{FILE} is what was rebuilt: the files beside it are not those that it lists\n"
    return Result({**said.document, "signature": None, "dissent": False}, text, said.exit_code, said.notes)


def _dissent(found: Reproduced) -> bytes | None:
    """The statement about what was got here; None where the release's own statement says the same."""
    from pluto_measure.publish.dissent import dissent
    from pluto_measure.publish.release import FILE

    published = found.published.text(FILE) if FILE in found.published.views else b""
    rebuilt = found.outputs.texts[FILE]
    return None if published == rebuilt else dissent(published, rebuilt).to_text().encode()
