"""The whole matrix of Intel's verdict and policy, against an oracle that is written from the rules in words."""

from __future__ import annotations

import dataclasses
import itertools
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from pluto_measure.appraise.platform_tcb import option_findings, tcb_findings
from pluto_measure.findings import Finding
from pluto_measure.formats.pck import PckExtension
from pluto_measure.formats.quote import Quote
from pluto_measure.formats.tcb_info import IsvLevel
from pluto_measure.policy.strict import STRICT
from pluto_measure.policy.tdx import Advisory, TdxPolicy
from pluto_measure.publish.terms import STATUSES
from pluto_measure.verify.intel_pki import pck_chain
from pluto_measure.verify.tcb import Evaluation, Tcb
from simulators.intel import MODULE, NOW, PLATFORM, QE, TD15, World, healthy, tee_tcb_svn, world
from simulators.trust_domains import ROOT, TrustDomain, appraised, failed, rules, verdicts

AT: Final = datetime(2026, 11, 20, 12, tzinfo=UTC)
SECOND, YEAR = timedelta(seconds=1), timedelta(days=365)
TCB_DATE: Final = AT - YEAR
HOPELESS = ("Revoked", "TCB_NOT_SUPPORTED")
# What the names of Intel's statuses say, in the words of the policy's rules.
OUTDATED = {"OutOfDate", "OutOfDateConfigurationNeeded", "TDRelaunchAdvised", "TDRelaunchAdvisedConfigurationNeeded"}
CONFIGURATION = {
    "ConfigurationNeeded",
    "ConfigurationAndSWHardeningNeeded",
    "OutOfDateConfigurationNeeded",
    "TDRelaunchAdvisedConfigurationNeeded",
}
SOFTWARE = {"SWHardeningNeeded", "ConfigurationAndSWHardeningNeeded"}
ONE, TWO = "INTEL-SA-00001", "INTEL-SA-00002"
GRACES = {"none": 0, "over": 365 * 86400 - 1, "to the second": 365 * 86400, "long": 3 * 365 * 86400}
ADVISORIES: dict[str, tuple[Advisory, ...]] = {
    "none": (),
    "another": (Advisory("INTEL-SA-00003", AT + YEAR),),
    "one": (Advisory(ONE, AT + YEAR),),
    "both": (Advisory(ONE, AT + YEAR), Advisory(TWO, AT + YEAR)),
    "both to the second": (Advisory(ONE, AT), Advisory(TWO, AT)),
    "both, one expired": (Advisory(ONE, AT - SECOND), Advisory(TWO, AT + YEAR)),
    "both expired": (Advisory(ONE, AT - SECOND), Advisory(TWO, AT - SECOND)),
}


def strict(**changes: Any) -> TdxPolicy:
    assert STRICT.tdx is not None
    return dataclasses.replace(STRICT.tdx, **changes)


def tcb(status: str, advisories: tuple[str, ...] = (ONE, TWO), date: datetime = TCB_DATE) -> Tcb:
    level = IsvLevel(isv_svn=1, status=status, date=date, advisories=advisories)
    return Tcb(status, Evaluation(status, None, level, None), None)


def judged(of: Tcb, by: TdxPolicy, at: datetime = AT) -> dict[str, Finding]:
    found = list(tcb_findings(of, by, at))
    assert [finding.id for finding in found] == ["tcb.status", "tcb.current", "tcb.advisories"]
    return {finding.id: finding for finding in found}


