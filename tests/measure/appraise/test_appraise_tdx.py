"""A TDX quote is accepted only where binding, policy, platform and reference values all say so; each says so alone."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from datetime import timedelta
from typing import Any

import pytest

from pluto_measure.appraise import NOTHING, Appraisal, parse_evidence, quote_of, tdx, verify_evidence
from pluto_measure.errors import FormatError
from pluto_measure.measurements import Measurements
from pluto_measure.policy import Policy
from pluto_measure.policy.strict import STRICT
from pluto_measure.record import replace
from simulators import tpm_quotes
from simulators.intel import DEBUG, NOW, SEPT_VE_DISABLE, Authority, Machine, healthy, world
from simulators.trust_domains import (
    CONFIG,
    NONCE,
    OUTER_KEY,
    POLICY,
    REFERENCE,
    REFERENCES,
    ROOT,
    TrustDomain,
    appraised,
    bare,
    failed,
    policy,
    rules,
    verdicts,
    warned,
)

KINDS = list(REFERENCES)
WARNED = ["collateral.rollback", "policy.insecure_root", "policy.reference_signature"]
HONEST = TrustDomain()
TPM_KEY = tpm_quotes.ecc_key()


def refused(appraisal: Appraisal) -> list[str]:
    """The findings that refuse authentic evidence, for which Intel's verdict stands whatever we think of it."""
    assert (appraisal.accepted, appraisal.authentic, appraisal.exit_code) == (False, True, 5)
    assert appraisal.tcb is not None
    assert appraisal.tcb == appraised().tcb
    return failed(appraisal)


def warnings(kind: str) -> list[str]:
    """What the policy leaves open of an honest machine; a Google one comes without endorsement."""
    return [*WARNED[:2], "endorsement.given", *WARNED[2:]] if kind == "gcp-tdx" else list(WARNED)


# what is accepted


@pytest.mark.parametrize("kind", KINDS)
def test_a_genuine_envelope_is_accepted_and_every_check_is_reported_once(kind: str) -> None:
    domain = TrustDomain(kind=kind)
    appraisal = appraised(domain)
    assert failed(appraisal) == []
    assert (appraisal.accepted, appraisal.authentic, appraisal.exit_code) == (True, True, 0)
    assert (appraisal.platform, appraisal.profile) == (kind, REFERENCES[kind].profiles[0].id)
    assert (appraisal.claims, appraisal.registers) == (domain.claims(), {"sha384": domain.registers()})
    assert warned(appraisal) == warnings(kind)
    ids = [finding.id for finding in appraisal.findings]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("kind", KINDS)
def test_a_bare_quote_takes_its_platform_from_the_profile_that_fits(kind: str) -> None:
    appraisal = bare(TrustDomain(kind=kind), references=tuple(REFERENCES.values()))
    assert failed(appraisal) == []
    assert (appraisal.platform, appraisal.profile) == (kind, REFERENCES[kind].profiles[0].id)
    assert (appraisal.claims, appraisal.exit_code) == (None, 0)
    assert warned(appraisal) == ["policy.evidence_age", "binding.outer_key", *warnings(kind)]


@pytest.mark.parametrize("form", [bytes.hex, lambda raw: json.dumps(list(raw))])
def test_a_bare_quote_may_be_text(form: Any) -> None:
    text = form(HONEST.quote())
    assert bare(raw=text).accepted
    assert bare(raw=text.encode()).accepted


@pytest.mark.parametrize(("version", "kind"), [(5, 2), (5, 3), (5, 4)])
def test_newer_quotes_and_reports_are_accepted(version: int, kind: int) -> None:
    appraisal = appraised(TrustDomain(world=world(version=version, kind=kind)))
    assert failed(appraisal) == []
    assert appraisal.quote is not None
    assert ("serviceTds" in appraisal.quote) == (kind == 4)


def test_an_envelope_without_a_log_is_accepted_by_its_registers_alone() -> None:
    appraisal = appraised(TrustDomain(log=b""))
    assert failed(appraisal) == []
    assert warned(appraisal) == [*WARNED[:2], "log.given", *WARNED[2:]]
    assert bare(log=None).accepted


def test_the_processor_ca_vouches_too() -> None:
    assert appraised(TrustDomain(world=world(ca="processor"))).accepted


# what is refused, one thing at a time


