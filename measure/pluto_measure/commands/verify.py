"""`pluto-measure verify`: verify and appraise one piece of evidence. Reads files and the clock; decides nothing."""

from __future__ import annotations

import argparse
import hashlib
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pluto_measure.command import Result
from pluto_measure.commands import files
from pluto_measure.errors import FormatError, PlutoError, UsageError
from pluto_measure.evidence import ENVELOPE_LIMIT, format_time, parse_nonce, parse_time
from pluto_measure.formats.strict_json import unhex

if TYPE_CHECKING:
    from pluto_measure.appraise import Appraisal

_REFERENCE_LIMIT: Final = 64 * 1024 * 1024
_POLICY_LIMIT: Final = 1024 * 1024
_CERTIFICATE_LIMIT: Final = 1024 * 1024
_COLLATERAL_LIMIT: Final = 16 * 1024 * 1024
_LOG_LIMIT: Final = 16 * 1024 * 1024
_QUOTE_LIMIT: Final = 2 * ENVELOPE_LIMIT  # as a JSON array a quote takes four times its bytes
_MARKS: Final = {"pass": "ok     ", "warning": "WARNING", "fail": "REFUSED"}

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
        help="measurements.json of a build that you accept; may be given several times",
    )
    sub.add_argument("--trust", metavar="FILE", type=Path, help="whose signatures reference values need (TOML)")
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
        help="where collateral is kept and what was seen is remembered, so that no older collateral is accepted",
    )
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
    from pluto_measure.appraise import NOTHING, parse_evidence, quote_of, verify_evidence
    from pluto_measure.commands.quote_inputs import remember, tdx_inputs
    from pluto_measure.measurements import Measurements
    from pluto_measure.policy import Policy

    given = _given(arguments)
    references = [
        Measurements.parse(files.read(path, what="reference", limit=_REFERENCE_LIMIT)) for path in arguments.reference
    ]
    policy = None
    if arguments.policy is not None:
        policy = Policy.parse(files.read(arguments.policy, what="policy", limit=_POLICY_LIMIT))
    notes = _trust(arguments.trust)
    raw = files.read(arguments.evidence, what="evidence", limit=_QUOTE_LIMIT)
    parsed = parse_evidence(raw)
    quote = quote_of(parsed)
    notes += _what_does_not_apply(arguments, is_bare=parsed is quote, is_tdx=quote is not None)
    tdx = NOTHING
    if quote is not None:
        tdx, more = tdx_inputs(arguments, quote, policy, given.report_data)
        notes += more
    appraisal = verify_evidence(raw, references, policy, given.at, given.nonce, given.key, tdx)
    if arguments.state is not None and tdx.collateral is not None and appraisal.authentic:
        notes += remember(arguments.state, tdx.collateral)
    if arguments.html is not None:
        _page(arguments, appraisal, format_time(given.at))
    return Result(appraisal.to_json(), _text(appraisal, verbose=arguments.verbose), appraisal.exit_code, tuple(notes))


def _given(arguments: argparse.Namespace) -> _Given:
    key = None if arguments.key_digest is None else _argument("--key-digest", _digest, arguments.key_digest)
    if arguments.tls_certificate is not None:
        key = _key_digest(arguments.tls_certificate)
    return _Given(
        at=datetime.now(UTC) if arguments.at is None else _argument("--at", _time, arguments.at),
        nonce=None if arguments.nonce is None else _argument("--nonce", parse_nonce, arguments.nonce),
        key=key,
        report_data=None
        if arguments.report_data is None
        else _argument("--report-data", _report_data, arguments.report_data),
    )


def _what_does_not_apply(arguments: argparse.Namespace, *, is_bare: bool, is_tdx: bool) -> list[str]:
    """Options that this kind of evidence does not use. Those that would have to hold are a mistake of the caller's."""
    if not is_bare and (arguments.report_data is not None or arguments.log is not None):
        raise UsageError("--report-data and --log are for bare quotes; an envelope has its own claims and log")
    given = [name for name in ("collateral", "state") if getattr(arguments, name) is not None]
    return [f"--{name} is for TDX quotes and was not used: this evidence is a TPM's" for name in given if not is_tdx]


