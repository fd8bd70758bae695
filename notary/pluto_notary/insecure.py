"""Evidence for development that proves nothing. No image carries this module, and no verifier knows its type.

tests/notary/evidence/test_insecure.py shows both.
"""

from __future__ import annotations

import base64

from pluto_measure.evidence import VERSION, ChannelClaims, format_time
from pluto_notary.evidence.provider import Issue
from pluto_notary.evidence.requests import EvidenceRequest, NodeRequest


class InsecureProvider:
    """Stands in for a trust domain. Its envelopes are refused by all."""

    def __init__(self, config_digest: bytes) -> None:
        self._config_digest = config_digest

    async def node(self, request: NodeRequest, issue: Issue) -> dict[str, object]:
        """An envelope's JSON for the purpose `node`."""
        return await self.evidence(request, issue)

    async def evidence(self, request: EvidenceRequest, issue: Issue) -> dict[str, object]:
        """An envelope's JSON, of the type `insecure`."""
        claims = request.claims(self._config_digest, issue.build_id)
        epoch = claims.epoch if isinstance(claims, ChannelClaims) else issue.epoch
        return {
            "type": "insecure",
            "version": VERSION,
            "platform": "none",
            "freshness": {"epoch": epoch, "issuedAt": format_time(issue.issued_at)},
            "evidence": {"binding": base64.b64encode(claims.binding()).decode()},
            "logs": {},
            "claims": claims.to_json(),
        }