def oracle(status: str, accepted: set[str], grace: str, advisories: str, concerned: tuple[str, ...]) -> str:
    """The verdict on the status by the rules in words."""
    if status in accepted:
        return "pass"
    if status in (*HOPELESS, "UpToDate"):  # not a thing is amiss that could be excused
        return "fail"
    in_time = grace in ("to the second", "long")
    if concerned == (ONE, TWO):
        known = advisories in ("both", "both to the second")
    elif concerned == (ONE,):
        known = advisories in ("one", "both", "both to the second")
    else:
        known = False  # nothing explains such a status
    for is_amiss, is_excused in (
        (status in OUTDATED, in_time or known),
        (status in SOFTWARE, "SWHardeningNeeded" in accepted or known),
        (status in CONFIGURATION, bool({"ConfigurationNeeded", "ConfigurationAndSWHardeningNeeded"} & accepted)),
    ):
        if is_amiss and not is_excused:
            return "fail"
    return "warning"


@pytest.mark.parametrize("concerned", [(ONE, TWO), (ONE,), ()])
@pytest.mark.parametrize("status", [*STATUSES, *HOPELESS])
def test_every_status_by_every_policy(status: str, concerned: tuple[str, ...]) -> None:
    wrong = []
    of = tcb(status, concerned)
    for size in (1, 2, 3, len(STATUSES) - 1, len(STATUSES)):
        for accepted in itertools.combinations(STATUSES, size):
            for grace, advisories in itertools.product(GRACES, ADVISORIES):
                by = strict(
                    accepted_statuses=accepted,
                    platform_grace=GRACES[grace],
                    accepted_advisories=ADVISORIES[advisories],
                )
                found = judged(of, by)["tcb.status"]
                wanted = oracle(status, set(accepted), grace, advisories, concerned)
                if found.verdict != wanted:
                    wrong.append((accepted, grace, advisories, found.verdict, wanted))
    assert wrong == []


def test_a_platform_without_a_date_has_no_grace() -> None:
    lax = strict(platform_grace=10 * 366 * 86400, accepted_advisories=ADVISORIES["both"])
    lacking = Tcb("TCB_NOT_SUPPORTED", Evaluation("TCB_NOT_SUPPORTED", None, None, None), None)
    found = judged(lacking, lax)["tcb.status"]
    assert found.verdict == "fail"
    assert "older than all that Intel supports" in found.text


@pytest.mark.parametrize(("seconds", "verdict"), [(0, "warning"), (1, "fail")])
def test_grace_and_advisories_end_to_the_second(seconds: int, verdict: str) -> None:
    at = AT + timedelta(seconds=seconds)
    by_grace = judged(tcb("OutOfDate"), strict(platform_grace=GRACES["to the second"]), at)["tcb.status"]
    assert by_grace.verdict == verdict
    by_advisory = strict(accepted_advisories=ADVISORIES["both to the second"])
    found = judged(tcb("OutOfDate"), by_advisory, at)["tcb.status"]
    assert found.verdict == verdict
    assert f"the policy accepted {ONE} until" in found.text or seconds == 0


def test_only_advisories_that_matter_and_expired_are_told() -> None:
    def said(*accepted: Advisory) -> str:
        return judged(tcb("OutOfDate"), strict(accepted_advisories=accepted))["tcb.status"].text

    refusal = "Intel's verdict is OutOfDate, which the policy does not accept"
    assert said(Advisory(ONE, AT)) == refusal
    assert said(Advisory("INTEL-SA-00003", AT - SECOND)) == refusal
    assert said(Advisory(ONE, AT - SECOND)) == f"{refusal}; the policy accepted {ONE} until 2026-11-20T11:59:59Z"


def test_what_excuses_is_said() -> None:
    by_grace = judged(tcb("OutOfDate"), strict(platform_grace=GRACES["long"]))["tcb.status"]
    assert "the TCB date lies 365 days back, of at most 1095 days that it allows" in by_grace.text
    by_advisory = judged(tcb("SWHardeningNeeded"), strict(accepted_advisories=ADVISORIES["both"]))["tcb.status"]
    assert f"it accepts {ONE}, {TWO} until 2027-11-20T12:00:00Z" in by_advisory.text
    by_status = strict(accepted_statuses=("ConfigurationNeeded", "SWHardeningNeeded"))
    found = judged(tcb("ConfigurationAndSWHardeningNeeded"), by_status)["tcb.status"]
    assert "it accepts ConfigurationNeeded; it accepts SWHardeningNeeded" in found.text
    both = strict(accepted_statuses=("ConfigurationAndSWHardeningNeeded",))
    assert "it accepts ConfigurationAndSWHardeningNeeded" in judged(tcb("ConfigurationNeeded"), both)["tcb.status"].text


