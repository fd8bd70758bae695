"""What evidence of clouds' machines needs beside a policy: options and the files that they name. Reads files."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pluto_measure.commands import files
from pluto_measure.errors import FormatError

if TYPE_CHECKING:
    from pluto_measure.appraise.request import SpaceInputs

NAMES: Final = ("endorsement", "ak_issuers", "google_keys")
_BEGIN: Final = b"-----BEGIN CERTIFICATE-----"
_ISSUERS_LIMIT: Final = 1024 * 1024


def add(sub: argparse.ArgumentParser) -> None:
    """Add the options."""
    sub.add_argument(
        "--endorsement",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="Google's launch endorsement of the firmware of its machine; may be given several times",
    )
    sub.add_argument(
        "--ak-issuers",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="certificates that lead from the TPM's key of an Azure machine to Microsoft's root, and the root (PEM, or "
        "one in DER); may be given several times",
    )
    sub.add_argument(
        "--google-keys",
        metavar="FILE",
        type=Path,
        help="Google's keys, for tokens of Confidential Space without a chain: a file of "
        "'pluto-measure collateral google-keys'",
    )


def read_issuers(paths: Sequence[Path]) -> tuple[bytes, ...]:
    """The certificates (DER) of all files, in their order, each once. UsageError; FormatError for what is none."""
    found = [der for path in paths for der in _certificates(path)]
    return tuple(dict.fromkeys(found))


def space_inputs(google_keys: Path | None) -> SpaceInputs:
    """What a token is judged by. UsageError, FormatError."""
    # Imported here, as nothing of tokens is needed for any other evidence.
    from pluto_measure.appraise.request import NO_SPACE, SpaceInputs
    from pluto_measure.formats.jwks import LARGEST, JwksDocument

    if google_keys is None:
        return NO_SPACE
    data = files.read(google_keys, what="key set", limit=LARGEST)
    with files.naming("key set", google_keys):
        return SpaceInputs(keys=JwksDocument.parse(data))


def _certificates(path: Path) -> list[bytes]:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    data = files.read(path, what="AK issuers", limit=_ISSUERS_LIMIT)
    try:
        if _BEGIN not in data:
            return [x509.load_der_x509_certificate(data).public_bytes(Encoding.DER)]
        return [one.public_bytes(Encoding.DER) for one in x509.load_pem_x509_certificates(data)]
    except ValueError as error:
        raise FormatError(f"AK issuers {path}", "holds no certificates in PEM, and is none in DER") from error
