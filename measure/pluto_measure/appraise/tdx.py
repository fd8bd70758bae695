"""Appraise a TDX quote, bare or in an envelope: binding, dates, platform, trust domain, registers and log. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pluto_measure.appraise import demands
from pluto_measure.appraise.appraisal import Appraisal
from pluto_measure.appraise.demands import duration
from pluto_measure.appraise.expected import Expected, unnamed
from pluto_measure.appraise.facts import collateral_facts, quote_facts
from pluto_measure.appraise.launch_endorsement import endorser
from pluto_measure.appraise.nearest import (
    Nearest,
    build_claim,
    chosen_profile,
    log_difference,
    nearest,
    nearest_findings,
)
from pluto_measure.appraise.platform_parts import machine_names, platform_findings, root_findings
from pluto_measure.appraise.platform_tcb import option_findings
from pluto_measure.appraise.request import TdxInputs
from pluto_measure.appraise.terms import terms_findings
from pluto_measure.appraise.trust_domain import trust_domain_findings
from pluto_measure.evidence import Envelope
from pluto_measure.findings import Finding, NotAuthentic, failures, judge
from pluto_measure.formats.eventlog import EventLog
from pluto_measure.formats.quote import Quote
from pluto_measure.measurements import Measurements, Profile
from pluto_measure.policy import Policy
from pluto_measure.policy.strict import STRICT
from pluto_measure.policy.tdx import TdxPolicy
from pluto_measure.predict.media import MEDIA
from pluto_measure.registers.reference import compare
from pluto_measure.verify.intel_pki import INTEL_ROOTS, PckChain, pck_chain
from pluto_measure.verify.quote import VerifiedQuote, quote_findings, verify_quote

_BANK: Final = "sha384"


@dataclass(frozen=True, slots=True)
class TdxEvidenceGiven:
    """A parsed quote with what came along. `envelope` is None for a bare quote."""

    quote: Quote
    envelope: Envelope | None
    log: EventLog | None


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the verifier asks, with the rules that apply."""

    references: Sequence[Measurements]
    policy: Policy
    rules: TdxPolicy
    at: datetime
    expected: Expected
    tdx: TdxInputs


def appraise_quote(
    given: TdxEvidenceGiven,
    references: Sequence[Measurements],
    policy: Policy | None,
    *,
    at: datetime,
    expected: Expected,
    tdx: TdxInputs,
) -> Appraisal:
    """Verify and appraise. FormatError for certificates and collateral that cannot be parsed."""
    chosen = policy or STRICT
    # Where the policy does not accept this kind of evidence, which is a finding, the strict rules tell the rest.
    asked = _Asked(references, chosen, chosen.tdx or _strict(), at, expected, tdx)
    roots = INTEL_ROOTS | frozenset(asked.rules.insecure_roots)
    pck = pck_chain(given.quote.certificates, roots)
    bound = _bound(given)
    if tdx.collateral is None:
        text = "no collateral was given (--collateral, --state), so nothing says what the platform is worth"
        missing = Finding("collateral.given", "fail", text)
        found = (*quote_findings(given.quote, pck), missing, *bound)
        accused = [finding for finding in failures(found) if finding is not missing]
        verified = None
        if accused:
            return _not_authentic(given, pck, found)
    else:
        try:
            verified = verify_quote(given.quote, tdx.collateral, roots)
            found = (*verified.findings, *bound)
        except NotAuthentic as error:
            return _not_authentic(given, pck, (*error.findings, *bound))
        if failures(bound):
            return _not_authentic(given, pck, found, verified)
    return _appraise(given, pck, verified, found, policy, asked)


def _appraise(
    given: TdxEvidenceGiven,
    pck: PckChain,
    verified: VerifiedQuote | None,
    found: tuple[Finding, ...],
    policy: Policy | None,
    asked: _Asked,
) -> Appraisal:
    best = _nearest(given, asked)
    platform = given.envelope.platform if given.envelope else best.profile.platform if best else None
    registers = {_BANK: given.quote.report.registers}
    explanation: dict[str, object] = {}
    findings = [*found, *demands.given_finding(policy), *_binding(given, asked)]
    if verified is not None:
        findings += platform_findings(
            verified, asked.policy, asked.rules, at=asked.at, tdx=asked.tdx, explanation=explanation
        )
    findings += [
        *root_findings(verified, asked.rules),
        *option_findings(pck.extension, asked.rules),
        demands.machine_finding(machine_names(pck.extension), asked.policy),
        *trust_domain_findings(given.quote, pck.extension, asked.rules, allow_debug=asked.policy.allow_debug),
        demands.platform_finding(platform, asked.policy, asked.references),
        demands.member_finding("policy.evidence_type", "tdx", asked.policy.evidence_types, "evidence type"),
        *nearest_findings(best, asked.references, platform, asked.policy),
        *terms_findings(given.quote.report, verified, best.reference.vouched if best else None),
    ]
    explanation |= log_difference(best, registers, given.log)
    return Appraisal(
        accepted=not failures(findings),
        authentic=verified is not None,
        evidence_type="tdx",
        platform=platform,
        profile=best.profile.id if best else None,
        claims=given.envelope.claims if given.envelope else None,
        registers=registers,
        findings=tuple(findings),
        tcb=verified.tcb if verified else None,
        quote=quote_facts(given.quote, pck),
        collateral=collateral_facts(verified.collateral) if verified else None,
        explanation=explanation,
        undecided=verified is None,
    )


