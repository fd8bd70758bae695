"""Appraise a token of Confidential Space: purpose, age, platform, Google's image, the machine, the container. Pure.

`appraise_envelope` is the way from an envelope to a verdict; `appraise_token` judges what is verified already. A token
is Google's word about a machine, and the output says so: it holds no TDX quote, and nobody else can check it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from pluto_measure.appraise import demands
from pluto_measure.appraise.appraisal import Appraisal
from pluto_measure.appraise.expected import Expected
from pluto_measure.appraise.nearest import build_claim, chosen_profile, nearest, nearest_findings
from pluto_measure.appraise.request import NO_SPACE, SpaceInputs
from pluto_measure.appraise.space_claims import (
    InstanceExpected,
    container_findings,
    image_findings,
    machine_findings,
    platform_findings,
    restart_finding,
    source_finding,
)
from pluto_measure.evidence import Envelope, format_time
from pluto_measure.findings import Finding, NotAuthentic, failures, judge
from pluto_measure.formats.confidential_space import PLATFORM, SpaceInstance, SpaceReference
from pluto_measure.measurements import Measurements, Profile
from pluto_measure.policy import Policy
from pluto_measure.policy.confidential_space import STRICT_CONFIDENTIAL_SPACE, ConfidentialSpacePolicy
from pluto_measure.policy.strict import STRICT
from pluto_measure.verify.confidential_space import KEYS_GIVEN, VerifiedToken, shown, verify_token
from pluto_measure.verify.google_pki import GOOGLE_ROOTS

TYPE: Final = "confidential-space"
MACHINE: Final = "gceInstance"  # the kind of name that a policy's `machines` has for a virtual machine of Google's
_WORD: Final = "a token is Google's word about the machine; it holds no TDX quote that anybody else could check"


def appraise_envelope(
    envelope: Envelope,
    references: Sequence[Measurements],
    policy: Policy | None,
    rules: ConfidentialSpacePolicy | None,
    *,
    at: datetime,
    expected: Expected,
    space: SpaceInputs = NO_SPACE,
) -> Appraisal:
    """Verify and appraise. `rules` are the policy's for tokens; None: the strict ones. FormatError."""
    chosen = rules or STRICT_CONFIDENTIAL_SPACE
    roots = GOOGLE_ROOTS | frozenset(chosen.insecure_roots)
    skew = (policy or STRICT).clock_skew
    try:
        token = verify_token(envelope, at=at, keys=space.keys, roots=roots, skew=skew)
    except NotAuthentic as error:
        accused = [finding for finding in failures(error.findings) if finding.id != KEYS_GIVEN]
        return Appraisal(False, False, TYPE, envelope.platform, None, None, {}, error.findings, undecided=not accused)
    return appraise_token(token, references, policy, chosen, at=at, expected=expected, instance=space.instance)


def appraise_token(
    token: VerifiedToken,
    references: Sequence[Measurements],
    policy: Policy | None,
    rules: ConfidentialSpacePolicy,
    *,
    at: datetime,
    expected: Expected,
    instance: InstanceExpected | None = None,
) -> Appraisal:
    """Appraise a verified token of an envelope. FormatError for a reference whose claims are not ours.

    ValueError for a bare token, which has no claims that could be appraised.
    """
    if (bound := token.bound_claims) is None:
        raise ValueError("a bare token has no claims beside it")
    chosen = policy or STRICT

    def against(reference: Measurements, profile: Profile) -> tuple[Finding, ...]:
        build = build_claim(bound, reference)
        container = container_findings(token.claims, SpaceReference.parse(profile.claims))
        return (chosen_profile(profile), build, *container)

    best = nearest([(m, p) for m in references for p in m.profile(PLATFORM)], against)
    findings = [
        *token.findings,
        *expected.findings(bound, chosen),
        *demands.given_finding(policy),
        *_policy(token, chosen, rules, at),
        *_machine(token, chosen, rules, instance),
        *nearest_findings(best, references, PLATFORM, chosen),
    ]
    return Appraisal(
        accepted=not failures(findings),
        authentic=True,
        evidence_type=TYPE,
        platform=token.platform,
        profile=best.profile.id if best else None,
        claims=bound,
        registers={},
        findings=tuple(findings),
        explanation={"token": token_facts(token)},
    )