@pytest.mark.parametrize("status", [*STATUSES, *HOPELESS])
def test_rejected_advisories_refuse_whatever_the_status(status: str) -> None:
    for rejected, verdict in (((), "pass"), (("INTEL-SA-00003",), "pass"), ((TWO,), "fail"), ((ONE, TWO), "fail")):
        by = strict(accepted_statuses=STATUSES, rejected_advisories=rejected, accepted_advisories=ADVISORIES["both"])
        found = judged(tcb(status), by)["tcb.advisories"]
        assert (found.verdict, found.actual) == (verdict, f"{ONE} {TWO}")
    assert judged(tcb(status, ()), strict(rejected_advisories=(ONE,)))["tcb.advisories"].actual == "none"


# options of the platform

OPTIONS = {
    "dynamic_platform": "platform.dynamic",
    "cached_keys": "platform.cached_keys",
    "smt": "platform.smt",
}


def pck(of: World) -> PckExtension:
    return pck_chain(Quote.parse(of.quote).certificates, frozenset({ROOT})).extension


@pytest.mark.parametrize("field", OPTIONS)
@pytest.mark.parametrize("said", [True, False, None])
@pytest.mark.parametrize("wanted", [True, False, "any"])
def test_options_of_the_platform(field: str, said: bool | None, wanted: Any) -> None:
    changed: dict[str, Any] = {field: said}
    of = dataclasses.replace(pck(healthy()), **changed)
    found = {finding.id: finding for finding in option_findings(of, strict(**{field: wanted}))}
    assert list(found) == list(OPTIONS.values())
    expected = "pass" if wanted == "any" or said is wanted else "fail"
    assert {check for check, item in found.items() if item.verdict == "fail"} == (
        {OPTIONS[field]} if expected == "fail" else set()
    )
    shown = None if said is None else str(said).lower()
    assert found[OPTIONS[field]].actual == shown


# through the whole appraisal


@pytest.mark.parametrize("qe", QE)
@pytest.mark.parametrize("module", MODULE)
@pytest.mark.parametrize("platform", PLATFORM)
def test_a_world_of_every_status(platform: str, module: str, qe: str) -> None:
    domain = TrustDomain(world=world(platform=platform, module=module, qe=qe))
    plain = appraised(domain)
    assert plain.tcb is not None
    status = plain.tcb.status
    assert failed(plain) == ([] if status == "UpToDate" else ["tcb.status"])
    assert ("tcb" in plain.explanation) is (status != "UpToDate")
    everything = appraised(domain, policy=rules(accepted_statuses=STATUSES))
    assert failed(everything) == (["tcb.status"] if status == "Revoked" else [])
    assert everything.tcb == plain.tcb


def test_a_platform_below_every_level_is_never_excused() -> None:
    """An error of Intel's, which no list of statuses accepts."""
    low = healthy().with_report(tee_tcb_svn=tee_tcb_svn(microcode=0))
    everything = rules(accepted_statuses=STATUSES, platform_grace=10 * 366 * 86400)
    appraisal = appraised(TrustDomain(world=low), policy=everything)
    assert (failed(appraisal), appraisal.exit_code) == (["tcb.status"], 5)
    assert appraisal.tcb is not None
    assert appraisal.tcb.status == "TCB_NOT_SUPPORTED"


