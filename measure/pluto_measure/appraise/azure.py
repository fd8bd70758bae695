"""Appraise evidence of an Azure TDX machine: paravisor, its settings, platform, and the registers of its TPM. Pure.

MRTD and the TD quote's other registers measure Microsoft's paravisor, which nobody else can compute: MRTD is observed,
and the policy names the values that it accepts, or leaves it to the certificate of the TPM's key. What the machine
booted stands in the TPM's registers, which are compared with a reference as a TPM's are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from pluto_measure.appraise import demands
from pluto_measure.appraise.appraisal import Appraisal
from pluto_measure.appraise.expected import Expected
from pluto_measure.appraise.facts import collateral_facts, quote_facts
from pluto_measure.appraise.nearest import (
    Nearest,
    build_claim,
    chosen_profile,
    log_difference,
    nearest,
    nearest_findings,
)
from pluto_measure.appraise.platform_parts import machine_names, platform_findings, root_findings
from pluto_measure.appraise.platform_tcb import option_findings
from pluto_measure.appraise.request import TdxInputs
from pluto_measure.appraise.terms import terms_findings
from pluto_measure.appraise.trust_domain import trust_domain_findings
from pluto_measure.evidence import AzureEvidence, Envelope
from pluto_measure.findings import Finding, NotAuthentic, failures, judge
from pluto_measure.formats import eventlog
from pluto_measure.formats.eventlog import EventLog
from pluto_measure.measurements import Measurements, Profile
from pluto_measure.policy import Policy
from pluto_measure.policy.azure import STRICT_AZURE, AzurePolicy
from pluto_measure.policy.strict import STRICT
from pluto_measure.policy.tdx import TdxPolicy
from pluto_measure.registers.reference import compare
from pluto_measure.registers.rules import RegisterRule
from pluto_measure.verify.azure import AkTrust, Bound, Parts, VerifiedAzure, check_parts, verify_azure
from pluto_measure.verify.azure_pki import AZURE_AK_ROOTS
from pluto_measure.verify.intel_pki import INTEL_ROOTS, pck_chain
from pluto_measure.verify.quote import quote_findings

TYPE: Final = "azure"
PLATFORM: Final = "azure-tdx"
_TD_BANK: Final = "sha384"
_NO_COLLATERAL: Final = "no collateral was given (--collateral, --state), so nothing says what the platform is worth"


def appraise_envelope(
    envelope: Envelope,
    references: Sequence[Measurements],
    policy: Policy | None,
    rules: AzurePolicy | None,
    *,
    at: datetime,
    expected: Expected,
    tdx: TdxInputs,
    ak_issuers: tuple[bytes, ...] = (),
) -> Appraisal:
    """Verify and appraise. `rules` are the policy's for Azure machines; None: the strict ones.

    `ak_issuers`: certificates (DER) that lead from the TPM's key to a pinned root, the root among them. The claims must
    be opened. FormatError for what cannot be parsed.
    """
    chosen = policy or STRICT
    ak = AkTrust(roots=AZURE_AK_ROOTS | frozenset(chosen.ak_trust), issuers=ak_issuers)
    roots = INTEL_ROOTS | frozenset(_td_rules(chosen).insecure_roots)
    if tdx.collateral is None:
        return _unjudged(envelope, ak, roots, at)
    try:
        verified = verify_azure(envelope, tdx.collateral, roots, at=at, ak=ak)
    except NotAuthentic as error:
        return Appraisal(False, False, TYPE, envelope.platform, None, None, {}, error.findings)
    return appraise_azure(verified, references, policy, rules, at=at, expected=expected, tdx=tdx)


def _unjudged(envelope: Envelope, ak: AkTrust, roots: frozenset[bytes], at: datetime) -> Appraisal:
    """Without collateral nothing is authentic; what is forged is said all the same."""
    assert isinstance(envelope.evidence, AzureEvidence), "the caller looks at the type"
    parts = Parts.parse(envelope.evidence)
    checked = check_parts(parts, Bound.to(envelope.claims.binding()), at=at, ak=ak)
    pck = pck_chain(parts.quote.certificates, roots)
    missing = Finding("collateral.given", "fail", _NO_COLLATERAL)
    found = (*quote_findings(parts.quote, pck), missing, *checked.findings)
    undecided = failures(found) == [missing]
    facts = quote_facts(parts.quote, pck)
    return Appraisal(False, False, TYPE, envelope.platform, None, None, {}, found, quote=facts, undecided=undecided)


def appraise_azure(
    verified: VerifiedAzure,
    references: Sequence[Measurements],
    policy: Policy | None,
    rules: AzurePolicy | None,
    *,
    at: datetime,
    expected: Expected,
    tdx: TdxInputs,
) -> Appraisal:
    """Appraise verified evidence. FormatError for a log that cannot be parsed."""
    chosen, azure = policy or STRICT, rules or STRICT_AZURE
    log = eventlog.parse(verified.untrusted_log) if verified.untrusted_log else None
    best = _nearest(verified, references, log)
    explanation: dict[str, object] = {"azure": azure_facts(verified)}
    findings = [*verified.findings, *expected.findings(verified.claims, chosen), *demands.given_finding(policy)]
    findings += _policy(verified, chosen, azure, at)
    findings += platform_findings(verified.quote, chosen, _td_rules(chosen), at=at, tdx=tdx, explanation=explanation)
    findings += _trust_domain(verified, chosen, azure)
    findings += nearest_findings(best, references, verified.platform, chosen)
    findings += terms_findings(verified.quote.report, verified.quote, best.reference.vouched if best else None)
    explanation |= log_difference(best, verified.registers, log)
    return Appraisal(
        accepted=not failures(findings),
        authentic=True,
        evidence_type=TYPE,
        platform=verified.platform,
        profile=best.profile.id if best else None,
        claims=verified.claims,
        registers=verified.registers,
        findings=tuple(findings),
        tcb=verified.quote.tcb,
        quote=quote_facts(verified.quote.quote, pck_chain(verified.quote.quote.certificates, _roots(verified))),
        collateral=collateral_facts(verified.quote.collateral),
        explanation=explanation,
    )


def _roots(verified: VerifiedAzure) -> frozenset[bytes]:
    """The one that the quote was verified by."""
    return frozenset({verified.quote.root})


def azure_facts(verified: VerifiedAzure) -> dict[str, object]:
    """What the paravisor says of the machine, and who vouches for its TPM's key."""
    return {
        "paravisor": verified.quote.report.mr_td.hex(),
        "reproducible": False,
        "akDigest": verified.ak_digest.hex(),
        "akRoot": verified.ak_root.hex() if verified.ak_root else None,
        "vmConfiguration": verified.report.configuration.to_json(),
    }


