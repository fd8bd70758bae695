"""Intel's early set can only warn: a platform that it will call outdated, and early sets that are of no use."""

from __future__ import annotations

from typing import Any

import pytest

from pluto_measure.appraise import Appraisal
from pluto_measure.formats.collateral import Collateral
from simulators.intel import EARLY_LEVELS, Authority, TcbLevel, healthy, tcb_info, world
from simulators.trust_domains import POLICY, TrustDomain, appraised, collateral_of, failed, rules, verdicts

EARLY = collateral_of(healthy().with_collateral(info=tcb_info(levels=EARLY_LEVELS, evaluation=21)))


def forecast(early: Collateral, **changes: Any) -> tuple[Appraisal, str]:
    """An appraisal that is accepted, and what it says of the early set."""
    appraisal = appraised(early=early, **changes)
    assert failed(appraisal) == []
    return appraisal, next(finding.text for finding in appraisal.findings if finding.id == "tcb.forecast")


def test_without_an_early_set_there_is_no_forecast() -> None:
    assert "tcb.forecast" not in verdicts(appraised())


def test_the_same_verdict_passes() -> None:
    appraisal, text = forecast(collateral_of(healthy()))
    assert (verdicts(appraisal)["tcb.forecast"], text) == (
        "pass",
        "Intel's early set says nothing worse of this platform",
    )
    assert appraisal.explanation["early"] == appraisal.to_json()["tcb"]


def test_a_platform_that_will_be_outdated_is_warned_of() -> None:
    appraisal, text = forecast(EARLY)
    finding = next(finding for finding in appraisal.findings if finding.id == "tcb.forecast")
    assert (finding.verdict, finding.expected, finding.actual) == ("warning", "UpToDate", "OutOfDate")
    assert "OutOfDate" in text
    assert "INTEL-SA-09110" in text
    early = appraisal.explanation["early"]
    assert isinstance(early, dict)
    assert (early["status"], early["advisories"]) == ("OutOfDate", ["INTEL-SA-09110"])
    tcb = appraisal.to_json()["tcb"]
    assert isinstance(tcb, dict)
    assert tcb["status"] == "UpToDate"


def test_a_platform_without_a_level_in_the_early_set_is_warned_of() -> None:
    """As machines that a new set drops."""
    levels = (TcbLevel(sgx=(200, *TcbLevel.sgx[1:])),)
    appraisal, text = forecast(collateral_of(healthy().with_collateral(info=tcb_info(levels=levels))))
    assert verdicts(appraisal)["tcb.forecast"] == "warning"
    assert "TCB_NOT_SUPPORTED" in text


def test_an_early_set_that_says_better_things_passes() -> None:
    outdated = TrustDomain(world=world(platform="OutOfDate"))
    lax = rules(accepted_statuses=("OutOfDate",))
    better = (TcbLevel(sgx=(0,) * 16, tdx=(0,) * 16),)
    early = collateral_of(healthy().with_collateral(info=tcb_info(levels=better)))
    appraisal, _ = forecast(early, domain=outdated, policy=lax)
    assert verdicts(appraisal)["tcb.forecast"] == "pass"


@pytest.mark.parametrize(
    "early",
    [
        collateral_of(world(authority=Authority.make(1))),
        collateral_of(healthy().with_collateral(info=tcb_info(fmspc=bytes(6)))),
        collateral_of(healthy().with_collateral(info="{}")),
        collateral_of(healthy().with_members(tcb_info_signature="00" * 64)),
    ],
    ids=["foreign", "another platform's", "malformed", "forged"],
)
def test_an_early_set_that_cannot_be_used_is_a_warning(early: Collateral) -> None:
    appraisal, text = forecast(early)
    assert verdicts(appraisal)["tcb.forecast"] == "warning"
    assert text.startswith("Intel's early set cannot be used: ")
    assert "early" not in appraisal.explanation


def test_an_early_set_that_is_older_than_the_standard_one_foretells_nothing() -> None:
    appraisal, text = forecast(collateral_of(healthy().with_collateral(info=tcb_info(evaluation=19))))
    assert verdicts(appraisal)["tcb.forecast"] == "warning"
    assert "older than the standard one" in text
    assert "early" not in appraisal.explanation


def test_an_early_set_does_not_excuse_a_refusal() -> None:
    refused = appraised(TrustDomain(world=world(platform="Revoked")), policy=POLICY, early=collateral_of(healthy()))
    assert failed(refused) == ["tcb.status"]
