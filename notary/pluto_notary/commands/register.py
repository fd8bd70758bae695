"""`pluto-notary register`: what a registrar does, and who carries its signatures to the chain.

sign      verify a key's evidence and sign that it fits         revoke    sign that a key or a build counts no more
rotate    sign who the registrars are from now on               collect   k signatures as one call for anybody to send
account   which account a key file is
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pluto_measure.command import Result
from pluto_measure.commands import files
from pluto_measure.commands.values import argument
from pluto_measure.errors import FormatError, UsageError
from pluto_measure.formats.strict_json import pretty, unhex
from pluto_notary.commands import register_sign
from pluto_notary.commands.register_files import add_output, add_registry, put, registry_of, signing_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from pluto_notary.registry.claims import Claim

REVOKE: Final = """Sign that a notary's key, or a build with all its keys, counts no more on a chain: for good, and also
before it was ever registered. Fewer registrars than register are enough where fewer could keep keys out by their
silence: the registry's revokers() says how many."""
ROTATE: Final = """Sign who the registrars of a registry are from now on. --generation is one more than the registry's
terms() say, so that the signature counts once."""
COLLECT: Final = """Make one call of the registry's contract from the files of as many registrars as it needs. Keys that
fit make one batch. Anybody may send the call: 'data' to the account 'to' on the chain 'chainId', with any wallet. Exit
code 5 if there are too few signatures, or one of a stranger."""
ACCOUNT: Final = """Print the account of a registrar's key, as the registry's contract has to be told."""


def add(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command to pluto-notary."""
    top = subparsers.add_parser("register", help="sign for the key registry on a chain, and collect signatures")
    actions = top.add_subparsers(metavar="ACTION", required=True)
    register_sign.add(actions)
    _add_revoke(actions)
    _add_rotate(actions)
    _add_collect(actions)
    account = actions.add_parser("account", help="print the account of a registrar's key", description=ACCOUNT)
    account.add_argument("--key", metavar="FILE", type=Path, required=True, help="the registrar's private key (PEM)")
    account.add_argument("--password-file", metavar="FILE", type=Path, help="the password of --key, if it has one")
    account.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    account.set_defaults(run=show_account)


def _add_revoke(actions: argparse._SubParsersAction[Any]) -> None:
    sub = actions.add_parser("revoke", help="sign that a key or a build counts no more", description=REVOKE)
    what = sub.add_mutually_exclusive_group(required=True)
    what.add_argument("--signer", metavar="0xADDRESS", help="the notary's key, as proofs name it in 'signer'")
    what.add_argument("--build", metavar="HEX", help="the build id, 32 bytes")
    add_registry(sub)
    add_output(sub)
    sub.set_defaults(run=revoke)


def _add_rotate(actions: argparse._SubParsersAction[Any]) -> None:
    sub = actions.add_parser("rotate", help="sign who the registrars are from now on", description=ROTATE)
    sub.add_argument(
        "--registrar",
        metavar="0xADDRESS",
        action="append",
        required=True,
        help="a registrar from now on; given once for each of them",
    )
    sub.add_argument("--threshold", metavar="K", type=int, required=True, help="how many of them must sign")
    sub.add_argument("--generation", metavar="N", type=int, required=True, help="one more than the registry's is now")
    add_registry(sub)
    add_output(sub)
    sub.set_defaults(run=rotate)


def _add_collect(actions: argparse._SubParsersAction[Any]) -> None:
    sub = actions.add_parser("collect", help="make one call of k signatures", description=COLLECT)
    sub.add_argument("files", metavar="FILE", type=Path, nargs="+", help="what registrars signed")
    sub.add_argument(
        "--needed", metavar="K", type=int, required=True, help="how many signatures the registry wants for each claim"
    )
    sub.add_argument(
        "--registrar",
        metavar="0xADDRESS",
        action="append",
        help="a registrar of the registry: signatures of others are refused; given once for each",
    )
    sub.add_argument("--out", metavar="FILE", type=Path, help="write the call to this file, too (JSON)")
    sub.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    sub.set_defaults(run=collect)


def revoke(arguments: argparse.Namespace) -> Result:
    """Sign a revocation. UsageError, FormatError."""
    from pluto_notary.registry.claims import RevokeBuild, RevokeKey
    from pluto_notary.statement.keys import parse_address

    if arguments.signer is not None:
        account = argument("--signer", parse_address, arguments.signer)
        claim = _claimed(lambda: RevokeKey(account))
    else:
        build_id = argument("--build", _build, arguments.build)
        claim = _claimed(lambda: RevokeBuild(build_id))
    return put(arguments, claim, registry_of(arguments))


def rotate(arguments: argparse.Namespace) -> Result:
    """Sign a rotation. UsageError, FormatError."""
    from pluto_notary.registry.claims import Rotate
    from pluto_notary.statement.keys import parse_address

    accounts = sorted(argument("--registrar", parse_address, text) for text in arguments.registrar)
    claim = _claimed(lambda: Rotate(tuple(accounts), arguments.threshold, arguments.generation))
    return put(arguments, claim, registry_of(arguments))


def collect(arguments: argparse.Namespace) -> Result:
    """One call from files. UsageError, FormatError, VerificationError, RefusedError."""
    from pluto_notary.registry.signed import LIMIT, Signed, collect
    from pluto_notary.statement.keys import parse_address

    if arguments.needed < 1:
        raise UsageError(f"--needed: {arguments.needed} is less than one")
    known = None
    if arguments.registrar is not None:
        known = {argument("--registrar", parse_address, text) for text in arguments.registrar}
    found = []
    for path in arguments.files:
        data = files.read(path, what="registrar's signature", limit=LIMIT)
        with files.naming("registrar's signature", path):
            found.append(Signed.parse(data))
    call = collect(found, needed=arguments.needed, registrars=known, at=int(time.time()))
    document = call.to_json()
    if arguments.out is not None:
        files.write(arguments.out, pretty(document))
    lines = [f"chain {document['chainId']}", f"to    {document['to']}", f"data  {document['data']}"]
    return Result(document, "".join(f"{line}\n" for line in lines))


def show_account(arguments: argparse.Namespace) -> Result:
    """UsageError, FormatError."""
    from pluto_notary.statement.keys import checksummed

    account = checksummed(signing_key(arguments).address)
    return Result({"account": account}, f"{account}\n")


def _claimed(make: Callable[[], Claim]) -> Claim:
    """A claim whose parts come from the command line: what cannot be one is a wrong call."""
    try:
        return make()
    except FormatError as error:
        raise UsageError(str(error)) from error


def _build(digits: str) -> bytes:
    return unhex(digits.removeprefix("0x"), 32, what="build id")
