"""What a policy and reference values accept of a token: every claim that decides anything, changed one by one."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta
from typing import Any

import pytest

from pluto_measure.appraise import Appraisal, ChannelExpected, Expected, KeyExpected, SessionExpected
from pluto_measure.appraise.confidential_space import appraise_token
from pluto_measure.appraise.request import SpaceInputs
from pluto_measure.appraise.space_claims import InstanceExpected
from pluto_measure.claims import SessionClaims
from pluto_measure.errors import FormatError
from pluto_measure.measurements import Measurements, Profile
from pluto_measure.policy import Policy
from pluto_measure.policy.confidential_space import STRICT_CONFIDENTIAL_SPACE, ConfidentialSpacePolicy
from pluto_measure.record import replace
from pluto_measure.verify.confidential_space import token_nonce, verify_token
from simulators import confidential_space as cs
from simulators.confidential_space import (
    INSTANCE,
    POLICY,
    REFERENCE,
    ROOTS,
    RULES,
    Space,
    appraised,
    changed,
    expected,
    keys,
    root_hash,
)
from simulators.google_pki import NOW
from simulators.notary import evidence


def refusals(appraisal: Appraisal) -> set[str]:
    return {finding.id for finding in appraisal.failures}


def warnings(appraisal: Appraisal) -> set[str]:
    return {finding.id for finding in appraisal.findings if finding.verdict == "warning"}


def policy(**changes: Any) -> Policy:
    return dataclasses.replace(POLICY, **changes)


def rules(**changes: Any) -> ConfidentialSpacePolicy:
    return dataclasses.replace(RULES, **changes)


def reference(**changes: Any) -> Measurements:
    """REFERENCE with claims of its profile changed."""
    claims = changed(json.loads(json.dumps(REFERENCE.profiles[0].claims)), changes)
    return dataclasses.replace(REFERENCE, profiles=(dataclasses.replace(REFERENCE.profiles[0], claims=claims),))


def test_an_honest_notary_is_accepted_and_in_whose_word_is_told() -> None:
    appraisal = appraised()
    assert (appraisal.exit_code, appraisal.verdict, appraisal.profile) == (0, "accepted", "space")
    assert warnings(appraisal) == {"policy.token_trust", "policy.reference_signature"}
    found = appraisal.to_json()
    assert (found["evidenceType"], found["platform"]) == ("confidential-space", "gcp-confidential-space")
    facts = appraisal.explanation["token"]
    assert isinstance(facts, dict)
    assert (facts["vouchedBy"], facts["tdQuote"], facts["form"]) == ("insecure root", None, "pki")
    assert facts["instance"]["instanceId"] == INSTANCE.instance_id
    json.dumps(found)


def test_a_token_says_that_it_is_googles_word() -> None:
    allowed = rules(forms=("oidc",))
    appraisal = appraised(Space(form="oidc"), rules=allowed, inputs=SpaceInputs(keys=keys()))
    assert appraisal.accepted
    (trust,) = (finding for finding in appraisal.findings if finding.id == "policy.token_trust")
    assert (trust.verdict, trust.expected) == ("pass", "Google")
    assert "no TDX quote" in trust.text
    facts = appraisal.explanation["token"]
    assert isinstance(facts, dict)
    assert (facts["vouchedBy"], facts["root"], facts["keyId"]) == ("Google", None, cs.KEY_ID)


# Claims that are the same for all.
CONTAINER, GCE, SPACE = "submods.container", "submods.gce", "submods.confidential_space"


@pytest.mark.parametrize(
    ("path", "value", "check"),
    [
        ("hwmodel", "GCP_AMD_SEV", "space.hwmodel"),
        ("hwmodel", "INTEL_TDX", "space.hwmodel"),
        ("hwmodel", None, "space.hwmodel"),
        ("swname", "GCE", "space.swname"),
        ("swname", None, "space.swname"),
        ("secboot", False, "space.secboot"),
        ("secboot", None, "space.secboot"),
        ("oemid", 1, "space.oemid"),
        ("oemid", None, "space.oemid"),
        ("attester_tcb", ["AMD"], "space.attester_tcb"),
        ("attester_tcb", ["INTEL", "AMD"], "space.attester_tcb"),
        ("attester_tcb", None, "space.attester_tcb"),
        ("dbgstat", "enabled", "space.dbgstat"),
        ("dbgstat", "disabled", "space.dbgstat"),
        ("dbgstat", None, "space.dbgstat"),
        ("swversion", ["250299"], "space.swversion"),
        ("swversion", ["20250299"], "space.swversion"),
        ("swversion", ["99"], "space.swversion"),
        ("swversion", ["9999999"], "space.swversion"),
        ("swversion", ["2608zz"], "space.swversion"),
        ("swversion", ["260800", "250100"], "space.swversion"),
        ("swversion", None, "space.swversion"),
        (f"{SPACE}.support_attributes", ["USABLE"], "space.support_attributes"),
        (f"{SPACE}.support_attributes", ["EXPERIMENTAL"], "space.support_attributes"),
        (f"{SPACE}.support_attributes", None, "space.support_attributes"),
        (f"{SPACE}.monitoring_enabled", {"memory": True}, "space.monitoring"),
        (f"{SPACE}.monitoring_enabled", {"memory": False, "all": True}, "space.monitoring"),
        (f"{SPACE}.monitoring_enabled", None, "space.monitoring"),
        ("tdx", {"gcp_attester_tcb_status": "OutOfDate"}, "space.tcb_status"),
        ("tdx", [{"gcp_attester_tcb_status": "Revoked"}], "space.tcb_status"),
        ("tdx", None, "space.tcb_status"),
        (f"{CONTAINER}.image_digest", "sha256:" + "00" * 32, "container.image_digest"),
        (f"{CONTAINER}.image_digest", None, "container.image_digest"),
        (f"{CONTAINER}.image_id", "sha256:" + "00" * 32, "container.image_id"),
        (f"{CONTAINER}.args", ["/usr/bin/python3", "-m", "pluto", "--insecure"], "container.args"),
        (f"{CONTAINER}.args", None, "container.args"),
        (f"{CONTAINER}.env", {"PATH": "/tmp"}, "container.env"),
        (f"{CONTAINER}.env", {"PATH": "/usr/bin", "LD_PRELOAD": "x"}, "container.env"),
        (f"{CONTAINER}.env", {"PATH": "/usr/bin", "HOSTNAME": "elsewhere"}, "container.env"),
        (f"{CONTAINER}.env", None, "container.env"),
        (f"{CONTAINER}.env_override", {"PATH": "/usr/bin"}, "container.env_override"),
        (f"{CONTAINER}.cmd_override", ["-m", "pluto"], "container.cmd_override"),
    ],
)
def test_each_claim_that_decides_refuses_alone(path: str, value: Any, check: str) -> None:
    appraisal = appraised(Space(claims={path: value}))
    assert (appraisal.exit_code, refusals(appraisal)) == (5, {check})
    assert appraisal.claims == Space().node()


@pytest.mark.parametrize("version", [["260800"], "260800", ["20260800"], ["250300"]])
def test_a_version_may_have_its_century_and_be_the_floor(version: Any) -> None:
    assert appraised(Space(claims={"swversion": version})).accepted


def test_without_the_machines_name_the_environment_is_the_references() -> None:
    assert appraised(Space(claims={f"{CONTAINER}.env": {"PATH": "/usr/bin"}})).accepted


def test_a_token_without_container_machine_and_image_is_refused_by_each() -> None:
    found = refusals(appraised(Space(claims={"submods": None}), rules=rules(projects=("notary-1",))))
    assert {"container.image_digest", "container.args", "space.project", "space.support_attributes"} <= found


def test_signatures_of_the_image_and_unknown_claims_change_nothing() -> None:
    signed = Space(claims={f"{CONTAINER}.image_signatures": [{"key_id": "ab"}], "new": 1})
    assert appraised(signed).accepted
    facts = appraised(signed).explanation["token"]
    assert isinstance(facts, dict)
    assert facts["unknownClaims"] == ["new"]


# The policy.


@pytest.mark.parametrize(
    ("changes", "claims", "check"),
    [
        ({"minimum_version": "260801"}, {}, "space.swversion"),
        ({"support": "LATEST"}, {f"{SPACE}.support_attributes": ["STABLE", "USABLE"]}, "space.support_attributes"),
        ({"forms": ("oidc",)}, {}, "policy.token_form"),
        ({"projects": ("notary-2",)}, {}, "space.project"),
        ({"zones": ("us-central1-b",)}, {}, "space.zone"),
        ({"service_accounts": ()}, {}, "space.service_accounts"),
        (
            {"service_accounts": ("notary@notary-1.iam.gserviceaccount.com",)},
            {"google_service_accounts": ["a@b", "notary@notary-1.iam.gserviceaccount.com"]},
            "space.service_accounts",
        ),
        ({"restart_policies": ("OnFailure",)}, {}, "container.restart_policy"),
        ({"image_references": ("docker.io/notary",)}, {}, "container.image_reference"),
    ],
)
def test_a_stricter_policy_refuses(changes: dict[str, Any], claims: dict[str, Any], check: str) -> None:
    assert refusals(appraised(Space(claims=claims), rules=rules(**changes))) == {check}


@pytest.mark.parametrize(
    ("changes", "claims"),
    [
        ({"support": "any"}, {f"{SPACE}.support_attributes": None}),
        ({"support": "USABLE"}, {f"{SPACE}.support_attributes": ["USABLE"]}),
        ({"tcb_statuses": "any"}, {"tdx": None}),
        ({"tcb_statuses": ("UpToDate", "OutOfDate")}, {"tdx": {"gcp_attester_tcb_status": "OutOfDate"}}),
        ({"monitoring": "any"}, {f"{SPACE}.monitoring_enabled": {"memory": True}}),
        ({"projects": ("notary-1",), "zones": ("us-central1-a",)}, {}),
        ({"service_accounts": ()}, {"google_service_accounts": None}),
    ],
)
def test_a_policy_accepts_what_it_writes_out(changes: dict[str, Any], claims: dict[str, Any]) -> None:
    assert appraised(Space(claims=claims), rules=rules(**changes)).accepted


def test_a_debug_image_is_a_warning_where_the_policy_allows_debug() -> None:
    debug = Space(claims={"dbgstat": "enabled", f"{SPACE}.support_attributes": None})
    assert refusals(appraised(debug)) == {"space.dbgstat", "space.support_attributes"}
    allowed = appraised(debug, policy=policy(allow_debug=True))
    assert allowed.accepted
    assert {"space.dbgstat", "space.support_attributes"} <= warnings(allowed)
    other = Space(claims={"dbgstat": "disabled", f"{SPACE}.support_attributes": None})
    assert refusals(appraised(other, policy=policy(allow_debug=True))) == {"space.dbgstat", "space.support_attributes"}


def test_machine_platform_type_age_and_configuration_are_judged_as_of_other_evidence() -> None:
    name = f"gceInstance:{INSTANCE.instance_id}"
    assert appraised(policy=policy(machines=(name,))).accepted
    assert refusals(appraised(policy=policy(machines=("gceInstance:1",)))) == {"policy.machine"}
    assert refusals(appraised(policy=policy(platforms=("qemu-tdx",)))) == {"policy.platform"}
    assert refusals(appraised(policy=policy(evidence_types=("tdx",)))) == {"policy.evidence_type"}
    assert refusals(appraised(policy=policy(config_digest=bytes(32)))) == {"policy.config_digest"}
    assert refusals(appraised(at=NOW + timedelta(seconds=601))) == {"policy.evidence_age"}
    assert refusals(appraised(policy=policy(allow_unsigned_reference=False))) == {"policy.reference_signature"}


def test_age_is_by_googles_clock_and_not_by_the_machines() -> None:
    old = Space(issued_at=NOW - timedelta(minutes=20)).envelope()
    fresh = replace(old, issued_at=NOW)
    assert refusals(appraised(fresh)) == {"policy.evidence_age"}


def test_evidence_of_another_platform_is_refused_even_if_the_policy_names_it() -> None:
    both = policy(platforms=("gcp-confidential-space", "qemu-tdx"))
    assert refusals(appraised(Space(platform="qemu-tdx"), policy=both)) == {"space.platform"}


def test_a_machine_of_somebody_elses_with_the_same_notary_is_refused() -> None:
    assert appraised(inputs=SpaceInputs(instance=INSTANCE)).accepted
    for name in ("project_id", "zone", "instance_id", "instance_name"):
        other = dataclasses.replace(INSTANCE, **{name: "other"})
        appraisal = appraised(inputs=SpaceInputs(instance=other))
        assert refusals(appraisal) == {"space.instance"}
        assert any(name in finding.text for finding in appraisal.failures)
    nowhere = Space(claims={GCE: None, f"{CONTAINER}.env": {"PATH": "/usr/bin"}})
    unset = InstanceExpected(project_id="a", zone="b", instance_id="c", instance_name="d")
    assert refusals(appraised(nowhere, inputs=SpaceInputs(instance=unset))) == {"space.instance"}


@pytest.mark.parametrize(("seconds", "accepted"), [(0, True), (86400, True), (86401, False), (-60, True), (-61, False)])
def test_a_key_set_must_be_fresh(seconds: int, accepted: bool) -> None:
    given = SpaceInputs(keys=keys(NOW - timedelta(seconds=seconds)))
    appraisal = appraised(Space(form="oidc"), rules=rules(forms=("pki", "oidc")), inputs=given)
    assert refusals(appraisal) == (set() if accepted else {"policy.key_age"})


def test_without_a_key_set_nothing_is_decided() -> None:
    appraisal = appraised(Space(form="oidc"))
    assert (appraisal.exit_code, appraisal.authentic, refusals(appraisal)) == (5, False, {"token.keys_given"})
    forged = appraised(Space(form="oidc", claims={"iss": "x"}))
    assert (forged.exit_code, forged.claims) == (4, None)


def test_without_a_policy_the_strict_one_refuses() -> None:
    appraisal = appraised(policy=None, rules=None)
    assert appraisal.exit_code == 4  # the root is nobody's that it knows
    token = verify_token(Space().envelope(), at=NOW, roots=ROOTS)
    strict = appraise_token(token, [REFERENCE], None, STRICT_CONFIDENTIAL_SPACE, at=NOW, expected=expected())
    assert "policy.given" in warnings(strict)
    assert {"policy.platform", "policy.evidence_type", "policy.reference_signature"} <= refusals(strict)


def test_a_bare_token_has_nothing_to_appraise() -> None:
    bound = Space().node().binding()
    token = verify_token(Space().token(token_nonce(bound)), at=NOW, roots=ROOTS, bound=bound)
    with pytest.raises(ValueError, match="bare token"):
        appraise_token(token, [REFERENCE], POLICY, RULES, at=NOW, expected=expected())


# The reference.


def test_without_reference_values_nothing_is_accepted() -> None:
    assert refusals(appraised(references=())) == {"reference.profile"}
    other = dataclasses.replace(REFERENCE, profiles=(Profile("x", "qemu-vtpm", {}, {}, ()),))
    assert refusals(appraised(references=(other,))) == {"reference.profile"}


@pytest.mark.parametrize(
    ("path", "value", "check"),
    [
        ("submods.container.image_digest", "sha256:" + "ef" * 32, "container.image_digest"),
        ("submods.container.args", [], "container.args"),
        ("submods.container.env", {"PATH": "/usr/bin", "A": "b"}, "container.env"),
        ("submods.container.env_override", {"A": "b"}, "container.env_override"),
    ],
)
def test_the_container_is_the_references(path: str, value: Any, check: str) -> None:
    assert refusals(appraised(references=(reference(**{path: value}),))) == {check}


def test_when_the_container_is_started_again_is_the_policys() -> None:
    space = Space(claims={f"{CONTAINER}.restart_policy": "OnFailure"})
    assert appraised(space).accepted
    assert appraised(space, rules=rules(restart_policies=("OnFailure", "Always"))).accepted
    assert refusals(appraised(space, rules=rules(restart_policies=("Never",)))) == {"container.restart_policy"}


def test_of_several_builds_the_one_that_fits_is_told() -> None:
    other = dataclasses.replace(reference(**{"submods.container.args": []}), build_id="00" * 32)
    assert appraised(references=(other, REFERENCE)).accepted
    assert refusals(appraised(references=(other,))) == {"claims.build_id", "container.args"}


def test_a_reference_with_other_claims_is_malformed() -> None:
    with pytest.raises(FormatError, match=r"measurements\.json"):
        appraised(references=(reference(swname="GCE"),))


# The purpose.

CLAIMS = evidence.every_purpose(Space().build_id, cs.CONFIG, cs.OUTER_KEY)
EXPECTED: dict[str, Expected] = {
    "node": expected(evidence.NONCE),
    "channel": ChannelExpected(evidence.CHANNEL_KEY, evidence.EPOCH, cs.OUTER_KEY),
    "session": SessionExpected(evidence.EKM, evidence.NONCE, evidence.CHANNEL_KEY),
    "key": KeyExpected(evidence.STATEMENT_KEY),
}


@pytest.mark.parametrize("purpose", EXPECTED)
def test_every_purpose_has_its_token_and_no_other(purpose: str) -> None:
    made = Space().envelope(CLAIMS[purpose])
    assert appraised(made, wanted=EXPECTED[purpose]).accepted
    for other in EXPECTED.keys() - {purpose}:
        assert refusals(appraised(made, wanted=EXPECTED[other])) == {"binding.purpose"}
        shown_for_another = replace(made, claims=CLAIMS[other], epoch=getattr(CLAIMS[other], "epoch", 0))
        assert appraised(shown_for_another, wanted=EXPECTED[other]).exit_code == 4


def test_evidence_for_another_caller_or_of_another_key_is_refused() -> None:
    assert refusals(appraised(wanted=expected(b"other"))) == {"binding.nonce"}
    assert refusals(appraised(wanted=expected(outer_key=bytes(32)))) == {"binding.outer_key"}


def test_a_session_must_be_opened_first() -> None:
    claims = CLAIMS["session"]
    assert isinstance(claims, SessionClaims)
    closed = replace(claims, ekm=None)
    made = replace(Space().envelope(claims), claims=closed)
    with pytest.raises(ValueError, match="EKM"):
        appraised(made)


# How findings are told.


def test_no_check_is_reported_twice_and_each_has_words() -> None:
    runs = [
        appraised(),
        appraised(references=()),
        appraised(Space(form="oidc"), inputs=SpaceInputs(keys=keys())),
        appraised(Space(form="oidc")),
        appraised(Space(claims={"submods": None, "tdx": None})),
        appraised(policy=None, rules=RULES),
        appraised(Space(claims={"dbgstat": "enabled"}), policy=policy(allow_debug=True)),
        appraised(inputs=SpaceInputs(instance=INSTANCE)),
    ]
    for run in runs:
        ids = [finding.id for finding in run.findings]
        assert len(ids) == len(set(ids))
        for finding in run.findings:
            assert finding.text[:1].islower() or finding.text.startswith(("Google", "Intel", "MR", "TCB"))
            assert not finding.text.endswith(".")


def test_any_rules_and_time_make_the_same_checks() -> None:
    plain = [finding.id for finding in appraised().findings]
    lax = rules(support="any", tcb_statuses="any", monitoring="any", projects=("x-12345",), forms=("oidc",))
    late = appraised(at=NOW + timedelta(minutes=50), rules=lax, inputs=SpaceInputs(instance=INSTANCE))
    assert [finding.id for finding in late.findings] == plain


def test_the_root_of_the_pretend_google_is_no_default() -> None:
    assert root_hash() not in STRICT_CONFIDENTIAL_SPACE.insecure_roots
    assert "token.chain" in refusals(appraised(rules=STRICT_CONFIDENTIAL_SPACE))
