"""`pluto-measure verify`: verify and appraise one piece of evidence. Reads files and the clock; decides nothing."""

from __future__ import annotations

import argparse
import hashlib
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pluto_measure.command import Result
from pluto_measure.commands import cloud_options, files
from pluto_measure.commands.values import argument, time_or_now
from pluto_measure.commands.verify_text import text
from pluto_measure.errors import FormatError, UsageError
from pluto_measure.evidence import ENVELOPE_LIMIT, format_time, parse_nonce
from pluto_measure.formats.strict_json import unhex

if TYPE_CHECKING:
    from pluto_measure.appraise import Appraisal

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
_CERTIFICATE_LIMIT: Final = 1024 * 1024
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
    cloud_options.add(sub)
    sub.add_argument("--nonce", metavar="HEX", help="the nonce that you sent to the machine")
    sub.add_argument(
        "--report-data", metavar="HEX", help="the REPORTDATA that a bare quote must carry; zeros are added to 64 bytes"
    )
    sub.add_argument("--log", metavar="FILE", type=Path, help="the event log that belongs to a bare quote")
    seen = sub.add_mutually_exclusive_group()
    seen.add_argument(
        "--tls-certificate",
        metavar="FILE",
        type=Path,
        help="the TLS certificate that you saw (PEM; text around it is ignored, the first one counts)",
    )
    seen.add_argument(
        "--key-digest",
        metavar="HEX",
        help="SHA-256 of the public key (SubjectPublicKeyInfo, DER) of the TLS certificate that you saw",
    )
    sub.add_argument("--at", metavar="TIME", help="judge as of this time, such as 2026-11-20T12:00:00Z (default: now)")
    sub.add_argument("--html", metavar="FILE", type=Path, help="write the result as a page, too")
    sub.add_argument("--verbose", action="store_true", help="list the checks that pass, too")
    sub.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    sub.set_defaults(run=verify)


@dataclass(frozen=True, slots=True)
class _Given:
    """The arguments that say what is asked, read."""

    at: datetime
    nonce: bytes | None
    key: bytes | None
    report_data: bytes | None


def verify(arguments: argparse.Namespace) -> Result:
    """Verify and appraise; the document is the appraisal."""
    # Imported here: `cryptography` takes longer to load than the other commands take to run.
    from pluto_measure.appraise import NO_SPACE, NOTHING, parse_evidence, quote_of, verify_evidence
    from pluto_measure.commands.quote_inputs import QuoteFiles, remember, remember_endorsements, tdx_inputs
    from pluto_measure.commands.references import reference_values
    from pluto_measure.commands.references import remember as remember_releases
    from pluto_measure.formats.quote import Quote
    from pluto_measure.policy import Policy

    given = _given(arguments)
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
        known = QuoteFiles(
            arguments.evidence,
            arguments.collateral,
            arguments.state,
            arguments.log,
            tuple(arguments.endorsement if kind == "tdx" else ()),
            tuple(arguments.ak_issuers if kind == "azure" else ()),
        )
        tdx, more = tdx_inputs(known, quote, policy, given.report_data)
        notes += more
    if kind == "confidential-space":
        space = cloud_options.space_inputs(arguments.google_keys)
    # All else was parsed, so what can still be malformed is the event log, in the evidence or beside it.
    with files.naming(*(("evidence", arguments.evidence) if arguments.log is None else ("log", arguments.log))):
        appraisal = verify_evidence(raw, references, policy, given.at, given.nonce, given.key, tdx, space)
    if arguments.state is not None and tdx.collateral is not None and appraisal.authentic:
        notes += remember(arguments.state, tdx.collateral)
    if arguments.state is not None and appraisal.accepted:
        remember_releases(arguments.state, judged)
        if quote is not None and appraisal.platform == "gcp-tdx":
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


def _read(path: Path, kind: str, limit: int, parse: Callable[[bytes], T]) -> T:
    """A file, read and parsed. A call names up to seven, so an error says which one it is."""
    data = files.read(path, what=kind, limit=limit)
    with files.naming(kind, path, _ROOTS.get(kind, "")):
        return parse(data)


def _given(arguments: argparse.Namespace) -> _Given:
    key = None if arguments.key_digest is None else argument("--key-digest", _digest, arguments.key_digest)
    if arguments.tls_certificate is not None:
        key = _key_digest(arguments.tls_certificate)
    return _Given(
        at=time_or_now("--at", arguments.at),
        nonce=None if arguments.nonce is None else argument("--nonce", parse_nonce, arguments.nonce),
        key=key,
        report_data=None
        if arguments.report_data is None
        else argument("--report-data", _report_data, arguments.report_data),
    )


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


def _report_data(digits: str) -> bytes:
    size = len(digits) // 2
    if not 1 <= size <= 64:
        raise FormatError("REPORTDATA", "must be 1 to 64 bytes in hex")
    return unhex(digits, size, what="REPORTDATA").ljust(64, b"\0")


def _digest(digits: str) -> bytes:
    return unhex(digits, 32, what="digest")


def _key_digest(path: Path) -> bytes:
    """SHA-256 of the key (SubjectPublicKeyInfo, DER) of the first certificate in a PEM file."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    data = files.read(path, what="TLS certificate", limit=_CERTIFICATE_LIMIT)
    _, begin, rest = data.partition(b"-----BEGIN CERTIFICATE-----")
    body, end, _ = rest.partition(b"-----END CERTIFICATE-----")
    try:
        key = x509.load_pem_x509_certificate(begin + body + end + b"\n").public_key()
        encoded = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise FormatError(str(path), "holds no certificate in PEM") from error
    return hashlib.sha256(encoded).digest()
