"""Signatures without a key of one's own: Sigstore's bundles, verified offline, and made in CI.

The only module that loads `sigstore` (extra `publish`), and only inside its functions: that takes 0.3 seconds. Sigstore
client specification, "verification". The library verifies certificate, SCT, inclusion proof, checkpoint, promise,
timestamp and signature, and that the log's entry is of this envelope. Before it, `sigstore_bundle` refuses every form
but two, and here is refused what the library lets pass: a checkpoint of another origin, keys and authorities outside of
their time, and a timestamp that does not hold beside a promise that does. Each source of time is verified alone.

Nothing decides here who may sign: `pluto_measure.publish.certificate.fits` does. No network, no cache, no clock, except
in `sign`. Rules and reasons: docs/formats/signatures.md.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509

from pluto_measure.errors import FormatError, SourceError, UsageError, VerificationError
from pluto_measure.evidence import format_time
from pluto_measure.publish.sigstore_bundle import LARGEST_PAYLOAD, WHAT, SigstoreBundle
from pluto_measure.publish.sigstore_root import WHAT as ROOT
from pluto_measure.publish.sigstore_root import TrustedRoot

if TYPE_CHECKING:
    from sigstore.models import Bundle
    from sigstore.verify import Verifier

_SIGNING_CONFIG: Final = {"mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json"}
_TRUST_CONFIG: Final = "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json"
# What the library says when a step fails, by its first words: our word for the step, and our sentence.
_STEPS: Final = (
    ("not enough sources of verified time", "timestamp", "the timestamp is of no authority of the root"),
    ("no Timestamp Authorities", "timestamp", "the root has no timestamp authority of that time"),
    ("failed to build timestamp certificate chain", "certificate", "the certificate is of no authority of the root"),
    ("failed to verify SCT", "sct", "the certificate is not in a certificate log of the root (SCT)"),
    ("Key usage", "certificate", "the certificate is not for signatures"),
    ("Extended usage", "certificate", "the certificate is not for code signing"),
    ("invalid log entry: inclusion proof", "inclusion", "the inclusion proof does not lead to the checkpoint's root"),
    ("invalid log entry: checkpoint", "checkpoint", "the checkpoint is not signed by the log"),
    ("invalid log entry: SET", "promise", "the promise (SET) is not signed by the log"),
    ("DSSE: invalid signature", "signature", "the envelope is not signed with the certificate's key"),
    ("log entry", "entry", "the log's entry is of another envelope"),
    ("transparency log entry is inconsistent", "entry", "the log's entry is of another envelope"),
    ("invalid DSSE log entry", "entry", "the log's entry is not one of an envelope"),
)


@dataclass(frozen=True, slots=True)
class Keyless:
    """A statement that somebody signed, in a log, with a certificate of the root's authority. Who: `certificate`, DER.

    `signed_at`: when it existed at the latest, by the log or by a timestamp authority, whichever is earlier.
    """

    payload_type: str
    payload: bytes
    certificate: bytes
    signed_at: datetime


def verify(bundle: bytes, *, root: bytes | None) -> Keyless:
    """Open one bundle. `root`: a trusted_root.json; None for the public Sigstore, as the library carries it.

    FormatError for a bundle (or root) in no form of ours, VerificationError ("sigstore.STEP: ...") for one that does
    not hold, UsageError without the library.
    """
    return opener(root)(bundle)


def opener(root: bytes | None) -> Callable[[bytes], Keyless]:
    """The same for many bundles. A root of one's own is read at once; the library is loaded for the first bundle."""
    roots = [] if root is None else [TrustedRoot.parse(root)]

    def open_bundle(bundle: bytes) -> Keyless:
        parsed = SigstoreBundle.parse(bundle)
        if not roots:
            roots.append(TrustedRoot.parse(_carried_root()))
        return _verified(parsed, roots[0])

    return open_bundle


def sign(payload: bytes) -> bytes:
    """A bundle around an in-toto statement, signed in the name of the CI job that this runs in. Needs the network.

    FormatError for what is no statement or too large, UsageError without a job, SourceError if a service fails.
    """
    _load()
    if len(payload) > LARGEST_PAYLOAD:
        raise FormatError("statement", f"{len(payload)} bytes are more than {LARGEST_PAYLOAD}, which a bundle can hold")
    from sigstore.dsse import Statement
    from sigstore.errors import Error
    from sigstore.models import ClientTrustConfig
    from sigstore.oidc import IdentityToken
    from sigstore.sign import SigningContext

    try:
        statement = Statement(payload)
    except Error as error:
        raise FormatError("statement", "is no in-toto statement v1") from error
    token = _job_token()
    try:
        context = SigningContext.from_trust_config(ClientTrustConfig.production())
        with context.signer(IdentityToken(token)) as signer:
            return signer.sign_dsse(statement).to_json().encode()
    except Exception as error:  # the services' clients share no base class
        raise SourceError(f"Sigstore did not sign: {_first_line(error)}") from error


