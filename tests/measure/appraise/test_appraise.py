"""Authentic evidence is accepted only where nonce, TLS key, policy and reference values all say so."""

from __future__ import annotations

import dataclasses
import hashlib
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluto_measure.appraise import Appraisal, verify_evidence
from pluto_measure.appraise.demands import age_words, duration
from pluto_measure.errors import FormatError
from pluto_measure.measurements import Measurements, Profile
from pluto_measure.policy import Policy
from pluto_measure.policy.strict import STRICT
from pluto_measure.record import replace
from simulators.policies import POLICY
from simulators.tpm_quotes import (
    AK_USAGE,
    BOOT,
    NOW,
    Machine,
    certificate,
    ecc_key,
    public_of,
    reference_of,
    tpm_evidence,
)

NONCE = b"\x5a" * 16
KEY = ecc_key()
REFERENCE = reference_of()


def machine(**changes: object) -> Machine:
    return Machine(key=KEY, **changes)  # type: ignore[arg-type]


def appraised(
    from_machine: Machine | None = None,
    *,
    references: tuple[Measurements, ...] = (REFERENCE,),
    policy: Policy | None = POLICY,
    at: datetime = NOW,
    nonce: bytes | None = NONCE,
    outer_key_digest: bytes | None = bytes(range(32)),
) -> Appraisal:
    raw = (from_machine or machine()).evidence(NONCE).to_text()
    return verify_evidence(raw, references, policy, at, nonce, outer_key_digest)


def refused(appraisal: Appraisal) -> list[str]:
    assert not appraisal.accepted
    assert appraisal.exit_code == 5
    return [finding.id for finding in appraisal.failures]


def verdicts(appraisal: Appraisal) -> dict[str, str]:
    return {finding.id: finding.verdict for finding in appraisal.findings}


def test_genuine_evidence_is_accepted_and_every_check_is_reported_once() -> None:
    appraisal = appraised()
    assert appraisal.failures == ()
    assert (appraisal.accepted, appraisal.exit_code, appraisal.profile) == (True, 0, "simulated")
    ids = [finding.id for finding in appraisal.findings]
    assert len(ids) == len(set(ids))
    assert {f"register.pcr{index}" for index in range(24)} <= set(ids)


def test_a_software_tpm_is_always_a_warning() -> None:
    warnings = [finding for finding in appraised().findings if finding.verdict == "warning"]
    assert [finding.id for finding in warnings] == ["policy.ak_trust", "policy.reference_signature"]
    assert "insecure_software_tpm" in warnings[0].text


def test_a_software_tpm_is_refused_unless_the_policy_says_so() -> None:
    policy = dataclasses.replace(POLICY, insecure_software_tpm=False)
    assert refused(appraised(policy=policy)) == ["policy.ak_trust"]


def test_a_pinned_chain_vouches_for_the_tpm() -> None:
    root_key = ecc_key()
    root = certificate("root", root_key, "root", root_key, ca=True)
    chain = (certificate("ak", KEY, "root", root_key, ca=False, usage=AK_USAGE), root)
    pinned = dataclasses.replace(POLICY, insecure_software_tpm=False, ak_trust=(hashlib.sha256(root).digest(),))
    found = {finding.id: finding for finding in appraised(machine(certificates=chain), policy=pinned).findings}
    shown = found["policy.ak_trust"]
    assert (shown.verdict, shown.expected, shown.actual) == ("pass", shown.actual, hashlib.sha256(root).hexdigest())
    unpinned = dataclasses.replace(pinned, ak_trust=(b"\1" * 32,))
    assert refused(appraised(machine(certificates=chain), policy=unpinned)) == ["policy.ak_trust"]


def test_evidence_that_is_not_authentic_gives_neither_registers_nor_claims() -> None:
    envelope = machine().evidence(NONCE)
    inside = tpm_evidence(envelope)
    quote = replace(inside.quote, signature=b"\0\x18\0\x0b\0\1r\0\1s")
    forged = replace(envelope, evidence=replace(inside, quote=quote))
    appraisal = verify_evidence(forged.to_text(), [REFERENCE], POLICY, NOW, NONCE, bytes(range(32)))
    assert (appraisal.accepted, appraisal.authentic, appraisal.exit_code) == (False, False, 4)
    assert (appraisal.claims, appraisal.registers, appraisal.profile) == (None, {}, None)
    assert [finding.id for finding in appraisal.failures] == ["tpm.signature"]


