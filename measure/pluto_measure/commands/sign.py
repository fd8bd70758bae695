"""`pluto-measure sign`: sign a statement, such as a release's, with a key or with this machine's identity."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Final

from pluto_measure.command import Result
from pluto_measure.commands import files

DESCRIPTION: Final = """Sign an in-toto statement, such as release.json of a build, in a DSSE envelope. With --key: an
ed25519 key, or an ECDSA key on P-256 or secp256k1, in PEM ('openssl genpkey -algorithm ed25519 -out key.pem' makes
one). With --keyless: by Sigstore, with the identity that a CI service gives to its job. The signature goes into the
folder signatures beside STATEMENT unless --out is given."""


def add(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command to pluto-measure."""
    sub = subparsers.add_parser("sign", help="sign a release's statement", description=DESCRIPTION)
    sub.add_argument("statement", metavar="STATEMENT", type=Path, help="the statement, such as release.json")
    add_signer_options(sub)
    sub.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    sub.set_defaults(run=run)


def add_signer_options(sub: argparse.ArgumentParser) -> None:
    """--key or --keyless, --password-file, --out."""
    signer = sub.add_mutually_exclusive_group(required=True)
    signer.add_argument("--key", metavar="FILE", type=Path, help="private key in PEM, readable by its owner alone")
    signer.add_argument("--keyless", action="store_true", help="by Sigstore, with the identity of this CI job")
    sub.add_argument("--password-file", metavar="FILE", type=Path, help="the password of --key, if it has one")
    sub.add_argument("--out", metavar="FILE", type=Path, help="the signature's file (default: signatures/NAME)")


def run(arguments: argparse.Namespace) -> Result:
    """Sign and write."""
    from pluto_measure.publish.statement import LIMIT, Statement

    payload = files.read(arguments.statement, what="statement", limit=LIMIT)
    with files.naming("statement", arguments.statement):
        Statement.parse(payload)
    return sign(payload, arguments.statement, arguments)


def sign(payload: bytes, statement: Path, arguments: argparse.Namespace, kind: str = "") -> Result:
    """Sign `payload` as the options say; the signature goes beside `statement`. `kind`: what it is, in its name."""
    from pluto_measure.errors import UsageError
    from pluto_measure.publish import writing

    if arguments.password_file is not None and arguments.key is None:
        raise UsageError("--password-file goes with --key, which is not given")
    if arguments.keyless:
        name, data = writing.keyless(payload, kind)
    else:
        name, data = writing.by_key(payload, writing.load_key(arguments.key, arguments.password_file), kind)
    path = writing.put(statement, name, data, arguments.out)
    return Result({"signature": str(path), "signer": name.split(".")[0]}, f"signed: {path}\n")