def test_no_nonce_and_another_nonce() -> None:
    assert refused(appraised(nonce=None)) == ["binding.nonce"]
    assert refused(appraised(nonce=NONCE + b"\0")) == ["binding.nonce"]


def test_a_tls_key_that_is_another_or_that_nobody_saw() -> None:
    assert refused(appraised(outer_key_digest=b"\1" * 32)) == ["binding.outer_key"]
    assert refused(appraised(outer_key_digest=None)) == ["binding.outer_key"]
    anyones = appraised(outer_key_digest=None, policy=policy(outer_key_digest="any"))
    assert (anyones.accepted, verdicts(anyones)["binding.outer_key"]) == (True, "warning")


def test_another_configuration() -> None:
    named = policy(config_digest=CONFIG)
    assert appraised(policy=named).accepted
    assert refused(appraised(TrustDomain(config_digest=b"\7" * 32), policy=named)) == ["policy.config_digest"]


@pytest.mark.parametrize(("seconds", "accepted"), [(600, True), (601, False), (-60, True), (-61, False)])
def test_evidence_of_another_time(seconds: int, accepted: bool) -> None:
    appraisal = appraised(TrustDomain(issued_at=NOW - timedelta(seconds=seconds)))
    assert failed(appraisal) == ([] if accepted else ["policy.evidence_age"])


def test_a_platform_that_the_policy_does_not_name() -> None:
    assert refused(appraised(policy=policy(platforms=("gcp-tdx",)))) == ["policy.platform"]
    assert refused(bare(policy=policy(platforms=("gcp-tdx",), outer_key_digest="any"))) == ["policy.platform"]


def test_a_platform_that_the_reference_does_not_know() -> None:
    domain = TrustDomain(named="gcp-tdx")
    assert refused(appraised(domain)) == ["reference.profile"]
    odd = appraised(TrustDomain(named="qemu-vtpm"), references=(REFERENCE, tpm_quotes.reference_of()))
    assert refused(odd) == ["policy.platform", "reference.profile"], "a TPM's profile says nothing of a trust domain"


def test_a_policy_for_tpms_alone_refuses_by_its_evidence_type_and_judges_the_rest_strictly() -> None:
    """The strict rules know no further roots, so only Intel's own hardware gets as far as the appraisal."""
    tpm_alone = policy(evidence_types=("tpm",), tdx=None)
    appraisal = appraised(policy=tpm_alone)
    assert appraisal.exit_code == 4
    assert "pck.chain" in failed(appraisal)
    assert refused(appraised(policy=policy(evidence_types=("tpm",)))) == ["policy.evidence_type"]


def test_references_that_nobody_signed() -> None:
    assert refused(appraised(policy=policy(allow_unsigned_reference=False))) == ["policy.reference_signature"]


def test_references_of_a_debug_build() -> None:
    debug = (dataclasses.replace(REFERENCE, flavour="debug"),)
    assert refused(appraised(references=debug)) == ["policy.debug"]
    assert appraised(references=debug, policy=policy(allow_debug=True)).accepted


def test_no_references_tell_the_facts() -> None:
    appraisal = appraised(references=())
    assert refused(appraisal) == ["reference.profile"]
    assert (appraisal.profile, appraisal.registers) == (None, {"sha384": HONEST.registers()})
    without = bare(references=())
    assert refused(without) == ["policy.platform", "reference.profile"]
    assert without.platform is None
    said = {finding.id: finding.text for finding in without.failures}
    assert said["policy.platform"] == "not compared, as no reference values were given"
    assert said["reference.profile"] == "no reference values were given (--reference)"
    of_a_tpm = bare(references=(tpm_quotes.reference_of(),))
    assert refused(of_a_tpm) == ["policy.platform", "reference.profile"]
    assert "no profile that would" in next(f.text for f in of_a_tpm.failures if f.id == "policy.platform")


