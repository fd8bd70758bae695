"""`pluto-notary appraise`: for clients in any language, whether what a notary showed of itself is to be believed."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pluto_measure.command import Result
from pluto_measure.commands import files
from pluto_measure.commands.values import argument
from pluto_measure.formats.strict_json import unhex
from pluto_measure.progress import Silent
from pluto_notary.commands.verify_proof import add_judges

if TYPE_CHECKING:
    from pluto_notary.client.prove import Shown

_LIMIT: Final = 4 * 1024 * 1024

DESCRIPTION: Final = """Appraise what a notary showed of itself in one session: that its message is about this very
session, that the evidence in it is genuine, and that policy and reference values accept it (docs/protocol.md, section
7). For clients that speak the protocol themselves: they must send nothing more unless the exit code is 0. Exit code 0
accepted, 3 malformed, 4 not authentic or about another session, 5 refused."""


def add(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command to pluto-notary."""
    sub = subparsers.add_parser("appraise", help="judge a notary's evidence for a client", description=DESCRIPTION)
    sub.add_argument(
        "evidence", metavar="EVIDENCE", type=Path, help="the body of the message 'evidence', as it came; or /dev/stdin"
    )
    sub.add_argument("--ekm", metavar="HEX", required=True, help="keying material of the client's own inner TLS")
    sub.add_argument("--nonce", metavar="HEX", required=True, help="the nonce that the client sent in 'hello'")
    sub.add_argument("--manifest-digest", metavar="HEX", required=True, help="the digest that it sent there")
    sub.add_argument("--fresh", action="store_true", help="it asked for evidence made for this session alone")
    sub.add_argument(
        "--key-digest",
        metavar="HEX",
        help="SHA-256 of the public key (SubjectPublicKeyInfo, DER) of the outer TLS certificate that the client saw",
    )
    add_judges(sub, collateral="Intel's collateral for the notary's platform", state="")
    sub.add_argument("--verbose", action="store_true", help="list the checks that pass, too")
    sub.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    sub.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Result:
    """Appraise; the document is the appraisal. UsageError, FormatError, ChannelError, RefusedError."""
    # Imported here: `cryptography` takes longer to load than the other commands take to run.
    from pluto_measure.commands.verify_text import text
    from pluto_notary.commands.prove_judge import Judge

    shown = _shown(arguments)
    judge = Judge(arguments, Silent())
    appraisal = judge.appraised(shown)
    if appraisal.accepted:
        judge.remember_releases()
    return Result(
        appraisal.to_json(), text(appraisal, verbose=arguments.verbose), appraisal.exit_code, tuple(judge.notes)
    )


def _shown(arguments: argparse.Namespace) -> Shown:
    """The message, if it is about this session."""
    from pluto_notary.client.prove import Shown
    from pluto_notary.protocol.messages import Evidence, Hello
    from pluto_notary.protocol.peer import check_evidence

    ekm, nonce, digest = (_hex(arguments, name) for name in ("ekm", "nonce", "manifest_digest"))
    outer = None if arguments.key_digest is None else _hex(arguments, "key_digest")
    evidence = Evidence.parse(files.read(arguments.evidence, what="evidence", limit=_LIMIT))
    check_evidence(evidence, ekm=ekm, hello=Hello(nonce, digest, arguments.fresh))
    return Shown(evidence, ekm, nonce, arguments.fresh, outer)


def _hex(arguments: argparse.Namespace, name: str) -> bytes:
    option = f"--{name.replace('_', '-')}"
    return argument(option, lambda digits: unhex(digits, 32, what=option), getattr(arguments, name))
