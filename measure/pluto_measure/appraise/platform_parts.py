"""What every kind of evidence with a TDX quote asks of it: dates, memory, Intel's verdict, root, names. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from pluto_measure.appraise import shortfall
from pluto_measure.appraise.forecast import forecast
from pluto_measure.appraise.freshness import freshness_findings
from pluto_measure.appraise.platform_tcb import tcb_findings
from pluto_measure.appraise.request import TdxInputs
from pluto_measure.errors import FormatError
from pluto_measure.findings import Finding, NotAuthentic
from pluto_measure.formats.collateral import Collateral
from pluto_measure.formats.pck import PckExtension
from pluto_measure.policy import Policy
from pluto_measure.policy.tdx import TdxPolicy
from pluto_measure.verify.intel_pki import INTEL_ROOTS, Roots
from pluto_measure.verify.quote import VerifiedQuote, verify_quote


def platform_findings(
    verified: VerifiedQuote,
    policy: Policy,
    rules: TdxPolicy,
    *,
    at: datetime,
    tdx: TdxInputs,
    explanation: dict[str, object],
) -> Iterator[Finding]:
    """Dates, memory and Intel's verdict; what falls short goes into `explanation`."""
    collateral, report = verified.collateral, verified.report
    yield from freshness_findings(
        verified.windows, collateral, rules, at=at, skew=policy.clock_skew, rollbacks=tdx.rollbacks
    )
    short = shortfall.explain(
        collateral.tcb_info,
        collateral.qe_identity,
        verified.pck,
        verified.quote.qe_report.isv_svn,
        report.tee_tcb_svn,
        report.tee_tcb_svn_2,
    )
    if short is not None:
        explanation["tcb"] = {**short.to_json(), "sentences": list(short.sentences())}
    yield from tcb_findings(verified.tcb, rules, at)
    if (early := tdx.early) is not None:
        yield _forecast(verified, early, INTEL_ROOTS | frozenset(rules.insecure_roots), explanation)


def root_findings(verified: VerifiedQuote | None, rules: TdxPolicy) -> Iterator[Finding]:
    """A warning where the quote's root is one of `insecure_roots`."""
    if verified is not None and verified.root not in INTEL_ROOTS and verified.root in rules.insecure_roots:
        text = "insecure_roots: this is no production hardware of Intel's, so whoever holds that root can forge quotes"
        yield Finding("policy.insecure_root", "warning", text, None, verified.root.hex())


def machine_names(pck: PckExtension) -> list[str]:
    """What a policy may name the machine by, strongest first."""
    names = [f"ppid:{pck.ppid.hex()}"]
    return names if pck.platform_instance is None else [f"platformInstance:{pck.platform_instance.hex()}", *names]


def _forecast(verified: VerifiedQuote, early: Collateral, roots: Roots, explanation: dict[str, object]) -> Finding:
    """What Intel will say of this platform once its early set is the standard one. It never refuses."""
    check = "tcb.forecast"
    try:
        later = verify_quote(verified.quote, early, roots)
    except (NotAuthentic, FormatError) as error:
        return Finding(check, "warning", f"Intel's early set cannot be used: {error}")
    if later.collateral.tcb_info.evaluation_number < verified.collateral.tcb_info.evaluation_number:
        return Finding(check, "warning", "Intel's early set is older than the standard one, so it foretells nothing")
    explanation["early"] = later.tcb.to_json()
    words = forecast(verified.tcb, later.tcb)
    if words is None:
        text = "Intel's early set says nothing worse of this platform"
        return Finding(check, "pass", text, verified.tcb.status, later.tcb.status)
    return Finding(check, "warning", words, verified.tcb.status, later.tcb.status)
