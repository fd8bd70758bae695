"""`pluto-measure verify`: verify and appraise one piece of evidence. Reads files and the clock; decides nothing."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pluto_measure.command import Result
from pluto_measure.commands import asked, cloud_options, files
from pluto_measure.commands.verify_text import text
from pluto_measure.errors import UsageError
from pluto_measure.evidence import ENVELOPE_LIMIT, format_time

if TYPE_CHECKING:
    from pluto_measure.appraise import Appraisal, TdxInputs
    from pluto_measure.commands.quote_inputs import QuoteFiles
    from pluto_measure.publish.judge import Judgement

T = TypeVar("T")
_KINDS: Final = {
    "tdx": "a TDX quote",
    "tpm": "a TPM's",
    "azure": "an Azure machine's",
    "confidential-space": "a token of Confidential Space",
}
# Options that some kinds of evidence do not use: which do, and what they are for.
_ONLY_FOR: Final = (
    ("collateral", ("tdx", "azure"), "TDX quotes"),
    ("state", ("tdx", "azure"), "TDX quotes"),
    ("endorsement", ("tdx",), "TDX quotes of Google's machines"),
    ("ak_issuers", ("azure",), "Azure's machines"),
    ("google_keys", ("confidential-space",), "tokens of Confidential Space"),
)
_ROOTS: Final = {"reference": "measurements.json"}  # what parsers call their file, where it is not what a call does
_REFERENCE_LIMIT: Final = 64 * 1024 * 1024
_POLICY_LIMIT: Final = 1024 * 1024
_QUOTE_LIMIT: Final = 2 * ENVELOPE_LIMIT  # as a JSON array a quote takes four times its bytes

DESCRIPTION: Final = """Verify one piece of evidence and appraise it: an evidence envelope, or a bare TDX quote (raw,
hex text or JSON array). Signatures, certificates and revocation up to Intel's root; Intel's verdict on the platform;
attributes, registers and event log against reference values and policy. What you do not give is refused, not skipped.
Exit code 0 accepted, 3 malformed, 4 not authentic, 5 refused."""


def add(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command to pluto-measure."""
    sub = subparsers.add_parser(
        "verify",
        help="verify evidence and appraise it against reference values and a policy",
        description=DESCRIPTION,
    )
    sub.add_argument("evidence", metavar="EVIDENCE", type=Path, help="the envelope, as the machine sent it, or a quote")
    _add_accepted(sub)
    _add_intel(sub)
    cloud_options.add(sub)
    asked.add(sub)
    sub.add_argument("--at", metavar="TIME", help="judge as of this time, such as 2026-11-20T12:00:00Z (default: now)")
    sub.add_argument("--html", metavar="FILE", type=Path, help="write the result as a page, too")
    sub.add_argument("--verbose", action="store_true", help="list the checks that pass, too")
    sub.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    sub.set_defaults(run=verify)


def _add_accepted(sub: argparse.ArgumentParser) -> None:
    """What the caller accepts."""
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


def _add_intel(sub: argparse.ArgumentParser) -> None:
    """What Intel says of its platforms."""
    sub.add_argument(
        "--collateral",
        metavar="FILE",
        type=Path,
        help="Intel's collateral: a bundle of 'pluto-measure collateral', or the common quote-collateral JSON",
    )
    sub.add_argument(
        "--state",
        metavar="DIR",
        type=Path,
        help="where collateral is kept and what was seen is remembered, so that no older collateral is accepted; "
        "with --collateral the collateral is compared and remembered, not kept",
    )