def _td_rules(policy: Policy) -> TdxPolicy:
    """Where the policy has no rules for trust domains, the strict ones tell the rest."""
    assert STRICT.tdx is not None, "the strict policy judges TDX quotes"
    return policy.tdx or STRICT.tdx


def _policy(verified: VerifiedAzure, policy: Policy, rules: AzurePolicy, at: datetime) -> Iterator[Finding]:
    """What is asked of every kind of evidence, and who vouches for the TPM's key."""
    yield demands.member_finding("policy.platform", verified.platform, policy.platforms, "platform")
    yield demands.member_finding("policy.evidence_type", TYPE, policy.evidence_types, "evidence type")
    yield _ak_trust(verified, rules)
    names = [*machine_names(verified.quote.pck), verified.ak_digest.hex()]
    yield demands.machine_finding(names, policy)
    yield demands.age_finding(verified.issued_at, policy, at)
    yield demands.config_finding(verified.claims, policy)


def _ak_trust(verified: VerifiedAzure, rules: AzurePolicy) -> Finding:
    check = "policy.ak_trust"
    if verified.ak_root is not None:
        text = "a pinned chain vouches for the TPM"
        return Finding(check, "pass", text, None, verified.ak_root.hex())
    if rules.ak_certificate == "any" and rules.paravisors != "any":
        text = "nobody else than the paravisor, which the policy names, vouches for the TPM"
        return Finding(check, "pass", text, "any")
    text = "nobody that is trusted vouches for the TPM: a certificate, or its issuers (--ak-issuers), are missing"
    return Finding(check, "fail", text, "a certificate that leads to a pinned root")


def _trust_domain(verified: VerifiedAzure, policy: Policy, rules: AzurePolicy) -> Iterator[Finding]:
    td = _td_rules(policy)
    yield from root_findings(verified.quote, td)
    yield from option_findings(verified.quote.pck, td)
    quote, pck = verified.quote.quote, verified.quote.pck
    yield from trust_domain_findings(quote, pck, td, allow_debug=policy.allow_debug)
    yield _paravisor(verified.quote.report.mr_td, rules)
    yield from _settings(verified, rules)


