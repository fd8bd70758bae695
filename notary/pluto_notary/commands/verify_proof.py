"""`pluto-notary verify-proof`: judge a proof offline. Reads files and the clock; decides nothing."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pluto_measure.command import Result
from pluto_measure.commands import cloud_options, files
from pluto_measure.commands.values import argument, time_or_now
from pluto_measure.errors import UsageError
from pluto_measure.formats.strict_json import unhex
from pluto_measure.wording import printable

if TYPE_CHECKING:
    from pluto_measure.formats.quote import Quote
    from pluto_measure.policy import Policy
    from pluto_measure.publish.judge import Judgement
    from pluto_notary.statement.asked import Asked
    from pluto_notary.statement.judge import Brought, ProofVerdict
    from pluto_notary.statement.proof import Proof

_POLICY_LIMIT: Final = 1024 * 1024
_MANIFEST_LIMIT: Final = 2 * 1024 * 1024
_COLLATERAL_LIMIT: Final = 16 * 1024 * 1024
_MARKS: Final = {"pass": "ok     ", "warning": "WARNING", "fail": "REFUSED"}
_NEWLINE: Final = "\n"
_LONGEST_SHOWN: Final = 200  # characters of a value on a terminal; --json has all

DESCRIPTION: Final = """Verify a proof that 'pluto-notary prove' wrote, offline: the signature, the key that made it,
the evidence of that key, the release that it runs; as of the statement's time, with today's word beside it. What you do
not ask about is listed as not checked. Exit code 0 accepted, 3 malformed, 4 not authentic, 5 refused."""


def add(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command to pluto-notary."""
    sub = subparsers.add_parser("verify-proof", help="verify a proof offline", description=DESCRIPTION)
    sub.add_argument("proof", metavar="PROOF", type=Path, help="the proof's file")
    add_judges(sub)
    sub.add_argument("--at", metavar="TIME", help="judge as of this time, such as 2026-11-20T12:00:00Z (default: now)")
    sub.add_argument("--manifest", metavar="FILE", type=Path, help="the manifest that the statement must be by")
    sub.add_argument("--nonce", metavar="HEX", help="the statement's nonce, 32 bytes, as you asked for it")
    sub.add_argument("--recipient", metavar="0xADDRESS", help="whose statement it must be")
    sub.add_argument("--chain-id", metavar="N", type=int, help="the chain that it must be for")
    sub.add_argument("--contract", metavar="0xADDRESS", help="the contract that it must be for")
    sub.add_argument("--max-age", metavar="SECONDS", type=int, help="how old the statement may be")
    sub.add_argument(
        "--mode",
        choices=["fetch", "observe", "any"],
        default="fetch",
        help="how the notary must have seen the site (default: fetch); what it only observed can be forged by a client "
        "that helps whoever has the path to the site",
    )
    sub.add_argument("--verbose", action="store_true", help="list the checks that pass, too")
    sub.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    sub.set_defaults(run=verify_proof)


def add_judges(
    sub: argparse.ArgumentParser,
    *,
    collateral: str = "Intel's collateral of the statement's time, as the proof names it by its SHA-256",
    state: str = "; without --collateral it is used for the statement's time, too",
) -> None:
    """Add what says whose word counts, by which rules; `collateral` and `state`: what they are for, or end with."""
    sub.add_argument(
        "--reference",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="measurements.json of a build that you accept, or the folder of a release; may be given several times",
    )
    sub.add_argument(
        "--trust", metavar="FILE", type=Path, help="whose signatures count: references then come from signed releases"
    )
    sub.add_argument(
        "--sigstore-root", metavar="FILE", type=Path, help="Sigstore's trusted root (default: the library's own)"
    )
    sub.add_argument(
        "--policy", metavar="FILE", type=Path, help="the appraisal policy (TOML); without it the strict one applies"
    )
    sub.add_argument("--collateral", metavar="FILE", type=Path, help=collateral)
    sub.add_argument(
        "--state",
        metavar="DIR",
        type=Path,
        help=f"where today's collateral lies, and what was seen is remembered{state}",
    )
    cloud_options.add(sub)


def verify_proof(arguments: argparse.Namespace) -> Result:
    """Verify and appraise; the document is the verdict."""
    # Imported here: `cryptography` takes longer to load than the other commands take to run.
    from pluto_measure.appraise import parse_evidence, quote_of
    from pluto_measure.commands.quote_inputs import remember
    from pluto_measure.commands.references import remember as remember_releases
    from pluto_measure.policy import Policy
    from pluto_notary.statement import judge
    from pluto_notary.statement.proof import LIMIT, Proof

    at, asked = time_or_now("--at", arguments.at), _asked(arguments)
    policy = None
    if arguments.policy is not None:
        data = files.read(arguments.policy, what="policy", limit=_POLICY_LIMIT)
        with files.naming("policy", arguments.policy):
            policy = Policy.parse(data)
    raw = files.read(arguments.proof, what="proof", limit=LIMIT)
    with files.naming("proof", arguments.proof):
        proof = Proof.parse(raw)
        quote = None if proof.key_evidence is None else quote_of(parse_evidence(proof.key_evidence.envelope))
    then, notes, _ = _brought(arguments, quote, policy, judge.statement_time(proof, at), arguments.collateral)
    today, more, judged = _brought(arguments, quote, policy, at, None if arguments.state else arguments.collateral)
    with files.naming("proof", arguments.proof):  # what can still be malformed is inside the evidence
        verdict = judge.verify_proof(proof, policy, at, then=then, today=today, asked=asked)
    if arguments.state is not None and verdict.accepted:
        if today.tdx.collateral is not None and verdict.today is not None and verdict.today.authentic:
            more += remember(arguments.state, today.tdx.collateral)
        remember_releases(arguments.state, judged)
    notes = [*dict.fromkeys([*notes, *more])]  # both times say some of the same
    return Result(verdict.to_json(), text(verdict, verbose=arguments.verbose), verdict.exit_code, tuple(notes))