@pytest.mark.parametrize(
    ("platform", "status"),
    [("UpToDate", "TDRelaunchAdvised"), ("ConfigurationNeeded", "TDRelaunchAdvisedConfigurationNeeded")],
)
def test_a_trust_domain_that_should_be_launched_again(platform: str, status: str) -> None:
    given = world(platform=platform, module="OutOfDate", module_now="UpToDate", version=5, kind=TD15)
    domain = TrustDomain(world=given)
    appraisal = appraised(domain)
    assert appraisal.tcb is not None
    assert (appraisal.tcb.status, failed(appraisal)) == (status, ["tcb.status"])
    assert failed(appraised(domain, policy=rules(accepted_statuses=(status,)))) == []
    since = appraisal.tcb.date
    assert since is not None
    grace = int((NOW - since).total_seconds())
    also = ("UpToDate", "ConfigurationNeeded")
    in_time = appraised(domain, policy=rules(accepted_statuses=also, platform_grace=grace))
    assert (failed(in_time), verdicts(in_time)["tcb.status"]) == ([], "warning")
    assert failed(appraised(domain, policy=rules(accepted_statuses=also, platform_grace=grace - 1))) == ["tcb.status"]
    ends = NOW + timedelta(days=1)
    advisories = tuple(Advisory(name, ends) for name in appraisal.tcb.advisories)
    assert advisories
    assert failed(appraised(domain, policy=rules(accepted_statuses=also, accepted_advisories=advisories))) == []


@pytest.mark.parametrize("current", [*STATUSES, *HOPELESS])
@pytest.mark.parametrize("launch", [*STATUSES, *HOPELESS])
def test_what_runs_at_present_must_not_be_revoked(launch: str, current: str) -> None:
    """Intel's verdict is the launch's where both are bad, so no accepted status can let a revoked module pass."""
    of = dataclasses.replace(tcb(launch), current=tcb(current).launch)
    found = judged(of, strict(accepted_statuses=STATUSES))
    is_fine = current != "Revoked" and (current != "TCB_NOT_SUPPORTED" or launch == current)
    assert found["tcb.current"].verdict == ("pass" if is_fine else "fail")
    assert found["tcb.status"].verdict == ("fail" if launch in HOPELESS else "pass")


def test_what_runs_at_present_may_not_be_worse_than_what_is_accepted() -> None:
    """An outdated module in place of a good one passed without a word: Intel's verdict is that of the launch."""
    domain = TrustDomain(world=world(module_now="OutOfDate"))
    assert failed(appraised(domain)) == ["tcb.current"]
    assert failed(appraised(domain, policy=rules(accepted_statuses=("UpToDate", "OutOfDate")))) == []
    of = dataclasses.replace(tcb("UpToDate", ()), current=tcb("OutOfDate").launch)
    assert judged(of, strict(platform_grace=GRACES["long"]))["tcb.current"].verdict == "warning"
    assert judged(of, strict(rejected_advisories=(TWO,)))["tcb.advisories"].verdict == "fail"


@pytest.mark.parametrize("module", ["UpToDate", "OutOfDate"])
def test_a_module_that_was_replaced_by_a_revoked_one(module: str) -> None:
    domain = TrustDomain(world=world(module=module, module_now="Revoked"))
    assert failed(appraised(domain, policy=rules(accepted_statuses=STATUSES))) == ["tcb.current"]


def test_rejected_advisories_and_options_reach_the_verdict() -> None:
    outdated = TrustDomain(world=world(platform="OutOfDate"))
    advisory = "INTEL-SA-09104"
    lax = rules(accepted_statuses=STATUSES, rejected_advisories=(advisory,))
    assert failed(appraised(outdated, policy=lax)) == ["tcb.advisories"]
    machine = healthy().pck.machine
    assert failed(appraised(policy=rules(smt=not machine.smt))) == ["platform.smt"]
    assert failed(appraised(policy=rules(cached_keys=machine.cached_keys))) == []
    unknown = TrustDomain(world=world(ca="processor"))
    assert failed(appraised(unknown, policy=rules(dynamic_platform=False))) == ["platform.dynamic"]
