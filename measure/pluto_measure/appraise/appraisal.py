"""The verdict and all that led to it. Pure values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pluto_measure.evidence import AnyClaims, Registers
from pluto_measure.findings import Finding, failures
from pluto_measure.verify.tcb import Tcb


@dataclass(frozen=True, slots=True)
class Appraisal:
    """`registers` are empty, `claims` None where something is forged; `tcb` is None unless the quote is genuine.

    `undecided`: nothing is forged as far as it was checked, but something that authenticity needs was not given.
    `quote` are the facts of a TDX quote as it was parsed, which nobody vouches for unless it is authentic.
    `explanation`: why the platform falls short and which event differs, for programs; the findings say it in words.
    """

    accepted: bool
    authentic: bool
    evidence_type: str
    platform: str | None  # None for a bare quote that fits no profile
    profile: str | None  # the profile that was compared: the one that fits, or the nearest
    claims: AnyClaims | None
    registers: Registers
    findings: tuple[Finding, ...]
    tcb: Tcb | None = None
    quote: Mapping[str, object] | None = None
    collateral: Mapping[str, object] | None = None
    explanation: Mapping[str, object] = field(default_factory=dict)
    undecided: bool = False

    @property
    def exit_code(self) -> int:
        """0 accepted, 4 not authentic, 5 refused, also where authenticity is undecided."""
        if self.accepted:
            return 0
        return 5 if self.authentic or self.undecided else 4

    @property
    def verdict(self) -> str:
        """In a word: accepted, refused, not authentic."""
        return {0: "accepted", 5: "refused"}.get(self.exit_code, "not authentic")

    @property
    def failures(self) -> tuple[Finding, ...]:
        """The findings that refuse."""
        return tuple(failures(self.findings))

    def to_json(self) -> dict[str, object]:
        return {
            "accepted": self.accepted,
            "verdict": self.verdict,
            "authentic": self.authentic,
            "evidenceType": self.evidence_type,
            "platform": self.platform,
            "profile": self.profile,
            "tcb": self.tcb.to_json() if self.tcb else None,
            "claims": self.claims.to_json() if self.claims else None,
            "registers": self._registers(),
            "quote": dict(self.quote) if self.quote is not None else None,
            "collateral": dict(self.collateral) if self.collateral is not None else None,
            "explanation": dict(self.explanation),
            "findings": [finding.to_json() for finding in self.findings],
        }

    def _registers(self) -> dict[str, object]:
        """Per bank for a TPM; a trust domain has one bank, so its registers stand alone."""
        banks = {bank: {name: value.hex() for name, value in held.items()} for bank, held in self.registers.items()}
        return dict(banks.get("sha384", {})) if self.evidence_type == "tdx" else dict(banks)