def verify(arguments: argparse.Namespace) -> Result:
    """Verify and appraise; the document is the appraisal."""
    # Imported here: `cryptography` takes longer to load than the other commands take to run.
    from pluto_measure.appraise import NO_SPACE, NOTHING, parse_evidence, quote_of, verify_evidence
    from pluto_measure.commands.quote_inputs import remember_endorsements, tdx_inputs
    from pluto_measure.commands.references import reference_values
    from pluto_measure.formats.quote import Quote
    from pluto_measure.policy import Policy

    given = asked.read(arguments)
    files.refuse_no_place("--html", arguments.html)
    references, notes, judged = reference_values(arguments, given.at)
    policy = None
    if arguments.policy is not None:
        policy = _read(arguments.policy, "policy", _POLICY_LIMIT, Policy.parse)
    raw = files.read(arguments.evidence, what="evidence", limit=_QUOTE_LIMIT)
    with files.naming("evidence", arguments.evidence):
        parsed = parse_evidence(raw)
        quote = quote_of(parsed)
    kind = "tdx" if isinstance(parsed, Quote) else parsed.type
    notes += _what_does_not_apply(arguments, kind, is_bare=parsed is quote)
    tdx, space = NOTHING, NO_SPACE
    if quote is not None:
        tdx, more = tdx_inputs(_quote_files(arguments, kind), quote, policy, given.report_data)
        notes += more
    if kind == "confidential-space":
        space = cloud_options.space_inputs(arguments.google_keys)
    # All else was parsed, so what can still be malformed is the event log, in the evidence or beside it.
    with files.naming(*(("evidence", arguments.evidence) if arguments.log is None else ("log", arguments.log))):
        appraisal = verify_evidence(raw, references, policy, given.at, given.nonce, given.key, tdx, space)
    if arguments.state is not None:
        notes += _remember(arguments.state, appraisal, tdx, judged)
        if quote is not None and appraisal.accepted and appraisal.platform == "gcp-tdx":
            remember_endorsements(arguments.state, tdx, policy, quote, given.at)
    code = appraisal.exit_code
    if arguments.html is not None:
        try:
            _page(arguments, appraisal, format_time(given.at))
            notes.append(f"wrote {arguments.html}")
        except UsageError as error:  # which must not lose the verdict
            code = error.exit_code
            notes.append(f"error: {error}")
    return Result(appraisal.to_json(), text(appraisal, verbose=arguments.verbose), code, tuple(notes))


def _quote_files(arguments: argparse.Namespace, kind: str) -> QuoteFiles:
    from pluto_measure.commands.quote_inputs import QuoteFiles

    return QuoteFiles(
        arguments.evidence,
        arguments.collateral,
        arguments.state,
        arguments.log,
        tuple(arguments.endorsement if kind == "tdx" else ()),
        tuple(arguments.ak_issuers if kind == "azure" else ()),
    )


def _remember(state: Path, appraisal: Appraisal, tdx: TdxInputs, judged: Sequence[Judgement]) -> list[str]:
    """Collateral of authentic evidence, and releases of accepted evidence; notes for people."""
    from pluto_measure.commands import quote_inputs, references

    notes = []
    if tdx.collateral is not None and appraisal.authentic:
        notes = quote_inputs.remember(state, tdx.collateral)
    if appraisal.accepted:
        references.remember(state, judged)
    return notes


def _read(path: Path, kind: str, limit: int, parse: Callable[[bytes], T]) -> T:
    """A file, read and parsed. A call names up to seven, so an error says which one it is."""
    data = files.read(path, what=kind, limit=limit)
    with files.naming(kind, path, _ROOTS.get(kind, "")):
        return parse(data)


def _what_does_not_apply(arguments: argparse.Namespace, kind: str, *, is_bare: bool) -> list[str]:
    """Options that this kind of evidence does not use. Those that would have to hold are a mistake of the caller's."""
    if not is_bare and (arguments.report_data is not None or arguments.log is not None):
        raise UsageError("--report-data and --log are for bare quotes; an envelope has its own claims and log")
    notes = [
        f"--{name.replace('_', '-')} is for {what} and was not used: this evidence is {_KINDS[kind]}"
        for name, kinds, what in _ONLY_FOR
        if getattr(arguments, name) and kind not in kinds
    ]
    given = [name for name in ("tls_certificate", "key_digest") if getattr(arguments, name) is not None and is_bare]
    options = [f"--{name.replace('_', '-')}" for name in given]
    return notes + [f"{name} is for envelopes: a bare quote names no TLS key, so none matches" for name in options]


def _page(arguments: argparse.Namespace, appraisal: Appraisal, at: str) -> None:
    from pluto_measure.appraise.page import page

    command = shlex.join(["pluto-measure", *_words(arguments, at)])
    name = str(arguments.evidence)
    files.write(arguments.html, page(appraisal.to_json(), command=command, evidence_name=name, at=at))


def _words(arguments: argparse.Namespace, at: str) -> list[str]:
    """The command line that makes this page again: with the time, which was perhaps not given."""
    words = ["verify", str(arguments.evidence)]
    for name in (
        "reference",
        "trust",
        "sigstore_root",
        "policy",
        "collateral",
        "state",
        *cloud_options.NAMES,
        "nonce",
        "report_data",
        "log",
    ):
        value = getattr(arguments, name)
        for item in value if isinstance(value, list) else [value]:
            words += [] if item is None else [f"--{name.replace('_', '-')}", str(item)]
    for name in ("tls_certificate", "key_digest"):
        if (value := getattr(arguments, name)) is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    return [*words, "--at", at, "--html", str(arguments.html)]