def _job_token() -> str:
    from sigstore.oidc import IdentityError, detect_credential

    try:
        token = detect_credential()
    except IdentityError as error:
        raise SourceError(f"the job's credentials cannot be had: {_first_line(error)}") from error
    if token is None:
        raise UsageError(
            "there are no credentials of a job here: keyless signing works in CI alone",
            hint="pluto-measure sign STATEMENT --key FILE",
        )
    return token


class _Anybody:
    """Whose signature it is, `certificate.fits` decides."""

    def verify(self, cert: x509.Certificate) -> None:
        """Accept every signer."""


def _verified(bundle: SigstoreBundle, root: TrustedRoot) -> Keyless:
    log_id = base64.b64encode(bundle.entry.log_id).decode()
    opened: list[tuple[datetime, str, bytes]] = []
    for instant, document in _by_each_time(bundle):
        _check_certificate_time(bundle.certificate, instant)
        valid_then, name = root.at(log_id, instant)
        if problem := bundle.entry.checkpoint.problem(bundle.entry.log_id, name, bundle.entry.rekor):
            raise VerificationError(f"sigstore.checkpoint: {problem}")
        opened.append((instant, *_by_library(document, valid_then)))
    signed_at, payload_type, payload = min(opened)
    return Keyless(payload_type, payload, bundle.certificate, signed_at)


def _by_each_time(bundle: SigstoreBundle) -> Iterator[tuple[datetime, dict[str, Any]]]:
    """Each time that the bundle claims, and the bundle with that as its only source of time."""
    if bundle.entry.integrated_at is not None:
        yield bundle.entry.integrated_at, bundle.by_promise()
    if bundle.has_timestamp:
        document = bundle.by_timestamp()
        yield _timestamp(_parsed(document)), document


def _timestamp(bundle: Bundle) -> datetime:
    """The time of the one timestamp, which is not verified yet."""
    try:
        stamps = bundle.verification_material.timestamp_verification_data
        assert stamps is not None  # a bundle without one does not get here
        return stamps.rfc3161_timestamps[0].tst_info.gen_time
    except Exception as error:  # as below
        raise FormatError(WHAT, f"holds what is no timestamp: {_first_line(error)}") from error


def _check_certificate_time(der: bytes, instant: datetime) -> None:
    try:
        certificate = x509.load_der_x509_certificate(der)
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    except (ValueError, x509.InvalidVersion) as error:
        raise FormatError(WHAT, f"holds what is no certificate: {error}") from error
    if not begin <= instant <= end:
        period = f"{format_time(begin)} to {format_time(end)}"
        raise VerificationError(f"sigstore.time: signed at {format_time(instant)}, with a certificate for {period}")


def _by_library(document: dict[str, Any], root: dict[str, Any]) -> tuple[str, bytes]:
    """Payload type and payload, if the library finds that everything holds."""
    parsed, verifier = _parsed(document), _verifier(json.dumps(root))
    try:
        payload_type, payload = verifier.verify_dsse(parsed, _Anybody())
    except Exception as error:  # hostile bytes raise whatever they like, and none of it is a yes
        raise _refusal(error) from error
    return str(payload_type), bytes(payload)


def _parsed(document: dict[str, Any]) -> Bundle:
    _load()
    from sigstore.models import Bundle

    try:
        return Bundle.from_json(json.dumps(document))
    except Exception as error:  # as above
        raise FormatError(WHAT, f"cannot be read: {_first_line(error)}") from error


@lru_cache(maxsize=4)  # one root is nearly the same at every instant
def _verifier(root: str) -> Verifier:
    from sigstore.models import ClientTrustConfig
    from sigstore.verify import Verifier

    config = {"mediaType": _TRUST_CONFIG, "trustedRoot": json.loads(root), "signingConfig": _SIGNING_CONFIG}
    try:
        return Verifier(trusted_root=ClientTrustConfig.from_json(json.dumps(config)).trusted_root)
    except Exception as error:  # as above
        raise FormatError(ROOT, f"cannot be read: {_first_line(error)}") from error


def _carried_root() -> bytes:
    _load()
    from sigstore._internal.tuf import DEFAULT_TUF_URL
    from sigstore._utils import read_embedded

    return read_embedded("trusted_root.json", DEFAULT_TUF_URL)


def _load() -> None:
    try:
        import sigstore.verify  # noqa: F401
    except ImportError as error:
        raise UsageError("keyless signatures need sigstore", hint="pip install 'pluto-tee[publish]'") from error


def _refusal(error: Exception) -> VerificationError:
    said = str(error)
    for begin, step, sentence in _STEPS:
        if said.startswith(begin):
            return VerificationError(f"sigstore.{step}: {sentence}")
    return VerificationError(f"sigstore.other: {type(error).__name__}: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]