def test_what_was_not_given_is_refused_with_the_option_that_gives_it() -> None:
    lacking: dict[str, Any] = {"nonce": None, "outer_key_digest": None, "references": (), "collateral": None}
    said = {f.id: f.text for f in (*appraised(**lacking).failures, *bare(report_data=None, policy=POLICY).failures)}
    options = {
        "collateral.given": "no collateral was given (--collateral, --state), so ",
        "binding.nonce": "no nonce was given (--nonce), so ",
        "reference.profile": "(--reference)",
        "binding.report_data": "old or of another machine (--report-data)",
        "binding.outer_key": 'of another machine (outerKeyDigest = "any" accepts that)',
    }
    assert {name: options[name] in said.get(name, "") for name in options} == dict.fromkeys(options, True)
    enveloped = {f.id: f.text for f in appraised(outer_key_digest=None).failures}
    assert enveloped["binding.outer_key"].endswith("(--tls-certificate or --key-digest)")
    seen = {f.id: f.text for f in bare(outer_key_digest=OUTER_KEY).failures}
    assert seen["binding.outer_key"].endswith("so it cannot be compared with the one that was seen")


def test_references_of_another_build() -> None:
    assert refused(appraised(TrustDomain(build_id=b"\2" * 32))) == ["claims.build_id"]


def test_without_a_policy_the_strict_one_applies(monkeypatch: pytest.MonkeyPatch) -> None:
    assert appraised(policy=None).exit_code == 4, "the pretend Intel is not Intel"
    monkeypatch.setattr(tdx, "INTEL_ROOTS", frozenset({ROOT}))
    appraisal = appraised(policy=None)
    assert refused(appraisal) == ["policy.reference_signature"]
    assert warned(appraisal) == ["policy.given", "collateral.rollback"]
    given = appraised(policy=STRICT)
    assert (refused(given), warned(given)) == (["policy.reference_signature"], ["collateral.rollback"])


def test_a_trust_domain_that_can_be_debugged() -> None:
    debugged = TrustDomain(report={"tdattributes": SEPT_VE_DISABLE | DEBUG})
    assert refused(appraised(debugged)) == ["td.debug"]
    allowed = appraised(debugged, policy=policy(allow_debug=True))
    assert (allowed.accepted, verdicts(allowed)["td.debug"]) == (True, "warning")


# bare quotes


def test_a_bare_quote_must_carry_what_was_asked_for() -> None:
    assert refused(bare(report_data=bytes(64))) == ["binding.report_data"]
    assert refused(bare(report_data=None)) == ["binding.report_data"]
    lax = dataclasses.replace(rules(report_data="any"), outer_key_digest="any")
    anything = bare(report_data=None, policy=lax)
    assert anything.accepted
    assert warned(anything)[:2] == ["binding.report_data", "policy.evidence_age"], "nothing says how old it is"
    of_any_age = bare(report_data=None, policy=dataclasses.replace(lax, max_evidence_age="any"))
    assert verdicts(of_any_age)["policy.evidence_age"] == "pass"


def test_a_bare_quote_has_no_claims_to_satisfy_a_verifier_with() -> None:
    assert refused(bare(nonce=NONCE)) == ["binding.nonce"]
    assert refused(bare(policy=POLICY)) == ["binding.outer_key"]
    assert refused(bare(outer_key_digest=OUTER_KEY)) == ["binding.outer_key"]
    named = policy(outer_key_digest="any", config_digest=CONFIG)
    assert refused(bare(policy=named)) == ["policy.config_digest"]


# what is not authentic


def test_a_quote_for_other_claims() -> None:
    envelope = HONEST.envelope()
    moved = replace(envelope, claims=replace(envelope.claims, outer_key_digest=b"\1" * 32))
    appraisal = appraised(raw=moved.to_text(), outer_key_digest=b"\1" * 32)
    assert (failed(appraisal), appraisal.exit_code) == (["binding.report_data"], 4)
    assert (appraisal.tcb, appraisal.claims, appraisal.registers) == (appraised().tcb, None, {}), "the quote is genuine"
    assert appraisal.collateral == appraised().collateral
    without = appraised(raw=moved.to_text(), outer_key_digest=b"\1" * 32, collateral=None)
    assert (failed(without), without.exit_code) == (["collateral.given", "binding.report_data"], 4)


@pytest.mark.parametrize("forged", [appraised, bare])
@pytest.mark.parametrize("collateral", [True, False])
def test_a_forged_quote_says_nothing_that_anybody_judges(forged: Any, collateral: bool) -> None:
    bad = TrustDomain(world=healthy().with_quote(signature=b"\1" * 64))
    appraisal = forged(bad, **({} if collateral else {"collateral": None}))
    assert failed(appraisal) == ["quote.signature", *([] if collateral else ["collateral.given"])]
    assert (appraisal.exit_code, appraisal.verdict, appraisal.authentic) == (4, "not authentic", False)
    assert (appraisal.claims, appraisal.registers, appraisal.tcb, appraisal.profile) == (None, {}, None, None)
    document = appraisal.to_json()
    assert (document["tcb"], document["registers"], document["collateral"], document["explanation"]) == (
        None,
        {},
        None,
        {},
    )
    assert document["quote"] is not None
    assert not {finding.id for finding in appraisal.findings} & {"tcb.status", "td.debug", "register.mrtd"}