def _paravisor(mrtd: bytes, rules: AzurePolicy) -> Finding:
    check, actual = "azure.paravisor", mrtd.hex()
    if rules.paravisors == "any":
        text = "the policy accepts any paravisor: that it is Microsoft's, the TPM's certificate alone says"
        return Finding(check, "warning", text, "any", actual)
    return judge(
        check,
        mrtd in rules.paravisors,
        "the paravisor (MRTD) is one that the policy's author observed; nobody can reproduce it",
        otherwise="the paravisor (MRTD) is not one that the policy names: Microsoft changed it, or it is another's",
        expected=" | ".join(value.hex() for value in rules.paravisors),
        actual=actual,
    )


def _settings(verified: VerifiedAzure, rules: AzurePolicy) -> Iterator[Finding]:
    """How the paravisor was told to run the machine."""
    told = verified.report.configuration
    for check, actual, wanted, what in (
        ("azure.secure_boot", told.secure_boot, rules.secure_boot, "Secure Boot is on"),
        ("azure.tpm_enabled", told.tpm_enabled, rules.tpm_enabled, "the machine has its TPM"),
        ("azure.tpm_persisted", told.tpm_persisted, rules.tpm_persisted, "the TPM keeps its state"),
        ("azure.console", told.console, rules.console, "the machine has a serial console"),
        ("azure.interactive_console", told.interactive_console, rules.interactive_console, "the console takes input"),
        ("azure.vpci_devices", told.filtered_vpci_devices, rules.filtered_vpci_devices, "host devices are let through"),
    ):
        shown = None if actual is None else str(actual).lower()
        if wanted == "any":
            yield Finding(check, "pass", f"the policy does not mind whether {what}", "any", shown)
            continue
        text, otherwise = f"whether {what} is as the policy wants it", "is not as the policy wants it, or not said"
        yield judge(
            check, actual is wanted, text, otherwise=f"whether {what} {otherwise}", expected=str(wanted).lower(),
            actual=shown,
        )  # fmt: skip
    yield _named("azure.vm_id", told.vm_id, rules)
    odd = [name for name in told.others if rules.other_settings != "any" and name not in rules.other_settings]
    yield judge(
        "azure.other_settings",
        not odd,
        "the paravisor was told nothing else than the policy knows",
        otherwise=f"the paravisor was told what is not known here: {', '.join(odd)}",
        expected="any" if rules.other_settings == "any" else " ".join(rules.other_settings) or "none",
        actual=" ".join(told.others) or "none",
    )


def _named(check: str, vm_id: str | None, rules: AzurePolicy) -> Finding:
    if rules.vm_ids == "any":
        return Finding(check, "pass", "the policy accepts any virtual machine", "any", vm_id)
    return judge(
        check,
        vm_id in rules.vm_ids,
        "the policy names this virtual machine",
        otherwise="the policy does not name this virtual machine, or it does not say which it is",
        expected=" ".join(rules.vm_ids),
        actual=vm_id,
    )


def _nearest(verified: VerifiedAzure, references: Sequence[Measurements], log: EventLog | None) -> Nearest | None:
    td = verified.quote.report.registers

    def against(reference: Measurements, profile: Profile) -> tuple[Finding, ...]:
        build = build_claim(verified.claims, reference)
        # Registers of the trust domain have another bank than the TPM's, so they are judged here.
        found = compare(profile, {"sha256": {**verified.registers["sha256"], **td}}, log)
        of_td = {f"register.{name}": _td_register(name, td[name], profile.registers[name]) for name in td}
        return (chosen_profile(profile), build, *(of_td.get(one.id, one) for one in found))

    candidates = [(m, p) for m in references for p in m.profile(verified.platform) if p.platform == PLATFORM]
    return nearest(candidates, against)


def _td_register(name: str, value: bytes, rule: RegisterRule) -> Finding:
    check, actual = f"register.{name}", f"{_TD_BANK}:{value.hex()}"
    if rule.match == "any" and name == "mrtd":
        return Finding(check, "pass", "the reference leaves MRTD to the policy (azure.paravisor)", "any", actual)
    if rule.match == "any":
        return Finding(check, "warning", f"the reference accepts any value of {name}", "any", actual)
    allowed = rule.accepted(name, _TD_BANK, {}) or ()
    return judge(
        check,
        value in allowed,
        f"{name} is the reference value",
        otherwise=f"{name} is not the reference value",
        expected=" | ".join(f"{_TD_BANK}:{item.hex()}" for item in allowed),
        actual=actual,
    )
