"""The appraisal policy: which evidence its author accepts. Pure: TOML text in, a frozen value out.

Every field is required and "any" is written out; an unknown key is an error, so that a misspelt rule cannot vanish.
Format: docs/formats/policy.md. What concerns trust domains and Intel's verdict is in `pluto_measure.policy.tdx`; a
strict policy to start from is in `pluto_measure.policy.strict`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields, unhex
from pluto_measure.policy.azure import TABLE as AZURE_TABLE
from pluto_measure.policy.azure import AzurePolicy
from pluto_measure.policy.confidential_space import TABLE as SPACE_TABLE
from pluto_measure.policy.confidential_space import ConfidentialSpacePolicy
from pluto_measure.policy.fields import ANY, Any_, digests, names, required, seconds, seconds_or_any, sequence_or_any
from pluto_measure.policy.launch_endorsement import EndorsementPolicy
from pluto_measure.policy.tdx import TdxPolicy
from pluto_measure.toml import table

VERSION: Final = 1
_INSTANCE: Final = re.compile(r"[1-9][0-9]{0,19}", re.ASCII)
PLATFORMS: Final = ("qemu-tdx", "gcp-tdx", "azure-tdx", "gcp-confidential-space", "qemu-vtpm")
EVIDENCE_TYPES: Final = ("tpm", "tdx", "azure", "confidential-space")
MACHINE_KINDS: Final = ("ppid", "platformInstance")  # and, without a kind, the digest of a TPM's attestation key
INSTANCE_KIND: Final = "gceInstance"  # of a virtual machine of Google's

__all__ = ["ANY", "EVIDENCE_TYPES", "PLATFORMS", "Any_", "Policy", "TdxPolicy", "is_machine"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What is accepted. Durations in seconds, digests of 32 bytes.

    `machines` are names: SHA-256 of the attestation key's public area in hex, or "ppid:" or "platformInstance:" and 16
    bytes in hex, from the PCK certificate, or "gceInstance:" and the number of one of Google's virtual machines.
    """

    platforms: tuple[str, ...]
    evidence_types: tuple[str, ...]
    insecure_software_tpm: bool  # accept a TPM whose key no pinned chain vouches for; it proves nothing to a stranger
    ak_trust: tuple[bytes, ...]  # SHA-256 of the DER of root certificates that vouch for attestation keys
    machines: tuple[str, ...] | Any_
    allow_debug: bool  # a debug flavour, and the attribute DEBUG of a trust domain
    allow_unsigned_reference: bool
    minimum_sequence: int | Any_  # of the release that vouches for the reference values
    max_evidence_age: int | Any_
    clock_skew: int  # how far a machine's clock, or Intel's, may run ahead of the verifier's
    config_digest: bytes | Any_
    outer_key_digest: Literal["required", "any"]  # whether the verifier must say which TLS key it saw
    tdx: TdxPolicy | None = None  # there if, and only if, evidence of type `tdx` or `azure` is accepted
    azure: AzurePolicy | None = None  # there if, and only if, evidence of type `azure` is accepted
    endorsement: EndorsementPolicy | None = None  # there if, and only if, the platform `gcp-tdx` is accepted
    confidential_space: ConfidentialSpacePolicy | None = None  # there if, and only if, evidence of that type is

    @classmethod
    def parse(cls, text: bytes | str) -> Self:
        """Parse a policy. FormatError for anything unknown, missing or of the wrong kind."""
        fields = Fields(table(text, what="policy"), what="policy")
        if (version := fields.take("version", int)) != VERSION:
            raise FormatError("policy", f"version {version} is not known")
        evidence_types = names(fields, "evidenceTypes", EVIDENCE_TYPES)
        platforms = names(fields, "platforms", PLATFORMS)
        policy = cls(
            platforms=platforms,
            evidence_types=evidence_types,
            insecure_software_tpm=fields.take("insecure_software_tpm", bool),
            ak_trust=digests(fields.take("akTrust", list), "policy", "akTrust"),
            machines=_machines(fields.take("machines", list, str)),
            allow_debug=fields.take("allowDebug", bool),
            allow_unsigned_reference=fields.take("allowUnsignedReference", bool),
            minimum_sequence=sequence_or_any(fields, "minimumSequence"),
            max_evidence_age=seconds_or_any(fields, "maxEvidenceAge"),
            clock_skew=seconds(fields, "clockSkew"),
            config_digest=_digest_or_any(fields.take("configDigest", str), "configDigest"),
            outer_key_digest=required(fields, "outerKeyDigest"),
            tdx=_tdx(fields, evidence_types),
            azure=_azure(fields, evidence_types),
            endorsement=_endorsement(fields, platforms),
            confidential_space=_confidential_space(fields, evidence_types),
        )
        fields.end()
        return policy