def test_a_missing_nonce_is_refused() -> None:
    assert refused(appraised(nonce=None)) == ["binding.nonce"]


def test_another_nonce_is_refused() -> None:
    assert refused(appraised(nonce=NONCE + b"\0")) == ["binding.nonce"]


def test_another_tls_key_is_refused() -> None:
    assert refused(appraised(outer_key_digest=b"\1" * 32)) == ["binding.outer_key"]


def test_a_tls_key_that_nobody_saw_is_refused_unless_the_policy_says_any() -> None:
    assert refused(appraised(outer_key_digest=None)) == ["binding.outer_key"]
    policy = dataclasses.replace(POLICY, outer_key_digest="any")
    assert verdicts(appraised(outer_key_digest=None, policy=policy))["binding.outer_key"] == "warning"
    assert refused(appraised(outer_key_digest=b"\1" * 32, policy=policy)) == ["binding.outer_key"]


def test_without_a_policy_the_strict_one_applies_which_accepts_no_evidence_of_a_tpm() -> None:
    appraisal = appraised(policy=None)
    wrong = ["policy.platform", "policy.evidence_type", "policy.ak_trust", "policy.reference_signature"]
    assert refused(appraisal) == wrong
    assert verdicts(appraisal)["policy.given"] == "warning"
    assert refused(appraised(policy=STRICT)) == wrong
    assert "policy.given" not in verdicts(appraised(policy=STRICT))


def test_without_reference_values_the_facts_are_told_and_refused() -> None:
    appraisal = appraised(references=())
    assert refused(appraisal) == ["reference.profile"]
    assert appraisal.registers["sha256"]["pcr4"] != bytes(32)
    assert appraisal.claims is not None


def test_a_platform_that_the_reference_does_not_know_is_refused() -> None:
    policy = dataclasses.replace(POLICY, platforms=("azure-tdx",))
    assert refused(appraised(machine(platform="azure-tdx"), policy=policy)) == ["reference.profile"]


def test_a_platform_that_the_policy_does_not_name_is_refused() -> None:
    policy = dataclasses.replace(POLICY, platforms=("qemu-tdx",))
    assert refused(appraised(policy=policy)) == ["policy.platform"]


def test_an_evidence_type_that_the_policy_does_not_name_is_refused() -> None:
    policy = dataclasses.replace(POLICY, evidence_types=())
    assert refused(appraised(policy=policy)) == ["policy.evidence_type"]


def test_a_machine_that_the_policy_does_not_name_is_refused() -> None:
    appraisal = appraised(policy=dataclasses.replace(POLICY, machines=("01" * 32,)))
    assert refused(appraisal) == ["policy.machine"]
    actual = str(next(finding.actual for finding in appraisal.findings if finding.id == "policy.machine"))
    assert actual == hashlib.sha256(public_of(KEY).marshal()).hexdigest()
    assert appraised(policy=dataclasses.replace(POLICY, machines=("01" * 32, actual))).accepted
    for foreign in (f"ppid:{actual[:32]}", f"ppid:{actual}", actual[:-1] + "x"):
        assert refused(appraised(policy=dataclasses.replace(POLICY, machines=(foreign,)))) == ["policy.machine"]


@pytest.mark.parametrize(("seconds", "accepted"), [(600, True), (601, False), (-60, True), (-61, False)])
def test_evidence_is_accepted_only_within_its_age(seconds: int, accepted: bool) -> None:
    appraisal = appraised(at=NOW + timedelta(seconds=seconds))
    assert appraisal.accepted is accepted
    assert verdicts(appraisal)["policy.evidence_age"] == ("pass" if accepted else "fail")


def test_the_age_of_evidence_in_words_of_people() -> None:
    def said(seconds: int) -> tuple[object, str]:
        found = appraised(at=NOW + timedelta(seconds=seconds)).findings
        return next((finding.expected, finding.text) for finding in found if finding.id == "policy.evidence_age")

    old = "at most 600 seconds old"
    assert said(601) == (old, "the machine dates the evidence 601 seconds ago")
    assert said(5 * 3600 + 7) == (old, "the machine dates the evidence 5 hours ago")
    assert said(48 * 3600 - 1) == (old, "the machine dates the evidence 47 hours ago")
    assert said(48 * 3600) == (old, "the machine dates the evidence 2 days ago")
    assert said(-61) == ("at most 60 seconds ahead", "the machine dates the evidence 61 seconds into the future")


