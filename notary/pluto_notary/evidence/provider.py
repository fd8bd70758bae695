"""What the server asks of evidence, and the envelope that the helper's answer becomes. Pure apart from the wait."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Protocol

from pluto_measure.evidence import AnyEvidence, AzureEvidence, Envelope, TdxEvidence, TokenEvidence, TpmEvidence
from pluto_measure.record import record
from pluto_notary.evidence.parts import AzureParts, Parts, TdxParts, TpmParts
from pluto_notary.evidence.requests import ChannelRequest, EvidenceRequest, NodeRequest

GOOGLE: Final = "Google"  # what Google's machines say in DMI's sys_vendor
_PLATFORMS: Final[Mapping[str, str]] = {
    "tpm": "qemu-vtpm",
    "tdx": "qemu-tdx",
    "azure": "azure-tdx",
    "confidential-space": "gcp-confidential-space",
}


@record
class Issue:
    """What the server adds to every piece of evidence: its epoch, its word about the time, its build (32 bytes)."""

    epoch: int
    issued_at: datetime
    build_id: bytes


class EvidenceProvider(Protocol):
    """One way of this machine to prove itself to a caller with a nonce."""

    async def node(self, request: NodeRequest, issue: Issue) -> dict[str, object]:
        """Fresh evidence as an envelope's JSON (docs/formats/evidence.md). EvidenceError if there is none."""
        ...


class Provider(EvidenceProvider, Protocol):
    """The same for every purpose."""

    async def evidence(self, request: EvidenceRequest, issue: Issue) -> dict[str, object]:
        """Fresh evidence as an envelope's JSON. EvidenceError if there is none."""
        ...


def envelope_of(request: EvidenceRequest, issue: Issue, parts: Parts, *, vendor: str = "") -> Envelope:
    """The envelope of what the helper gave for `request`. `vendor`: DMI's sys_vendor, the host's word."""
    epoch = request.epoch if isinstance(request, ChannelRequest) else issue.epoch
    return Envelope(
        platform=platform_of(parts.type, vendor),
        epoch=epoch,
        issued_at=issue.issued_at,
        evidence=_evidence(parts),
        claims=request.claims(parts.config_digest, issue.build_id),
    )


def tpm_envelope(request: EvidenceRequest, issue: Issue, parts: TpmParts, *, platform: str) -> Envelope:
    """The envelope of TPM evidence of a platform that is named."""
    evidence = _evidence(parts)
    claims = request.claims(parts.config_digest, issue.build_id)
    return Envelope(platform, issue.epoch, issue.issued_at, evidence, claims)


def platform_of(kind: str, vendor: str) -> str:
    """Which profiles apply, by the type of evidence and DMI's sys_vendor. Only a hint: registers decide."""
    return "gcp-tdx" if kind == "tdx" and vendor == GOOGLE else _PLATFORMS[kind]


def _evidence(parts: Parts) -> AnyEvidence:
    if isinstance(parts, TpmParts):
        return TpmEvidence(parts.quote, parts.ak_public, parts.ak_certificates, parts.log)
    if isinstance(parts, TdxParts):
        return TdxEvidence(parts.quote, parts.log)
    if isinstance(parts, AzureParts):
        certificates = (parts.ak_certificate,) if parts.ak_certificate else ()
        return AzureEvidence(parts.hcl_report, parts.td_quote, parts.quote, certificates, parts.log)
    return TokenEvidence(parts.token)
