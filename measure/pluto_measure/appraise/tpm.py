"""Appraise TPM evidence: whose TPM it is, and its registers and whole log against the reference. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pluto_measure.appraise import common
from pluto_measure.appraise.appraisal import Appraisal
from pluto_measure.appraise.expected import Expected
from pluto_measure.findings import Finding, failures
from pluto_measure.formats.eventlog import EventLog
from pluto_measure.measurements import Measurements, Profile
from pluto_measure.policy import Policy
from pluto_measure.policy.strict import STRICT
from pluto_measure.registers.reference import compare, first_difference
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
        build = common.build_claim(quote.claims, reference)
        return (common.chosen_profile(profile), build, *compare(profile, quote.registers, log))

    rules = policy or STRICT
    best = common.nearest([(m, p) for m in references for p in m.profile(quote.platform)], against)
    findings = [*quote.findings, *expected.findings(quote.claims, rules), *common.given_finding(policy)]
    findings += _policy(quote, rules, at)
    if best is None:
        findings.append(common.no_profile(references, quote.platform))
    else:
        findings += [*best[1], *common.reference_findings(best[0][0], rules)]
    difference = first_difference(best[0][1], quote.registers, log) if best else None
    return Appraisal(
        accepted=not failures(findings),
        authentic=True,
        evidence_type="tpm",
        platform=quote.platform,
        profile=best[0][1].id if best else None,
        claims=quote.claims,
        registers=quote.registers,
        findings=tuple(findings),
        explanation={"log": difference.to_json()} if difference else {},
    )


def _policy(quote: VerifiedTpmQuote, policy: Policy, at: datetime) -> list[Finding]:
    return [
        common.member_finding("policy.platform", quote.platform, policy.platforms, "platform"),
        common.member_finding("policy.evidence_type", "tpm", policy.evidence_types, "evidence type"),
        _ak_trust(quote, policy),
        common.machine_finding([quote.ak_digest.hex()], policy),
        common.age_finding(quote.issued_at, policy, at),
        common.config_finding(quote.claims, policy),
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