@given(st.integers(0, 400 * 86400), st.integers(0, 400 * 86400))
def test_durations_are_exact_and_an_age_above_its_limit_looks_so(seconds: int, limit: int) -> None:
    units = {"day": 86400, "hour": 3600, "second": 1}

    def read(words: str) -> int:
        parts = words.split()
        return sum(int(n) * units[unit.removesuffix("s")] for n, unit in zip(parts[::2], parts[1::2], strict=True))

    assert read(duration(seconds)) == seconds
    assert (read(age_words(seconds, limit)) > limit) is (seconds > limit)


def test_evidence_of_any_age_still_may_not_come_from_the_future() -> None:
    policy = dataclasses.replace(POLICY, max_evidence_age="any")
    old = appraised(at=NOW + timedelta(days=20), policy=policy)
    assert (old.accepted, verdicts(old)["policy.evidence_age"]) == (True, "pass")
    assert refused(appraised(at=NOW - timedelta(days=1), policy=policy)) == ["policy.evidence_age"]


def test_another_configuration_is_refused_unless_the_policy_says_any() -> None:
    other = machine(config_digest=b"\7" * 32)
    assert refused(appraised(other)) == ["policy.config_digest"]
    assert appraised(other, policy=dataclasses.replace(POLICY, config_digest="any")).accepted


def test_a_debug_build_is_refused_unless_the_policy_says_so() -> None:
    references = (reference_of(flavour="debug"),)
    assert refused(appraised(references=references)) == ["policy.debug"]
    policy = dataclasses.replace(POLICY, allow_debug=True)
    assert appraised(references=references, policy=policy).accepted


def test_unsigned_reference_values_are_refused_unless_the_policy_says_so() -> None:
    policy = dataclasses.replace(POLICY, allow_unsigned_reference=False)
    assert refused(appraised(policy=policy)) == ["policy.reference_signature"]


def test_another_build_id_is_refused() -> None:
    assert refused(appraised(machine(build_id=b"\2" * 32))) == ["claims.build_id"]


def test_of_several_references_the_nearest_is_reported() -> None:
    other = reference_of(BOOT[:-1], build_id=b"\2" * 32, name="other")
    assert appraised(references=(other, REFERENCE)).profile == "simulated"
    near = machine(events=(*BOOT, (12, 13, b"credential")))
    appraisal = appraised(near, references=(other, REFERENCE))
    assert appraisal.profile == "simulated"
    assert refused(appraisal) == ["register.pcr12", "log.events.pcr12"]


def test_the_first_event_that_differs_is_explained_for_programs() -> None:
    assert appraised().explanation == {}
    assert appraised(references=()).explanation == {}
    appraisal = appraised(machine(events=(*BOOT, (12, 13, b"credential"), (13, 13, b"more"))))
    assert refused(appraisal) == ["register.pcr12", "log.events.pcr12", "register.pcr13", "log.events.pcr13"]
    found = appraisal.explanation["log"]
    assert isinstance(found, dict)
    assert (found["register"], found["kind"], found["expected"]) == ("pcr12", "unexpected", None)


def test_a_profile_of_another_platform_is_not_compared() -> None:
    profile = dataclasses.replace(REFERENCE.profiles[0], platform="azure-tdx")
    assert refused(appraised(references=(with_profile(profile),))) == ["reference.profile"]


def with_profile(profile: Profile) -> Measurements:
    return dataclasses.replace(REFERENCE, profiles=(profile,))


def test_malformed_evidence_is_a_format_error() -> None:
    for raw in (b"", b"{}", machine(log=b"no log").evidence(NONCE).to_text()):
        with pytest.raises(FormatError):
            verify_evidence(raw, [REFERENCE], POLICY, NOW, NONCE, bytes(range(32)))


def test_the_document_has_the_members_that_others_rely_on() -> None:
    document = appraised().to_json()
    assert set(document) >= {"accepted", "evidenceType", "tcb", "registers", "findings"}
    findings = document["findings"]
    assert isinstance(findings, list)
    assert all(set(finding) == {"id", "verdict", "expected", "actual", "text"} for finding in findings)