def _not_authentic(
    given: TdxEvidenceGiven, pck: PckChain, findings: tuple[Finding, ...], verified: VerifiedQuote | None = None
) -> Appraisal:
    """Nothing of such evidence is judged further; its facts are shown as what was said.

    `verified`: a genuine quote that was made for other claims. What Intel says of its platform stands.
    """
    platform = given.envelope.platform if given.envelope else None
    return Appraisal(
        accepted=False,
        authentic=False,
        evidence_type="tdx",
        platform=platform,
        profile=None,
        claims=None,
        registers={},
        findings=findings,
        tcb=verified.tcb if verified else None,
        quote=quote_facts(given.quote, pck),
        collateral=collateral_facts(verified.collateral) if verified else None,
    )


def _strict() -> TdxPolicy:
    assert STRICT.tdx is not None, "the strict policy judges TDX quotes"
    return STRICT.tdx


def _bound(given: TdxEvidenceGiven) -> tuple[Finding, ...]:
    """Whether the quote was made for the claims beside it; a bare quote has none."""
    if given.envelope is None:
        return ()
    expected, actual = given.envelope.claims.binding(), given.quote.report.report_data
    return (
        judge(
            "binding.report_data",
            actual == expected,
            "the quote is bound to the claims",
            otherwise="the quote was made for other claims than those beside it",
            expected=expected.hex(),
            actual=actual.hex(),
        ),
    )


def _binding(given: TdxEvidenceGiven, asked: _Asked) -> Iterator[Finding]:
    """Whether the evidence was made for this verifier, and now."""
    if (envelope := given.envelope) is None:
        yield from _bare(given.quote.report.report_data, asked)
        return
    yield from asked.expected.findings(envelope.claims, asked.policy)
    yield demands.age_finding(envelope.issued_at, asked.policy, asked.at)
    yield demands.config_finding(envelope.claims, asked.policy)


def _bare(actual: bytes, asked: _Asked) -> Iterator[Finding]:
    check, wanted = "binding.report_data", asked.tdx.report_data
    if wanted is not None:
        yield judge(
            check,
            actual == wanted,
            "the quote carries the REPORTDATA that was asked for",
            otherwise="the quote carries another REPORTDATA than was asked for",
            expected=wanted.hex(),
            actual=actual.hex(),
        )
    else:
        text = (
            "nobody said which REPORTDATA the quote must carry, so it may be old or of another machine (--report-data)"
        )
        yield Finding(check, "warning" if asked.rules.report_data == "any" else "fail", text, None, actual.hex())
    yield _undated(asked)
    yield from unnamed(asked.expected, asked.policy)
    if asked.policy.config_digest == "any":
        yield Finding("policy.config_digest", "pass", "the policy accepts any run-time configuration", "any")
    else:
        text = "a bare quote does not name the run-time configuration"
        yield Finding("policy.config_digest", "fail", text, asked.policy.config_digest.hex())


def _undated(asked: _Asked) -> Finding:
    """A bare quote has no date. What it is bound to alone can tell its age, and `binding.report_data` judges that."""
    check, limit = "policy.evidence_age", asked.policy.max_evidence_age
    if limit == "any":
        return Finding(check, "pass", "the policy accepts evidence of any age", "any")
    text = "a bare quote has no date; it is as new as what its REPORTDATA was made of"
    return Finding(check, "warning", text, f"at most {duration(limit)} old")


def _nearest(given: TdxEvidenceGiven, asked: _Asked) -> Nearest | None:
    """A bare quote does not say what kind of machine it is of, so every profile of a trust domain is compared."""
    wanted = given.envelope.platform if given.envelope else None
    candidates = [
        (measurements, profile)
        for measurements in asked.references
        for profile in measurements.profiles
        if MEDIA[profile.platform].is_tdx and wanted in (None, profile.platform)
    ]
    registers, mrtd = {_BANK: given.quote.report.registers}, given.quote.report.registers["mrtd"]
    endorsed = endorser(mrtd, asked.tdx, asked.policy, asked.at)

    def against(reference: Measurements, profile: Profile) -> tuple[Finding, ...]:
        claims = given.envelope.claims if given.envelope else None
        build = (build_claim(claims, reference),) if claims else ()
        profile, by_google = endorsed(profile)
        return (chosen_profile(profile), *build, *by_google, *compare(profile, registers, given.log))

    return nearest(candidates, against)