def _tdx(fields: Fields, evidence_types: tuple[str, ...]) -> TdxPolicy | None:
    if {"tdx", "azure"} & set(evidence_types):
        return TdxPolicy.parse(fields.sub("td"), fields.sub("tcb"))
    for name in ("td", "tcb"):
        if fields.optional(name) is not None:
            problem = f'[{name}] judges evidence of type "tdx" and "azure", neither of which evidenceTypes names'
            raise FormatError("policy", problem)
    return None


def _azure(fields: Fields, evidence_types: tuple[str, ...]) -> AzurePolicy | None:
    if "azure" in evidence_types:
        return AzurePolicy.parse(fields.sub(AZURE_TABLE))
    if fields.optional(AZURE_TABLE) is not None:
        problem = f'[{AZURE_TABLE}] judges evidence of type "azure", which evidenceTypes does not name'
        raise FormatError("policy", problem)
    return None


def _endorsement(fields: Fields, platforms: tuple[str, ...]) -> EndorsementPolicy | None:
    if "gcp-tdx" in platforms:
        return EndorsementPolicy.parse(fields.sub("endorsement"))
    if fields.optional("endorsement") is not None:
        raise FormatError("policy", '[endorsement] judges the platform "gcp-tdx", which platforms does not name')
    return None


def _confidential_space(fields: Fields, evidence_types: tuple[str, ...]) -> ConfidentialSpacePolicy | None:
    if "confidential-space" in evidence_types:
        return ConfidentialSpacePolicy.parse(fields.sub(SPACE_TABLE))
    if fields.optional(SPACE_TABLE) is not None:
        problem = f'[{SPACE_TABLE}] judges evidence of type "confidential-space", which evidenceTypes does not name'
        raise FormatError("policy", problem)
    return None


def _machines(value: list[Any] | str) -> tuple[str, ...] | Any_:
    if value == ANY:
        return "any"
    if isinstance(value, str) or not value:
        raise FormatError("policy", 'machines must be "any" or a list of names that is not empty')
    return tuple(_machine(item) for item in value)


def is_machine(name: str) -> bool:
    """Whether it is the name of a machine, as `machines` has them."""
    try:
        return _machine(name) == name
    except FormatError:
        return False


def _machine(value: Any) -> str:
    if not isinstance(value, str):
        raise FormatError("policy", f"machines must hold text, not {type(value).__name__}")
    kind, colon, number = value.rpartition(":")
    if not colon:
        return unhex(value, 32, what="policy.machines[]").hex()
    if kind == INSTANCE_KIND:
        if not _INSTANCE.fullmatch(number):
            raise FormatError("policy", f"machines has {value[:80]!r}, which is no number of an instance")
        return value
    if kind not in MACHINE_KINDS:
        known = ", ".join((*MACHINE_KINDS, INSTANCE_KIND))
        raise FormatError("policy", f"machines has {value!r}, whose kind is not one of {known}")
    unhex(number, 16, what=f"policy.machines[] {kind}")
    return value


def _digest_or_any(value: str, name: str) -> bytes | Any_:
    return "any" if value == ANY else unhex(value, 32, what=f"policy.{name}")