def test_all_that_is_not_authentic_is_reported_at_once() -> None:
    bad = TrustDomain(world=healthy().with_quote(signature=b"\1" * 64, vendor_id=bytes(16)))
    envelope = replace(bad.envelope(), claims=HONEST.claims(b"another"))
    assert failed(appraised(raw=envelope.to_text())) == ["quote.vendor", "quote.signature", "binding.report_data"]


def test_a_foreign_root_is_trusted_only_where_the_policy_names_it() -> None:
    assert verdicts(appraised())["policy.insecure_root"] == "warning"
    foreign = TrustDomain(world=world(authority=Authority.make(1)))
    assert appraised(foreign).exit_code == 4
    root = hashlib.sha256(Authority.make(1).root_der).digest()
    assert appraised(foreign, policy=rules(insecure_roots=(root,))).accepted
    assert appraised(policy=rules(insecure_roots=(root,))).exit_code == 4


def test_without_collateral_the_facts_are_shown_and_refused() -> None:
    appraisal = appraised(collateral=None)
    assert (failed(appraisal), appraisal.exit_code, appraisal.verdict) == (["collateral.given"], 5, "refused")
    assert (appraisal.authentic, appraisal.tcb, appraisal.collateral) == (False, None, None)
    assert appraisal.registers == {"sha384": HONEST.registers()}
    assert appraisal.quote is not None
    assert verdicts(appraisal)["register.rtmr2"] == "pass"
    assert not {finding.id for finding in appraisal.findings} & {"tcb.status", "collateral.expired", "pck.revoked"}


@pytest.mark.parametrize("changes", [{"references": ()}, {"nonce": None}, {"policy": policy(platforms=("gcp-tdx",))}])
def test_without_collateral_another_refusal_accuses_nobody_of_forgery(changes: dict[str, Any]) -> None:
    appraisal = appraised(collateral=None, **changes)
    assert failed(appraisal)[0] == "collateral.given"
    assert (len(appraisal.failures), appraisal.exit_code) == (2, 5)


def test_malformed_certificates_and_collateral_are_format_errors() -> None:
    bad_collateral = TrustDomain(world=healthy().with_collateral(info="{}"))
    bad_certificate = TrustDomain(world=healthy().with_quote(inner_data=b"no PEM"))
    for bad in (bad_collateral, bad_certificate, TrustDomain(log=b"no log"), TrustDomain(log=b"{}")):
        with pytest.raises(FormatError):
            appraised(bad)
    with pytest.raises(FormatError):
        bare(log=b"no log")


# machines

PPID, INSTANCE = f"ppid:{Machine.ppid.hex()}", f"platformInstance:{bytes(Machine.platform_instance or b'').hex()}"


@pytest.mark.parametrize("name", [PPID, INSTANCE])
def test_a_machine_is_known_by_either_of_its_names(name: str) -> None:
    assert appraised(policy=policy(machines=(name,))).accepted
    assert appraised(policy=policy(machines=("ppid:" + "00" * 16, name))).accepted


@pytest.mark.parametrize(
    "name",
    ["ppid:" + INSTANCE.split(":")[1], "platformInstance:" + PPID.split(":")[1], PPID.split(":")[1] * 2, "ab" * 32],
)
def test_a_machine_that_the_policy_does_not_name(name: str) -> None:
    assert refused(appraised(policy=policy(machines=(name,)))) == ["policy.machine"]


def test_a_machine_without_a_platform_instance_is_known_by_its_ppid() -> None:
    domain = TrustDomain(world=world(ca="processor"))
    assert appraised(domain, policy=policy(machines=(PPID,))).accepted
    assert failed(appraised(domain, policy=policy(machines=(INSTANCE,)))) == ["policy.machine"]


# form


