"""Are certificates and collateral of this time, and not older than once seen? Pure; Intel leaves all of it to us.

Dates are facts of verification (`Window`); which of them refuse is the policy's word.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from pluto_measure.appraise.demands import age_words, duration
from pluto_measure.evidence import format_time
from pluto_measure.findings import Finding, judge
from pluto_measure.policy.tdx import TdxPolicy
from pluto_measure.verify.collateral import CheckedCollateral
from pluto_measure.verify.intel_pki import Window


def freshness_findings(
    windows: Sequence[Window],
    collateral: CheckedCollateral,
    policy: TdxPolicy,
    *,
    at: datetime,
    skew: int,
    rollbacks: tuple[str, ...] | None,
) -> Iterator[Finding]:
    """Every check of dates, evaluation number and memory. `skew`: seconds that Intel's clock may run ahead."""
    certificates = [window for window in windows if window.kind == "certificate"]
    documents = [window for window in windows if window.kind == "document"]
    ahead = timedelta(seconds=skew)
    yield _begun([window for window in certificates if window.begin - at > ahead], at, policy)
    yield _dated(
        "certificates.not_after",
        [window for window in certificates if at > window.end],
        "no certificate has expired",
        "expired",
        at,
    )
    yield _dated(
        "collateral.issued",
        [window for window in documents if window.begin - at > ahead],
        "no collateral is from the future",
        "from the future",
        at,
        begin=True,
    )
    yield _expired(documents, at, policy)
    yield _age(documents, at, policy)
    yield judge(
        "collateral.evaluation_number",
        collateral.tcb_info.evaluation_number >= policy.minimum_evaluation_number,
        "the TCB info's evaluation number is high enough",
        otherwise="the TCB info's evaluation number is lower than the policy wants",
        expected=policy.minimum_evaluation_number,
        actual=collateral.tcb_info.evaluation_number,
    )
    yield _memory(rollbacks, policy)


def _begun(late: Sequence[Window], at: datetime, policy: TdxPolicy) -> Finding:
    check = "certificates.not_before"
    if late and policy.not_before == "any":
        return Finding(check, "warning", f"not yet valid: {_spell(late, begin=True)}", "any", format_time(at))
    return _dated(check, late, "every certificate has begun to be valid", "not yet valid", at, begin=True)


def _dated(check: str, bad: Sequence[Window], text: str, problem: str, at: datetime, *, begin: bool = False) -> Finding:
    otherwise = f"{problem}: {_spell(bad, begin=begin)}"
    return judge(check, not bad, text, otherwise=otherwise, expected=None, actual=format_time(at))


def _expired(documents: Sequence[Window], at: datetime, policy: TdxPolicy) -> Finding:
    check, over = "collateral.expired", [window for window in documents if at > window.end]
    if not over:
        return Finding(check, "pass", "no collateral is due for an update", None, format_time(at))
    expected = f"an update due after {format_time(at)}"
    actual = ", ".join(f"{window.what} {format_time(window.end)}" for window in over)
    if policy.collateral_grace:
        expected += f", or at most {duration(policy.collateral_grace)} before"
    if all(at - window.end <= timedelta(seconds=policy.collateral_grace) for window in over):
        text = f"due for an update, within the policy's grace: {_spell(over)}"
        return Finding(check, "warning", text, expected, actual)
    return Finding(check, "fail", f"expired: {_spell(over)}", expected, actual)


def _age(documents: Sequence[Window], at: datetime, policy: TdxPolicy) -> Finding:
    check = "collateral.age"
    # Revocation lists of the root are issued once a year, so their age says nothing; their next update does.
    judged = [window for window in documents if window.what in ("TCB info", "QE identity")]
    oldest = min(judged, key=lambda window: window.begin)
    age = int((at - oldest.begin).total_seconds())
    limit = age if policy.max_collateral_age == "any" else policy.max_collateral_age
    # Where Intel's clock is ahead there is no age yet; `collateral.issued` judges that.
    words = age_words(max(age, 0), limit)
    if policy.max_collateral_age == "any":
        return Finding(check, "pass", "the policy accepts collateral of any age", "any", words)
    return judge(
        check,
        age <= limit,
        "TCB info and QE identity are recent enough",
        otherwise=f"the {oldest.what} was issued {words} ago",
        expected=f"at most {duration(limit)}",
        actual=words,
    )


def _memory(rollbacks: tuple[str, ...] | None, policy: TdxPolicy) -> Finding:
    check = "collateral.rollback"
    if rollbacks is None:
        text = "nobody remembers which collateral was seen before, so older collateral cannot be told (--state DIR)"
        return Finding(check, "warning" if policy.collateral_memory == "any" else "fail", text)
    return judge(
        check,
        not rollbacks,
        "the collateral is not older than any that was seen before",
        otherwise=f"older than once seen: {'; '.join(rollbacks)}",
    )


def _spell(windows: Sequence[Window], *, begin: bool = False) -> str:
    dated = [(window.what, window.begin if begin else window.end) for window in windows]
    return ", ".join(f"{what} ({format_time(date)})" for what, date in dated)
