"""What the caller of `pluto-measure verify` asked the machine for, and saw of it: the options, and the same read."""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from pluto_measure.commands import files
from pluto_measure.commands.values import argument, time_or_now
from pluto_measure.errors import FormatError
from pluto_measure.evidence import parse_nonce
from pluto_measure.formats.strict_json import unhex

_CERTIFICATE_LIMIT: Final = 1024 * 1024


def add(sub: argparse.ArgumentParser) -> None:
    """Add the options to a command that has --at, too."""
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


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked, and as of when."""

    at: datetime
    nonce: bytes | None
    key: bytes | None
    report_data: bytes | None


def read(arguments: argparse.Namespace) -> Asked:
    """UsageError for a value that cannot be read, FormatError for a file that holds no certificate."""
    key = None if arguments.key_digest is None else argument("--key-digest", _digest, arguments.key_digest)
    if arguments.tls_certificate is not None:
        key = _key_digest(arguments.tls_certificate)
    return Asked(
        at=time_or_now("--at", arguments.at),
        nonce=None if arguments.nonce is None else argument("--nonce", parse_nonce, arguments.nonce),
        key=key,
        report_data=None
        if arguments.report_data is None
        else argument("--report-data", _report_data, arguments.report_data),
    )


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
