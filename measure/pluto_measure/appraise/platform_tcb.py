"""Intel's verdict on the platform, against the policy: accepted statuses, grace, advisories, platform options. Pure.

A status that the policy does not accept outright can be excused in parts:

    out of date     within `platformGrace` of the TCB date, or where every advisory of the verdict is accepted and there
                    is at least one: an outdated platform that no advisory explains is not excused
    software        where "SWHardeningNeeded" is accepted, or every advisory is accepted and there is at least one
    configuration   where "ConfigurationNeeded" or "ConfigurationAndSWHardeningNeeded" is accepted

Revoked and TCB_NOT_SUPPORTED are never excused, and neither is a platform that is Revoked at present: Intel's verdict
is that of the launch then. Accepted advisories count until their time.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from pluto_measure.appraise.demands import age_words, duration
from pluto_measure.evidence import format_time
from pluto_measure.findings import Finding, judge
from pluto_measure.formats.pck import PckExtension
from pluto_measure.policy.fields import Choice
from pluto_measure.policy.tdx import TdxPolicy
from pluto_measure.verify.tcb import NOT_SUPPORTED, Tcb

# What each status says is amiss.
_AMISS: Final = {
    "SWHardeningNeeded": ("software",),
    "ConfigurationNeeded": ("configuration",),
    "ConfigurationAndSWHardeningNeeded": ("configuration", "software"),
    "OutOfDate": ("out of date",),
    "OutOfDateConfigurationNeeded": ("out of date", "configuration"),
    "TDRelaunchAdvised": ("out of date",),
    "TDRelaunchAdvisedConfigurationNeeded": ("out of date", "configuration"),
}

_CONFIGURATION: Final = ("ConfigurationNeeded", "ConfigurationAndSWHardeningNeeded")


def tcb_findings(tcb: Tcb, policy: TdxPolicy, at: datetime) -> Iterator[Finding]:
    """Status and advisories. What the platform lacks is for `shortfall` to explain."""
    yield _status(tcb, policy, at)
    yield _current(tcb, policy, at)
    concerned = sorted({*tcb.advisories, *(tcb.current.advisories if tcb.current else ())})
    rejected = [advisory for advisory in concerned if advisory in policy.rejected_advisories]
    yield judge(
        "tcb.advisories",
        not rejected,
        "no advisory concerns the platform that the policy rejects",
        otherwise=f"advisories concern the platform that the policy rejects: {', '.join(rejected)}",
        expected=None,
        actual=" ".join(concerned) or "none",
    )


def option_findings(pck: PckExtension, policy: TdxPolicy) -> Iterator[Finding]:
    """What the PCK certificate says of the platform's options."""
    yield _option("platform.dynamic", pck.dynamic_platform, policy.dynamic_platform, "packages can be added later")
    yield _option("platform.cached_keys", pck.cached_keys, policy.cached_keys, "Intel keeps the platform's keys")
    yield _option("platform.smt", pck.smt, policy.smt, "simultaneous multithreading is on")


def _status(tcb: Tcb, policy: TdxPolicy, at: datetime) -> Finding:
    check, expected = "tcb.status", " ".join(policy.accepted_statuses)
    if tcb.status in policy.accepted_statuses:
        return Finding(check, "pass", "Intel's verdict is one that the policy accepts", expected, tcb.status)
    amiss = _AMISS.get(tcb.status, ())
    excuses = [_excuse(item, tcb, policy, at) for item in amiss]
    if excuses and all(excuses):
        text = "the policy excuses Intel's verdict: " + "; ".join(excuse for excuse in excuses if excuse)
        return Finding(check, "warning", text, expected, tcb.status)
    if tcb.status == NOT_SUPPORTED:
        text = "Intel's TCB info has no level for this platform, so it is older than all that Intel supports"
    else:
        text = f"Intel's verdict is {tcb.status}, which the policy does not accept"
    expired = [item for item in policy.accepted_advisories if item.id in tcb.advisories and at > item.until]
    notes = [f"the policy accepted {item.id} until {format_time(item.until)}" for item in expired]
    return Finding(check, "fail", "; ".join((text, *notes)), expected, tcb.status)


def _current(tcb: Tcb, policy: TdxPolicy, at: datetime) -> Finding:
    """The present state, where it is not what `tcb.status` judges: Intel's verdict is that of the launch then."""
    check, current = "tcb.current", tcb.current
    if current is None:
        return Finding(check, "pass", "the TD report has one set of SVNs, that of the launch")
    if tcb.status != tcb.launch.status and tcb.status != NOT_SUPPORTED:
        return Finding(check, "pass", "Intel's verdict has the present state in it", None, current.status)
    if current.status in ("UpToDate", tcb.launch.status, *policy.accepted_statuses) and current.status != "Revoked":
        text = "the present state is not worse than what is accepted of the launch"
        return Finding(check, "pass", text, None, current.status)
    amiss = _AMISS.get(current.status, ())
    excuses = [_excuse(item, Tcb(current.status, current, None), policy, at) for item in amiss]
    if excuses and all(excuses):
        text = "the policy excuses the present state: " + "; ".join(excuse for excuse in excuses if excuse)
        return Finding(check, "warning", text, None, current.status)
    text = "what the platform runs at present is not accepted, though what the TD was launched on may be"
    return Finding(check, "fail", text, " ".join(policy.accepted_statuses), current.status)


def _excuse(amiss: str, tcb: Tcb, policy: TdxPolicy, at: datetime) -> str | None:
    """Why the policy overlooks one thing that is amiss; None: it does not."""
    if amiss == "configuration":
        accepted = [status for status in _CONFIGURATION if status in policy.accepted_statuses]
        return f"it accepts {accepted[0]}" if accepted else None
    if amiss == "software" and "SWHardeningNeeded" in policy.accepted_statuses:
        return "it accepts SWHardeningNeeded"
    if amiss == "out of date" and tcb.date is not None:
        age = (at - tcb.date).total_seconds()
        if age <= policy.platform_grace and policy.platform_grace:
            back = age_words(max(int(age), 0), policy.platform_grace)
            return f"the TCB date lies {back} back, of at most {duration(policy.platform_grace)} that it allows"
    accepted_until = {item.id: item.until for item in policy.accepted_advisories if at <= item.until}
    if tcb.advisories and all(advisory in accepted_until for advisory in tcb.advisories):
        until = min(accepted_until[advisory] for advisory in tcb.advisories)
        return f"it accepts {', '.join(tcb.advisories)} until {format_time(until)}"
    return None


def _option(check: str, actual: bool | None, wanted: Choice, what: str) -> Finding:
    shown = None if actual is None else str(actual).lower()
    if wanted == "any":
        return Finding(check, "pass", f"the policy does not mind whether {what}", "any", shown)
    return judge(
        check,
        actual is wanted,
        f"whether {what} is as the policy wants it",
        otherwise=f"whether {what} is not as the policy wants it, or not known",
        expected=str(wanted).lower(),
        actual=shown,
    )
