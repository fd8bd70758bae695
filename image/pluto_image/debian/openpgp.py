"""Checks the signature and the time of a Debian InRelease file. There is no way to skip either.

Keys lie in the definition's keys/ folder, one armoured certificate per file, named FINGERPRINT.asc; the definition
lists for each archive the fingerprints that may sign it. The OpenPGP library (Sequoia) is imported when needed only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from pluto_image.debian.archive import Release, parse_release
from pluto_image.errors import SignatureRefusedError
from pluto_measure.errors import FormatError, UsageError

LARGEST: Final = 4 * 1024 * 1024  # bytes; trixie's is 140 kB
_SKEW: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class SignedRelease:
    """A Release file whose signature holds. `signed_by`: fingerprints of the pinned certificates that signed it."""

    release: Release
    signed_by: tuple[str, ...]


def load_keys(folder: Path, fingerprints: tuple[str, ...]) -> Mapping[str, bytes]:
    """The certificates with these fingerprints from a keys/ folder. Raises UsageError if one is missing."""
    found = {}
    for fingerprint in fingerprints:
        path = folder / f"{fingerprint}.asc"
        if not path.is_file():
            raise UsageError(f"key {fingerprint} is pinned, but {path} does not exist")
        found[fingerprint] = path.read_bytes()
    return found


def verify_release(data: bytes, *, archive: str, keys: Mapping[str, bytes]) -> SignedRelease:
    """Check an InRelease file against pinned certificates, by fingerprint.

    1. Every certificate has the fingerprint under which it is pinned.
    2. At least one valid signature was made by one of them; signatures by others count for nothing.
    3. Only the signed text is parsed: what stands around the signed part is not seen.
    Raises SignatureRefusedError (1, 2), FormatError (3). The time is a matter of `check_time`.
    """
    import pysequoia

    if len(data) > LARGEST:
        raise FormatError(f"InRelease of {archive}", f"{len(data)} bytes are more than {LARGEST}")
    certificates = [_certificate(pysequoia, raw, fingerprint, archive) for fingerprint, raw in keys.items()]
    try:
        result = pysequoia.verify(bytes=data, store=lambda _: certificates)
    except Exception as error:  # the library raises bare RuntimeErrors: all mean "no"
        raise SignatureRefusedError(archive, f"not signed by a pinned key: {_first_line(error)}") from error
    signers = tuple(sorted({str(one.certificate) for one in result.valid_sigs} & set(keys)))
    if not signers or result.bytes is None:
        raise SignatureRefusedError(archive, "not signed by a pinned key")
    return SignedRelease(parse_release(bytes(result.bytes), what=f"InRelease of {archive}"), signers)


def check_time(release: Release, *, archive: str, at: datetime, not_before: datetime | None) -> None:
    """Refuse a Release file that is expired or from the future at `at`, or older than `not_before`.

    `not_before` is the date of the state that was locked before: a mirror must not take us back.
    """
    if release.valid_until is not None and at > release.valid_until:
        raise SignatureRefusedError(archive, f"expired at {release.valid_until:%Y-%m-%dT%H:%M:%SZ}")
    if release.date > at + _SKEW:
        raise SignatureRefusedError(archive, f"dated {release.date:%Y-%m-%dT%H:%M:%SZ}, which is in the future")
    if not_before is not None and release.date < not_before:
        raise SignatureRefusedError(
            archive, f"dated {release.date:%Y-%m-%dT%H:%M:%SZ}, older than the locked {not_before:%Y-%m-%dT%H:%M:%SZ}"
        )


def _certificate(library: Any, raw: bytes, fingerprint: str, archive: str) -> Any:
    try:
        certificate = library.Cert.from_bytes(raw)
    except Exception as error:
        raise SignatureRefusedError(archive, f"key {fingerprint} cannot be read: {_first_line(error)}") from error
    if certificate.fingerprint != fingerprint:
        raise SignatureRefusedError(archive, f"key {fingerprint} has the fingerprint {certificate.fingerprint}")
    if certificate.is_revoked:
        raise SignatureRefusedError(archive, f"key {fingerprint} is revoked")
    return certificate


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0][:200] or type(error).__name__