def text(verdict: ProofVerdict, *, verbose: bool) -> str:
    """What is printed for people; findings that pass only if `verbose`."""
    lines = [*facts(verdict.proof, authentic=verdict.authentic)]
    for finding in verdict.findings:
        if finding.verdict == "pass" and not verbose:
            continue
        lines.append(f"{_MARKS[finding.verdict]}  {finding.id}: {finding.text}")
        if finding.verdict == "fail":
            pairs = (("expected", finding.expected), ("actual", finding.actual))
            lines += [f"           {name} {value}" for name, value in pairs if value is not None]
    refused = sum(finding.verdict == "fail" for finding in verdict.findings)
    lines.append(f"{verdict.verdict}: {len(verdict.findings)} checks, {refused} refused")
    return "".join(f"{_shown(line)}\n" for line in lines)


def _shown(line: str) -> str:
    """One line: ids and values are others' words, and none of them may look like a line of ours."""
    return printable(line).replace(_NEWLINE, "·")


def facts(proof: Proof, *, authentic: bool) -> Iterator[str]:
    """What a proof says, in lines that can be shown; with a doubt where it was not verified."""
    for line in _facts(proof, "" if authentic else " (not verified)"):
        yield _shown(line)


def _facts(proof: Proof, doubt: str) -> Iterator[str]:
    from pluto_notary.statement.asked import window

    statement = proof.statement
    yield f"statement of mode {statement.mode} about {statement.host}, {window(statement)}{doubt}"
    shown = {opening.id: opening.text for opening in proof.openings}
    for value in statement.values:
        said = shown.get(value.id, "(not shown)")
        yield f"  {value.id} = {said[:_LONGEST_SHOWN]}{'…' if len(said) > _LONGEST_SHOWN else ''}{doubt}"


def _asked(arguments: argparse.Namespace) -> Asked:
    from pluto_notary.statement.asked import Asked

    digest, host = (None, None) if arguments.manifest is None else _manifest(arguments.manifest)
    for name in ("chain_id", "max_age"):
        if (value := getattr(arguments, name)) is not None and value < 0:
            raise UsageError(f"--{name.replace('_', '-')}: {value} is negative")
    return Asked(
        modes=("fetch", "observe") if arguments.mode == "any" else (arguments.mode,),
        manifest=digest,
        host=host,
        nonce=None if arguments.nonce is None else argument("--nonce", _nonce, arguments.nonce),
        recipient=_address("--recipient", arguments.recipient),
        chain_id=arguments.chain_id,
        contract=_address("--contract", arguments.contract),
        max_age=arguments.max_age,
    )


def _brought(
    arguments: argparse.Namespace, quote: Quote | None, policy: Policy | None, at: datetime, collateral: Path | None
) -> tuple[Brought, list[str], list[Judgement]]:
    """What files say for one time; without a file the collateral is the state directory's."""
    from pluto_measure.commands.quote_inputs import QuoteFiles, tdx_inputs
    from pluto_measure.commands.references import reference_values
    from pluto_notary.statement.judge import Brought

    references, notes, judged = reference_values(arguments, at)
    if quote is None:
        return Brought(references=references, space=cloud_options.space_inputs(arguments.google_keys)), notes, judged
    # Collateral of the past is older than what was seen since: only the state directory's own is compared with memory.
    state = None if collateral is not None else arguments.state
    given = QuoteFiles(
        arguments.proof,
        collateral,
        state,
        endorsements=tuple(arguments.endorsement),
        ak_issuers=tuple(arguments.ak_issuers),
    )
    tdx, more = tdx_inputs(given, quote, policy, None)
    digest = None
    if collateral is not None:
        digest = hashlib.sha256(files.read(collateral, what="collateral", limit=_COLLATERAL_LIMIT)).digest()
    return Brought(references=references, tdx=tdx, collateral=digest), notes + more, judged


def _manifest(path: Path) -> tuple[bytes, str]:
    """The digest of a manifest and the authority of its URL."""
    from pluto_notary.manifest import Manifest

    data = files.read(path, what="manifest", limit=_MANIFEST_LIMIT)
    with files.naming("manifest", path):
        manifest = Manifest.parse(data)
    host = manifest.host if manifest.port == 443 else f"{manifest.host}:{manifest.port}"
    return manifest.digest(), host


def _nonce(digits: str) -> bytes:
    return unhex(digits.removeprefix("0x"), 32, what="nonce")


def _address(option: str, value: str | None) -> bytes | None:
    """An account, in any case: mixed case is a checksum of EIP-55, which must hold."""
    from pluto_notary.statement.keys import parse_address

    return None if value is None else argument(option, parse_address, value)