def _policy(token: VerifiedToken, policy: Policy, rules: ConfidentialSpacePolicy, at: datetime) -> Iterator[Finding]:
    """What is asked of every kind of evidence, then of how a token is signed."""
    assert token.bound_claims is not None, "a bare token is never appraised"
    yield demands.member_finding("policy.platform", token.platform, policy.platforms, "platform")
    yield judge(
        "space.platform",
        token.platform == PLATFORM,
        "the machine says that it is what tokens speak of",
        otherwise="the machine says that it is of another kind than tokens speak of",
        expected=PLATFORM,
        actual=token.platform,
    )
    yield demands.member_finding("policy.evidence_type", TYPE, policy.evidence_types, "evidence type")
    number = token.claims.instance.instance_id if token.claims.instance else ""
    yield demands.machine_finding([shown(f"{MACHINE}:{number}")], policy)
    yield demands.age_finding(token.claims.issued_at, policy, at, dated_by="Google")
    yield demands.config_finding(token.bound_claims, policy)
    yield demands.member_finding("policy.token_form", token.form, rules.forms, "form of token")
    yield _trust(token)
    if token.keys_fetched_at is not None:
        yield _key_age(token.keys_fetched_at, policy, rules, at)


def _machine(
    token: VerifiedToken,
    policy: Policy,
    rules: ConfidentialSpacePolicy,
    instance: InstanceExpected | None,
) -> Iterator[Finding]:
    """What runs the container, and for whom."""
    yield from platform_findings(token.claims, rules)
    yield from image_findings(token.claims, rules, allow_debug=policy.allow_debug)
    yield from machine_findings(token.claims, rules, instance)
    yield source_finding(token.claims, rules)
    yield restart_finding(token.claims, rules)


def _trust(token: VerifiedToken) -> Finding:
    """In whom one trusts who accepts this."""
    check, root = "policy.token_trust", None if token.root is None else token.root.hex()
    if token.root is not None and token.root not in GOOGLE_ROOTS:
        text = "insecure_roots: this is no token of Google's, so whoever holds that root can say anything"
        return Finding(check, "warning", text, None, root)
    if token.root is None:
        return Finding(check, "pass", f"{_WORD}; the key set came from who gave it", "Google", token.key_id)
    return Finding(check, "pass", _WORD, "Google", root)


def _key_age(fetched_at: datetime, policy: Policy, rules: ConfidentialSpacePolicy, at: datetime) -> Finding:
    age = int((at - fetched_at).total_seconds())
    return judge(
        "policy.key_age",
        -policy.clock_skew <= age <= rules.max_key_age,
        "the key set was fetched recently enough",
        otherwise="the key set was fetched too long ago, or is from the future",
        expected=f"at most {demands.duration(rules.max_key_age)} old",
        actual=format_time(fetched_at),
    )


def token_facts(token: VerifiedToken) -> dict[str, object]:
    """What the token says, for programs and people; in whose word one trusts comes first."""
    claims, container, instance = token.claims, token.claims.container, token.claims.instance
    return {
        "vouchedBy": "Google" if token.root is None or token.root in GOOGLE_ROOTS else "insecure root",
        "tdQuote": None,
        "form": token.form,
        "keyId": token.key_id,
        "root": None if token.root is None else token.root.hex(),
        "issuedAt": format_time(claims.issued_at),
        "expiresAt": format_time(claims.expires_at),
        "hwmodel": shown(claims.hardware),
        "swversion": [shown(item) for item in claims.software_versions],
        "dbgstat": shown(claims.debug),
        "supportAttributes": [shown(item) for item in claims.support],
        "tcbStatus": shown(claims.tcb_status),
        "tcbDate": shown(claims.tcb_date),
        "imageReference": shown(container.image_reference) if container else None,
        "imageDigest": shown(container.image_digest) if container else None,
        "instance": None if instance is None else _instance_facts(instance),
        "serviceAccounts": [shown(item) for item in claims.service_accounts],
        "unknownClaims": [shown(item) for item in claims.unknown],
    }


def _instance_facts(instance: SpaceInstance) -> dict[str, str]:
    return {
        "projectId": shown(instance.project_id),
        "projectNumber": shown(instance.project_number),
        "zone": shown(instance.zone),
        "instanceId": shown(instance.instance_id),
        "instanceName": shown(instance.instance_name),
    }
