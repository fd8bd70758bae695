"""Appraise TPM evidence: whose TPM it is, and its registers and whole log against the reference. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pluto_measure.appraise import demands
from pluto_measure.appraise.appraisal import Appraisal
from pluto_measure.appraise.expected import Expected
from pluto_measure.appraise.nearest import build_claim, chosen_profile, log_difference, nearest, nearest_findings
from pluto_measure.findings import Finding, failures
from pluto_measure.formats.eventlog import EventLog
from pluto_measure.measurements import Measurements, Profile
from pluto_measure.policy import Policy
from pluto_measure.policy.strict import STRICT
from pluto_measure.registers.reference import compare
from pluto_measure.verify.tpm import VerifiedTpmQuote


def appraise_tpm(
    quote: VerifiedTpmQuote,
    log: EventLog,
    references: Sequence[Measurements],
    policy: Policy | None,
    *,
    at: datetime,
    expected: Expected,
) -> Appraisal:
    """Appraise a verified quote. `log` is its untrusted log, parsed."""

    def against(reference: Measurements, profile: Profile) -> tuple[Finding, ...]:
        build = build_claim(quote.claims, reference)
        return (chosen_profile(profile), build, *compare(profile, quote.registers, log))

    rules = policy or STRICT
    best = nearest([(m, p) for m in references for p in m.profile(quote.platform)], against)
    findings = [*quote.findings, *expected.findings(quote.claims, rules), *demands.given_finding(policy)]
    findings += _policy(quote, rules, at)
    findings += nearest_findings(best, references, quote.platform, rules)
    return Appraisal(
        accepted=not failures(findings),
        authentic=True,
        evidence_type="tpm",
        platform=quote.platform,
        profile=best.profile.id if best else None,
        claims=quote.claims,
        registers=quote.registers,
        findings=tuple(findings),
        explanation=log_difference(best, quote.registers, log),
    )


def _policy(quote: VerifiedTpmQuote, policy: Policy, at: datetime) -> list[Finding]:
    return [
        demands.member_finding("policy.platform", quote.platform, policy.platforms, "platform"),
        demands.member_finding("policy.evidence_type", "tpm", policy.evidence_types, "evidence type"),
        _ak_trust(quote, policy),
        demands.machine_finding([quote.ak_digest.hex()], policy),
        demands.age_finding(quote.issued_at, policy, at),
        demands.config_finding(quote.claims, policy),
    ]


def _ak_trust(quote: VerifiedTpmQuote, policy: Policy) -> Finding:
    check, actual = "policy.ak_trust", quote.ak_root.hex() if quote.ak_root else None
    expected = " ".join(root.hex() for root in policy.ak_trust) or None
    if quote.ak_root is not None and quote.ak_root in policy.ak_trust:
        return Finding(check, "pass", "a pinned chain vouches for the TPM", expected, actual)
    text = "nobody that the policy trusts vouches for the TPM, so whoever runs the machine can forge this evidence"
    if policy.insecure_software_tpm:
        return Finding(check, "warning", f"insecure_software_tpm: {text}", expected, actual)
    return Finding(check, "fail", text, expected, actual)
