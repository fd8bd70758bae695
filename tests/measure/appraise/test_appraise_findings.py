"""Whatever is given, every check is reported once and in words; a policy decides verdicts and not what is checked."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest

from pluto_measure.appraise import Appraisal, verify_evidence
from pluto_measure.policy import Policy
from simulators import policies, tpm_quotes
from simulators.intel import NOW, healthy, world
from simulators.trust_domains import NONCE, OUTER_KEY, TrustDomain, appraised, bare, collateral_of, more


def of_a_tpm(policy: Policy | None) -> Appraisal:
    raw = tpm_quotes.Machine().evidence(NONCE).to_text()
    return verify_evidence(raw, [tpm_quotes.reference_of()], policy, NOW, NONCE, OUTER_KEY)


def every_kind() -> list[Appraisal]:
    """Appraisals that between them make every check."""
    return [
        of_a_tpm(policies.POLICY),
        of_a_tpm(None),
        appraised(early=collateral_of(healthy())),
        appraised(TrustDomain(world=world(version=5), edits=(more("rtmr3"),))),
        appraised(TrustDomain(log=b"")),
        appraised(policy=None),
        appraised(collateral=None),
        bare(nonce=NONCE),
    ]


@pytest.mark.parametrize("index", range(8))
def test_no_check_is_reported_twice_and_none_without_words(index: int) -> None:
    findings = every_kind()[index].findings
    assert len({finding.id for finding in findings}) == len(findings)
    for finding in findings:
        assert finding.text
        assert finding.text[0].islower() or finding.text.startswith(("Intel", "MR", "TCB"))
        assert not finding.text.endswith(".")


def test_any_policy_and_time_make_the_same_checks() -> None:
    """What a policy accepts it still reports: unset never means unchecked."""
    plain = [finding.id for finding in appraised().findings]
    late = [finding.id for finding in appraised(at=NOW + timedelta(days=9999)).findings]
    assert late == plain
    other = dataclasses.replace(policies.POLICY, evidence_types=("tpm",), machines=("ab" * 32,), max_evidence_age="any")
    assert [f.id for f in of_a_tpm(other).findings] == [f.id for f in of_a_tpm(policies.POLICY).findings]