def _trust(path: Path | None) -> list[str]:
    """Read the trust file. Reference values carry no signatures of their own, so all that it can do is refuse."""
    if path is None:
        return []
    from pluto_measure.trust import Trust

    trust = Trust.parse(files.read(path, what="trust", limit=_POLICY_LIMIT))
    return [
        f"the trust file wants {trust.k} of {len(trust.organisations)} organisations; nobody signed these references"
    ]


def _page(arguments: argparse.Namespace, appraisal: Appraisal, at: str) -> None:
    from pluto_measure.appraise.page import page

    command = shlex.join(["pluto-measure", *_words(arguments, at)])
    name = str(arguments.evidence)
    files.write(arguments.html, page(appraisal.to_json(), command=command, evidence_name=name, at=at))


def _words(arguments: argparse.Namespace, at: str) -> list[str]:
    """The command line that makes this page again: with the time, which was perhaps not given."""
    words = ["verify", str(arguments.evidence)]
    for name in ("reference", "trust", "policy", "collateral", "state", "nonce", "report_data", "log"):
        value = getattr(arguments, name)
        for item in value if isinstance(value, list) else [value]:
            words += [] if item is None else [f"--{name.replace('_', '-')}", str(item)]
    for name in ("tls_certificate", "key_digest"):
        if (value := getattr(arguments, name)) is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    return [*words, "--at", at, "--html", str(arguments.html)]


def _text(appraisal: Appraisal, *, verbose: bool) -> str:
    lines = _facts(appraisal)
    for finding in appraisal.findings:
        if finding.verdict == "pass" and not verbose:
            continue
        lines.append(f"{_MARKS[finding.verdict]}  {finding.id}: {finding.text}")
        if finding.verdict == "fail":
            lines += [
                f"           {name} {value}"
                for name, value in (("expected", finding.expected), ("actual", finding.actual))
                if value is not None
            ]
    refused = len(appraisal.failures)
    against = f" against {appraisal.profile}" if appraisal.profile else ""
    lines.append(f"{appraisal.verdict}{against}: {len(appraisal.findings)} checks, {refused} refused")
    return "\n".join(lines) + "\n"


def _facts(appraisal: Appraisal) -> list[str]:
    """What a TDX quote says of itself, in a few lines; nothing for other evidence."""
    if appraisal.quote is None:
        return []
    quote, pck = appraisal.quote, appraisal.quote["pck"]
    assert isinstance(pck, dict)
    lines = [
        f"TDX quote {quote['version']}, TD report {quote['tdReport']}, "
        f"FMSPC {pck['fmspc']}, PPID {pck['ppid']}, {pck['ca'] or 'unknown'} CA"
    ]
    if (tcb := appraisal.tcb) is not None:
        said = tcb.to_json()
        halves = [f"{name} {said[name]}" for name in ("platform", "module", "qe", "launch", "current") if said[name]]
        lines.append(f"TCB {tcb.status} ({', '.join(halves)}), TCB date {said['tcbDate']}")
        if tcb.advisories:
            lines.append(f"advisories {' '.join(tcb.advisories)}")
        short = appraisal.explanation.get("tcb")
        lines += [f"  {sentence}" for sentence in (short["sentences"] if isinstance(short, dict) else ())]
    return lines if appraisal.authentic else [f"{line} (not verified)" for line in lines]


def _report_data(text: str) -> bytes:
    size = len(text) // 2
    if not 1 <= size <= 64:
        raise FormatError("REPORTDATA", "must be 1 to 64 bytes in hex")
    return unhex(text, size, what="REPORTDATA").ljust(64, b"\0")


def _digest(text: str) -> bytes:
    return unhex(text, 32, what="digest")


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


def _time(text: str) -> datetime:
    return parse_time(text, what="time")


def _argument(name: str, parse: Any, text: str) -> Any:
    try:
        return parse(text)
    except PlutoError as error:
        raise UsageError(f"{name}: {error}") from error
