"""Fetches evidence from the machine over TLS and appraises it against what the build predicts.

The machine's certificate is its own; no authority vouches for it. The evidence does: it is bound to the key that the
connection was seen to use, and to a nonce made here. So the certificate is not checked, and the evidence always is.
"""

from __future__ import annotations

import hashlib
import http.client
import ssl
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pluto_measure.appraise import Appraisal, verify_evidence
from pluto_measure.command import counted
from pluto_measure.errors import RefusedError, SourceError, VerificationError
from pluto_measure.findings import Finding
from pluto_measure.measurements import Measurements
from pluto_measure.policy import Policy

LARGEST: Final = 4 << 20  # bytes of an evidence envelope
MAX_AGE: Final = 300  # seconds; evidence is made when we ask for it
CLOCK_SKEW: Final = 60


@dataclass(frozen=True, slots=True)
class Seen:
    """What came over one connection: the evidence, and SHA-256 of the key that served it (DER)."""

    evidence: bytes
    key_digest: bytes


class NotAttestedError(RefusedError):
    """The machine's evidence was refused. `findings`: those that refused."""

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        self.findings = [finding.to_json() for finding in findings]
        super().__init__(summary(findings))


class NotAuthenticError(VerificationError):
    """What the machine sent is not evidence of anything. `findings`: those that failed."""

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        self.findings = [finding.to_json() for finding in findings]
        super().__init__(summary(findings))


def fetch(host: str, port: int, nonce: bytes, *, timeout: float) -> Seen:
    """GET /v1/evidence with `nonce`. SourceError if the machine does not answer as it should."""
    connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=_context())
    try:
        connection.connect()
        key = _key_digest(connection.sock)
        connection.request("GET", f"/v1/evidence?nonce={nonce.hex()}")
        answer = connection.getresponse()
        body = answer.read(LARGEST + 1)
    except (OSError, http.client.HTTPException) as error:
        raise SourceError(f"port {port}: no evidence: {str(error) or type(error).__name__}") from error
    finally:
        connection.close()
    if answer.status != 200:
        raise SourceError(f"port {port}: the notary answered {answer.status} to a request for evidence")
    if len(body) > LARGEST:
        raise SourceError(f"port {port}: the evidence is larger than {LARGEST} bytes")
    return Seen(body, key)


def local_policy(*, config_digest: bytes, allow_debug: bool) -> Policy:
    """What `local` accepts: its own software TPM, the configuration that it gave, the reference that it computed."""
    return Policy(
        platforms=("qemu-vtpm",),
        evidence_types=("tpm",),
        insecure_software_tpm=True,
        ak_trust=(),
        machines="any",
        allow_debug=allow_debug,
        allow_unsigned_reference=True,
        minimum_sequence="any",
        max_evidence_age=MAX_AGE,
        clock_skew=CLOCK_SKEW,
        config_digest=config_digest,
        outer_key_digest="required",
    )


def appraise(seen: Seen, reference: Measurements, policy: Policy, *, at: datetime, nonce: bytes) -> Appraisal:
    """The appraisal of accepted evidence. Raises NotAttestedError or NotAuthenticError for all other."""
    appraisal = verify_evidence(seen.evidence, [reference], policy, at, nonce, seen.key_digest)
    if appraisal.accepted:
        return appraisal
    raise (NotAttestedError if appraisal.authentic else NotAuthenticError)(appraisal.failures)


def summary(findings: tuple[Finding, ...]) -> str:
    """One sentence for many findings: the log tells most, so its first difference stands first."""
    first = next((f for f in findings if f.id.startswith("log.events.")), findings[0])
    more = f" (and {counted(len(findings) - 1, 'more finding')})" if len(findings) > 1 else ""
    return f"the machine is not what was built: {first.id}: {first.text}{more}"


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def _key_digest(connection: object) -> bytes:
    certificate = connection.getpeercert(binary_form=True) if isinstance(connection, ssl.SSLSocket) else None
    try:
        key = x509.load_der_x509_certificate(certificate or b"").public_key()
    except ValueError as error:
        raise SourceError("the machine's certificate cannot be read") from error
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
