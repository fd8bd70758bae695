"""What the server asks of evidence, and a provider for development that proves nothing. Pure apart from the wait."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Protocol

from pluto_measure.evidence import VERSION, Claims, Envelope, TpmEvidence, binding, format_time
from pluto_measure.record import record
from pluto_notary.evidence.messages import NodeRequest, TpmParts


@record
class Issue:
    """What the server adds to every piece of evidence: its epoch, its word about the time, its build (32 bytes)."""

    epoch: int
    issued_at: datetime
    build_id: bytes


class EvidenceProvider(Protocol):
    """One way of this machine to prove itself."""

    async def node(self, request: NodeRequest, issue: Issue) -> dict[str, object]:
        """Fresh evidence as an envelope's JSON (docs/formats/evidence.md). EvidenceError if there is none."""
        ...


class InsecureProvider:
    """Stands in for a trust domain, for development. Its envelopes prove nothing: no verifier knows their type."""

    def __init__(self, config_digest: bytes) -> None:
        self._config_digest = config_digest

    async def node(self, request: NodeRequest, issue: Issue) -> dict[str, object]:
        claims = Claims("node", request.nonce, self._config_digest, request.outer_key_digest, issue.build_id)
        bound = binding("node", (request.nonce, self._config_digest, request.outer_key_digest))
        return {
            "type": "insecure",
            "version": VERSION,
            "platform": "none",
            "freshness": {"epoch": issue.epoch, "issuedAt": format_time(issue.issued_at)},
            "evidence": {"binding": base64.b64encode(bound).decode()},
            "logs": {},
            "claims": claims.to_json(),
        }


def tpm_envelope(request: NodeRequest, issue: Issue, parts: TpmParts, *, platform: str) -> Envelope:
    """The envelope of TPM evidence."""
    return Envelope(
        platform=platform,
        epoch=issue.epoch,
        issued_at=issue.issued_at,
        evidence=TpmEvidence(parts.quote, parts.ak_public, parts.ak_certificates, parts.log),
        claims=Claims("node", request.nonce, parts.config_digest, request.outer_key_digest, issue.build_id),
    )