def test_the_document_has_the_members_that_others_rely_on() -> None:
    document = appraised().to_json()
    assert set(document) >= {"accepted", "evidenceType", "tcb", "registers", "findings", "quote", "collateral"}
    tcb = document["tcb"]
    assert isinstance(tcb, dict)
    assert set(tcb) == {"status", "platform", "module", "qe", "launch", "current", "tcbDate", "advisories"}
    assert document["registers"] == {name: value.hex() for name, value in HONEST.registers().items()}
    assert json.loads(json.dumps(document)) == document


def test_evidence_is_told_apart_by_its_content() -> None:
    assert quote_of(parse_evidence(HONEST.quote())) == quote_of(parse_evidence(HONEST.envelope().to_text()))
    of_a_tpm = tpm_quotes.Machine(key=TPM_KEY).evidence(NONCE).to_text()
    assert quote_of(parse_evidence(of_a_tpm)) is None
    judged = verify_evidence(of_a_tpm, [tpm_quotes.reference_of()], POLICY, NOW, NONCE, OUTER_KEY, NOTHING)
    assert judged.evidence_type == "tpm"
    assert failed(judged)[:2] == ["policy.platform", "policy.evidence_type"]


# Intel's verdict is a fact

OUR_CHECKS = {
    "binding.nonce", "binding.outer_key", "certificates.not_after", "collateral.age", "collateral.evaluation_number",
    "collateral.expired", "collateral.rollback", "policy.config_digest", "policy.evidence_age", "policy.machine",
    "policy.platform", "policy.reference_signature", "reference.profile", "td.debug", "td.mr_seam",
    "td.sept_ve_disable",
}  # fmt: skip
OURS: list[tuple[Policy | None, dict[str, Any]]] = [
    (policy(platforms=("gcp-tdx",)), {}),
    (policy(allow_unsigned_reference=False, machines=(PPID[:-1] + "0",), config_digest=b"\1" * 32), {}),
    (rules(mr_seam=(bytes(48),), accepted_statuses=("OutOfDate",)), {}),
    (rules(minimum_evaluation_number=99, collateral_memory="required"), {"rollbacks": ("older",)}),
    (POLICY, {"nonce": None, "references": (), "outer_key_digest": None}),
    (POLICY, {"at": NOW + timedelta(days=4000)}),
]


@pytest.mark.parametrize("platform", ["UpToDate", "OutOfDate", "Revoked"])
def test_our_checks_never_change_intels_verdict(platform: str) -> None:
    of = world(platform=platform)
    plain = appraised(TrustDomain(world=of)).to_json()["tcb"]
    assert isinstance(plain, dict)
    assert plain["status"] == platform
    seen = set()
    for chosen, changes in OURS:
        appraisal = appraised(TrustDomain(world=of, report={"tdattributes": DEBUG}), policy=chosen, **changes)
        assert appraisal.to_json()["tcb"] == plain
        seen |= set(failed(appraisal))
    assert seen >= OUR_CHECKS


def test_references_are_compared_whole() -> None:
    """Two references: the one that fits is chosen wherever it stands, else the nearest, the first of two as near."""
    wrong = dataclasses.replace(REFERENCE, build_id="ef" * 32)
    for pair in ((wrong, REFERENCE), (REFERENCE, wrong)):
        assert appraised(references=pair).accepted
    far = _with_rtmr(wrong, "rtmr1")
    assert refused(appraised(references=(far, wrong))) == ["claims.build_id"]


def _with_rtmr(of: Measurements, name: str) -> Measurements:
    """The same with another value for a register."""
    profile = of.profiles[0]
    rule = dataclasses.replace(profile.registers[name], values=({"sha384": b"\1" * 48},))
    registers = {**profile.registers, name: rule}
    return dataclasses.replace(of, profiles=(dataclasses.replace(profile, id="other", registers=registers),))


def test_of_several_profiles_the_one_that_fits_is_chosen() -> None:
    other = _with_rtmr(REFERENCE, "rtmr0").profiles[0]
    for profiles in ((other, *REFERENCE.profiles), (*REFERENCE.profiles, other)):
        appraisal = appraised(references=(dataclasses.replace(REFERENCE, profiles=profiles),))
        assert (appraisal.accepted, appraisal.profile) == (True, REFERENCE.profiles[0].id)
    alone = appraised(references=(dataclasses.replace(REFERENCE, profiles=(other,)),))
    assert (refused(alone), alone.profile) == (["register.rtmr0"], "other")
