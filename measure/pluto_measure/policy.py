"""The appraisal policy: which evidence its author accepts. Pure: TOML text in, a frozen value out.

Every field is required and "any" is written out; an unknown key is an error, so that a misspelt rule cannot vanish.
Format: docs/formats/policy.md.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields, unhex

VERSION: Final = 1
PLATFORMS: Final = ("qemu-tdx", "gcp-tdx", "azure-tdx", "gcp-confidential-space", "qemu-vtpm")
EVIDENCE_TYPES: Final = ("tpm",)
ANY: Final = "any"
Any_ = Literal["any"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What is accepted. Durations in seconds, digests of 32 bytes."""

    platforms: tuple[str, ...]
    evidence_types: tuple[str, ...]
    insecure_software_tpm: bool  # accept a TPM whose key no pinned chain vouches for; it proves nothing to a stranger
    ak_trust: tuple[bytes, ...]  # SHA-256 of the DER of root certificates that vouch for attestation keys
    machines: tuple[bytes, ...] | Any_  # SHA-256 of the attestation key's public area
    allow_debug: bool
    allow_unsigned_reference: bool
    max_evidence_age: int | Any_
    clock_skew: int  # how far a machine's clock may run ahead of the verifier's
    config_digest: bytes | Any_
    outer_key_digest: Literal["required", "any"]  # whether the verifier must say which TLS key it saw

    @classmethod
    def parse(cls, text: bytes | str) -> Self:
        """Parse a policy. FormatError for anything unknown, missing or of the wrong kind."""
        fields = Fields(_toml(text), what="policy")
        if (version := fields.take("version", int)) != VERSION:
            raise FormatError("policy", f"version {version} is not known")
        policy = cls(
            platforms=_names(fields, "platforms", PLATFORMS),
            evidence_types=_names(fields, "evidenceTypes", EVIDENCE_TYPES),
            insecure_software_tpm=fields.take("insecure_software_tpm", bool),
            ak_trust=_digests(fields.take("akTrust", list), "akTrust"),
            machines=_machines(fields.take("machines", list, str)),
            allow_debug=fields.take("allowDebug", bool),
            allow_unsigned_reference=fields.take("allowUnsignedReference", bool),
            max_evidence_age=_age(fields.take("maxEvidenceAge", int, str)),
            clock_skew=_seconds(fields.take("clockSkew", int), "clockSkew"),
            config_digest=_digest_or_any(fields.take("configDigest", str), "configDigest"),
            outer_key_digest=_outer_key(fields.take("outerKeyDigest", str)),
        )
        fields.end()
        return policy


def _toml(text: bytes | str) -> dict[str, Any]:
    try:
        return tomllib.loads(text.decode() if isinstance(text, bytes) else text)
    except (ValueError, RecursionError) as error:
        raise FormatError("policy", f"not TOML: {error}") from error


def _names(fields: Fields, name: str, known: tuple[str, ...]) -> tuple[str, ...]:
    values = fields.take(name, list)
    if not values:
        raise FormatError("policy", f"{name} is empty; name what is accepted")
    for value in values:
        if value not in known:
            raise FormatError("policy", f"{name} has {value!r}, which is not one of {', '.join(known)}")
    if len(set(values)) != len(values):
        raise FormatError("policy", f"{name} names something twice")
    return tuple(values)


def _digests(values: list[Any], name: str) -> tuple[bytes, ...]:
    for value in values:
        if not isinstance(value, str):
            raise FormatError("policy", f"{name} must hold text, not {type(value).__name__}")
    return tuple(unhex(value, 32, what=f"policy.{name}[]") for value in values)


def _machines(value: list[Any] | str) -> tuple[bytes, ...] | Any_:
    if value == ANY:
        return "any"
    if isinstance(value, str) or not value:
        raise FormatError("policy", 'machines must be "any" or a list of digests that is not empty')
    return _digests(value, "machines")


def _age(value: int | str) -> int | Any_:
    if value == ANY:
        return "any"
    if isinstance(value, str):
        raise FormatError("policy", 'maxEvidenceAge must be "any" or a number of seconds')
    return _seconds(value, "maxEvidenceAge")


def _seconds(value: int, name: str) -> int:
    if not 0 <= value <= 10 * 366 * 86400:
        raise FormatError("policy", f"{name} of {value} seconds is out of range")
    return value


def _digest_or_any(value: str, name: str) -> bytes | Any_:
    return "any" if value == ANY else unhex(value, 32, what=f"policy.{name}")


def _outer_key(value: str) -> Literal["required", "any"]:
    if value == "required":
        return "required"
    if value == ANY:
        return "any"
    raise FormatError("policy", f'outerKeyDigest is {value!r}, neither "required" nor "any"')
