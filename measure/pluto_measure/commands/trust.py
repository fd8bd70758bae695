"""`pluto-measure trust`: write a trust file from public keys and identities, or check one."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pluto_measure.command import Result
from pluto_measure.commands import files
from pluto_measure.errors import UsageError

if TYPE_CHECKING:
    from pluto_measure.publish.trust import Trust

_KEY_LIMIT: Final = 64 * 1024
_IDENTITY: Final = ("issuer", "san", "repositoryId", "ref")
_HEAD: Final = """\
# Whose signatures make a release count: docs/formats/trust.md. Every field is required.
version = 2
k = {k} # so many organisations must have signed the same release
maxConfirmationAge = {age} # and so many of them said so within so many seconds
"""

DESCRIPTION: Final = """Write a trust file (TOML) for releases: the organisations whose signatures count, by their
public keys (ed25519, or ECDSA on P-256 or secp256k1, in PEM) or by the identity that Sigstore's certificates give to
their workflow. With FILE, check a trust file and say whom it names."""


def add(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command to pluto-measure."""
    sub = subparsers.add_parser("trust", help="write a trust file, or check one", description=DESCRIPTION)
    sub.add_argument("file", metavar="FILE", type=Path, nargs="?", help="a trust file to check instead")
    sub.add_argument(
        "--key",
        metavar="NAME=FILE",
        action="append",
        default=[],
        help="a public key of the organisation NAME; may be given several times",
    )
    sub.add_argument(
        "--identity",
        metavar=("NAME", "ISSUER", "SAN", "REPOSITORY_ID", "REF"),
        nargs=5,
        action="append",
        default=[],
        help="a workflow of the organisation NAME, as its certificates say it; may be given several times",
    )
    sub.add_argument("-k", type=int, metavar="N", help="how many organisations must sign (default: all)")
    sub.add_argument(
        "--max-confirmation-age",
        metavar="SECONDS",
        help='how long ago they may have said so, such as 2592000 for 30 days (default: "any", which is written there)',
    )
    sub.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    sub.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Result:
    """Write or check."""
    # Imported here: `cryptography` takes longer to load than the parser.
    from pluto_measure.publish.trust import Trust

    if arguments.file is not None:
        if arguments.key or arguments.identity or arguments.k is not None or arguments.max_confirmation_age is not None:
            raise UsageError("FILE is checked as it is; the options make a new trust file")
        data = files.read(arguments.file, what="trust", limit=1024 * 1024)
        with files.naming("trust", arguments.file):
            return _described(Trust.parse(data))
    if not arguments.key and not arguments.identity:
        raise UsageError("nobody is named, so no signature could count", hint="run 'pluto-measure trust --help'")
    text = _text(arguments)
    Trust.parse(text)  # what the options say may be impossible, as a trust file is
    return Result({"trust": text}, text)


def _text(arguments: argparse.Namespace) -> str:
    from pluto_measure.publish.keys import pem_of, public_key

    keys: dict[str, list[str]] = {}
    identities: dict[str, list[str]] = {}
    for given in arguments.key:
        name, equals, path = given.partition("=")
        if not (name and equals and path):
            raise UsageError(f"--key {given!r} is not NAME=FILE")
        pem = files.read(Path(path), what="key", limit=_KEY_LIMIT)
        keys.setdefault(name, []).append(f'"""\n{pem_of(public_key(pem, what=f"key {path}"))}"""')
    for name, *values in arguments.identity:
        members = ", ".join(f"{member} = {_quoted(value)}" for member, value in zip(_IDENTITY, values, strict=True))
        identities.setdefault(name, []).append(f"{{ {members} }}")
    names = list(dict.fromkeys([*keys, *identities]))
    found = _HEAD.format(k=len(names) if arguments.k is None else arguments.k, age=_age(arguments.max_confirmation_age))
    for name in names:
        found += f"\n[[organisations]]\nname = {_quoted(name)}\n"
        found += f"identities = [{', '.join(identities.get(name, []))}]\nkeys = [{', '.join(keys.get(name, []))}]\n"
    return found


def _age(value: str | None) -> str:
    """As it stands in the file, which is parsed afterwards and says what is out of range."""
    if value is None or value == "any":
        return '"any"'
    if not re.fullmatch(r"[1-9][0-9]{0,9}", value, re.ASCII):
        raise UsageError(f"--max-confirmation-age {value!r} is neither any nor a number of seconds")
    return value


def _quoted(text: str) -> str:
    """A TOML basic string, which escapes as JSON does."""
    import json

    return json.dumps(text, ensure_ascii=False)


def _described(trust: Trust) -> Result:
    from pluto_measure.publish.signers import duration

    listed = [
        {
            "name": one.name,
            "keys": len(one.keys),
            "identities": [identity.san for identity in one.identities],
        }
        for one in trust.organisations
    ]
    lines = [f"{trust.k} of {len(trust.organisations)} organisations must sign"]
    lines += [f"  {one.name}: {_signers(len(one.keys), len(one.identities))}" for one in trust.organisations]
    age = trust.max_confirmation_age
    lines.append("  at any time" if age == "any" else f"  and have said so within {duration(age)}")
    return Result({"k": trust.k, "maxConfirmationAge": age, "organisations": listed}, "\n".join(lines) + "\n")


def _signers(keys: int, identities: int) -> str:
    parts = ((keys, "key", "keys"), (identities, "identity", "identities"))
    return ", ".join(f"{n} {one if n == 1 else many}" for n, one, many in parts if n)
