"""`pluto-measure verify`: verify and appraise one piece of evidence. Reads files and the clock; decides nothing."""

from __future__ import annotations

import argparse
import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pluto_measure.command import Result
from pluto_measure.errors import FormatError, PlutoError, UsageError
from pluto_measure.evidence import ENVELOPE_LIMIT, parse_nonce, parse_time
from pluto_measure.formats.strict_json import unhex

if TYPE_CHECKING:
    from pluto_measure.appraise import Appraisal

_REFERENCE_LIMIT: Final = 64 * 1024 * 1024
_POLICY_LIMIT: Final = 1024 * 1024
_CERTIFICATE_LIMIT: Final = 1024 * 1024
_MARKS: Final = {"pass": "ok     ", "warning": "WARNING", "fail": "REFUSED"}


def add(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command to pluto-measure."""
    sub = subparsers.add_parser(
        "verify",
        help="verify evidence and appraise it against reference values and a policy",
        description="Verify one evidence envelope: its signature, its binding to your nonce and to the TLS key you "
        "saw, its registers and its whole event log. Exit code 0 accepted, 3 malformed, 4 not authentic, 5 refused. "
        "What you do not give is refused, not skipped.",
    )
    sub.add_argument("evidence", metavar="EVIDENCE", type=Path, help="the envelope (JSON), as the machine sent it")
    sub.add_argument(
        "--reference",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="measurements.json of a build that you accept; may be given several times",
    )
    sub.add_argument("--policy", metavar="FILE", type=Path, help="the appraisal policy (TOML)")
    sub.add_argument("--nonce", metavar="HEX", help="the nonce that you sent to the machine")
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
    sub.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    sub.set_defaults(run=verify)


def verify(arguments: argparse.Namespace) -> Result:
    """Verify and appraise; the document is the appraisal."""
    # Imported here: `cryptography` takes longer to load than the other commands take to run.
    from pluto_measure.appraise import verify_evidence
    from pluto_measure.measurements import Measurements
    from pluto_measure.policy import Policy

    nonce = None if arguments.nonce is None else _argument("--nonce", parse_nonce, arguments.nonce)
    key = None if arguments.key_digest is None else _argument("--key-digest", _digest, arguments.key_digest)
    if arguments.tls_certificate is not None:
        key = _key_digest(arguments.tls_certificate)
    at = datetime.now(UTC) if arguments.at is None else _argument("--at", _time, arguments.at)
    references = [Measurements.parse(_read(path, _REFERENCE_LIMIT)) for path in arguments.reference]
    policy = None if arguments.policy is None else Policy.parse(_read(arguments.policy, _POLICY_LIMIT))
    raw = _read(arguments.evidence, ENVELOPE_LIMIT)
    appraisal = verify_evidence(raw, references, policy, at, nonce, key)
    return Result(appraisal.to_json(), _text(appraisal), appraisal.exit_code)


def _text(appraisal: Appraisal) -> str:
    lines = []
    for finding in appraisal.findings:
        lines.append(f"{_MARKS[finding.verdict]}  {finding.id}: {finding.text}")
        if finding.verdict == "fail":
            lines += [
                f"           {name} {value}"
                for name, value in (("expected", finding.expected), ("actual", finding.actual))
                if value is not None
            ]
    refused = len(appraisal.failures)
    verdict = "not authentic" if not appraisal.authentic else "accepted" if appraisal.accepted else "refused"
    against = f" against {appraisal.profile}" if appraisal.profile else ""
    lines.append(f"{verdict}{against}: {len(appraisal.findings)} checks, {refused} refused")
    return "\n".join(lines) + "\n"


def _digest(text: str) -> bytes:
    return unhex(text, 32, what="digest")


def _key_digest(path: Path) -> bytes:
    """SHA-256 of the key (SubjectPublicKeyInfo, DER) of the first certificate in a PEM file."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    _, begin, rest = _read(path, _CERTIFICATE_LIMIT).partition(b"-----BEGIN CERTIFICATE-----")
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


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    if len(data) > limit:
        raise UsageError(f"{path}: longer than {limit} bytes")
    return data
