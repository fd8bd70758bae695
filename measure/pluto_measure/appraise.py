"""Do we accept this evidence? Policy, freshness and reference values against what verification left standing. Pure.

`verify_evidence` is the whole way from bytes to a verdict; time, nonce and the TLS key that was seen are arguments.
Every check runs and every finding is reported; what is not given is refused, never skipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pluto_measure.evidence import Claims, Envelope, Registers, format_time
from pluto_measure.findings import Finding, NotAuthentic, failures, judge
from pluto_measure.formats import eventlog
from pluto_measure.formats.eventlog import EventLog
from pluto_measure.measurements import Measurements, Profile
from pluto_measure.policy import Policy
from pluto_measure.reference import compare
from pluto_measure.verify.tpm import VerifiedTpmQuote, verify_tpm


@dataclass(frozen=True, slots=True)
class Appraisal:
    """The verdict and all that led to it. `registers` are empty and `claims` None unless the evidence is authentic."""

    accepted: bool
    authentic: bool
    evidence_type: str
    platform: str
    profile: str | None  # the profile that was compared: the one that fits, or the nearest
    claims: Claims | None
    registers: Registers
    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> int:
        """0 accepted, 4 not authentic, 5 refused."""
        return 0 if self.accepted else 5 if self.authentic else 4

    @property
    def failures(self) -> tuple[Finding, ...]:
        """The findings that refuse."""
        return tuple(failures(self.findings))

    def to_json(self) -> dict[str, object]:
        registers = {
            bank: {name: value.hex() for name, value in bank_.items()} for bank, bank_ in self.registers.items()
        }
        return {
            "accepted": self.accepted,
            "authentic": self.authentic,
            "evidenceType": self.evidence_type,
            "platform": self.platform,
            "profile": self.profile,
            "tcb": None,
            "claims": self.claims.to_json() if self.claims else None,
            "registers": registers,
            "findings": [finding.to_json() for finding in self.findings],
        }


def verify_evidence(
    raw: bytes | str,
    references: Sequence[Measurements],
    policy: Policy | None,
    at: datetime,
    nonce: bytes | None,
    outer_key_digest: bytes | None,
) -> Appraisal:
    """Parse, verify and appraise one evidence envelope at the time `at` (aware).

    `nonce`: what the caller sent; `outer_key_digest`: SHA-256 of the SubjectPublicKeyInfo (DER) of the TLS key that the
    caller saw. FormatError for malformed evidence; everything else is a finding.
    """
    envelope = Envelope.parse(raw)
    log = eventlog.parse(envelope.log)
    try:
        quote = verify_tpm(envelope, at=at)
    except NotAuthentic as error:
        return Appraisal(False, False, "tpm", envelope.platform, None, None, {}, error.findings)
    return appraise(quote, log, references, policy, at=at, nonce=nonce, outer_key_digest=outer_key_digest)


def appraise(
    quote: VerifiedTpmQuote,
    log: EventLog,
    references: Sequence[Measurements],
    policy: Policy | None,
    *,
    at: datetime,
    nonce: bytes | None,
    outer_key_digest: bytes | None,
) -> Appraisal:
    """Appraise a verified quote. `log` is its untrusted log, parsed."""
    profile, compared = _nearest(quote, log, references)
    findings = [*quote.findings, _nonce(quote.claims, nonce), *_policy(quote, policy, at)]
    findings += [_outer_key(quote.claims, outer_key_digest, policy), *compared]
    findings += _reference(profile, policy) if profile else []
    return Appraisal(
        accepted=not failures(findings),
        authentic=True,
        evidence_type="tpm",
        platform=quote.platform,
        profile=profile[1].id if profile else None,
        claims=quote.claims,
        registers=quote.registers,
        findings=tuple(findings),
    )


Reference = tuple[Measurements, Profile]


def _nearest(
    quote: VerifiedTpmQuote, log: EventLog, references: Sequence[Measurements]
) -> tuple[Reference | None, tuple[Finding, ...]]:
    candidates = [(m, p) for m in references for p in m.profiles if p.platform == quote.platform]
    if not candidates:
        text = "no reference values for this platform were given" if references else "no reference values were given"
        return None, (Finding("reference.profile", "fail", text, quote.platform, None),)
    compared = [(item, _against(quote, log, *item)) for item in candidates]
    best, findings = min(compared, key=lambda entry: len(failures(entry[1])))
    return best, findings


def _against(quote: VerifiedTpmQuote, log: EventLog, reference: Measurements, profile: Profile) -> tuple[Finding, ...]:
    chosen = Finding("reference.profile", "pass", "the reference has a profile for this platform", None, profile.id)
    build = judge(
        "claims.build_id",
        quote.claims.build_id.hex() == reference.build_id,
        "the machine names the build that the reference is for",
        otherwise="the machine names another build than the reference is for",
        expected=reference.build_id,
        actual=quote.claims.build_id.hex(),
    )
    return (chosen, build, *compare(profile, quote.registers, log))


def _nonce(claims: Claims, nonce: bytes | None) -> Finding:
    if nonce is None:
        text = "no nonce was given, so the evidence may be old"
        return Finding("binding.nonce", "fail", text, None, claims.nonce.hex())
    return judge(
        "binding.nonce",
        claims.nonce == nonce,
        "the evidence was made for this nonce",
        otherwise="the evidence was made for another nonce",
        expected=nonce.hex(),
        actual=claims.nonce.hex(),
    )


def _outer_key(claims: Claims, seen: bytes | None, policy: Policy | None) -> Finding:
    check, claimed = "binding.outer_key", claims.outer_key_digest.hex()
    if seen is None and policy is not None and policy.outer_key_digest == "any":
        return Finding(check, "warning", "nobody said which TLS key was seen; the policy accepts any", "any", claimed)
    if seen is None:
        text = "nobody said which TLS key was seen, so the evidence may be of another machine"
        return Finding(check, "fail", text, None, claimed)
    return judge(
        check,
        claims.outer_key_digest == seen,
        "the machine that was quoted holds the TLS key that was seen",
        otherwise="the TLS key that was seen is not the quoted machine's: somebody stands in between",
        expected=seen.hex(),
        actual=claimed,
    )


def _policy(quote: VerifiedTpmQuote, policy: Policy | None, at: datetime) -> list[Finding]:
    if policy is None:
        return [Finding("policy.given", "fail", "no policy was given, so nothing is accepted")]
    return [
        _member("policy.platform", quote.platform, policy.platforms, "platform"),
        _member("policy.evidence_type", "tpm", policy.evidence_types, "evidence type"),
        _ak_trust(quote, policy),
        _machine(quote, policy),
        _age(quote, policy, at),
        _config(quote.claims, policy),
    ]


def _member(check: str, value: str, allowed: tuple[str, ...], what: str) -> Finding:
    text, otherwise = f"the policy allows this {what}", f"the policy does not allow this {what}"
    return judge(check, value in allowed, text, otherwise=otherwise, expected=" ".join(allowed), actual=value)


def _ak_trust(quote: VerifiedTpmQuote, policy: Policy) -> Finding:
    check, actual = "policy.ak_trust", quote.ak_root.hex() if quote.ak_root else None
    expected = " ".join(root.hex() for root in policy.ak_trust) or None
    if quote.ak_root is not None and quote.ak_root in policy.ak_trust:
        return Finding(check, "pass", "a pinned chain vouches for the TPM", expected, actual)
    text = "nobody that the policy trusts vouches for the TPM, so whoever runs the machine can forge this evidence"
    if policy.insecure_software_tpm:
        return Finding(check, "warning", f"insecure_software_tpm: {text}", expected, actual)
    return Finding(check, "fail", text, expected, actual)


def _machine(quote: VerifiedTpmQuote, policy: Policy) -> Finding:
    actual = quote.ak_digest.hex()
    if policy.machines == "any":
        return Finding("policy.machine", "pass", "the policy accepts any machine", "any", actual)
    return judge(
        "policy.machine",
        quote.ak_digest in policy.machines,
        "the policy names this machine",
        otherwise="the policy does not name this machine",
        expected=" ".join(machine.hex() for machine in policy.machines),
        actual=actual,
    )


def _age(quote: VerifiedTpmQuote, policy: Policy, at: datetime) -> Finding:
    check, issued = "policy.evidence_age", format_time(quote.issued_at)
    age = int((at - quote.issued_at).total_seconds())
    if age < -policy.clock_skew:
        text = f"the machine dates its evidence {-age} seconds into the future"
        return Finding(check, "fail", text, f"at most {policy.clock_skew} s ahead", issued)
    if policy.max_evidence_age == "any":
        return Finding(check, "pass", "the policy accepts evidence of any age", "any", issued)
    return judge(
        check,
        age <= policy.max_evidence_age,
        "the machine dates its evidence recently enough",
        otherwise=f"the machine dates its evidence {age} seconds ago",
        expected=f"at most {policy.max_evidence_age} s old",
        actual=issued,
    )


def _config(claims: Claims, policy: Policy) -> Finding:
    actual = claims.config_digest.hex()
    if policy.config_digest == "any":
        return Finding("policy.config_digest", "pass", "the policy accepts any run-time configuration", "any", actual)
    return judge(
        "policy.config_digest",
        claims.config_digest == policy.config_digest,
        "the run-time configuration is the one that the policy names",
        otherwise="the run-time configuration is not the one that the policy names",
        expected=policy.config_digest.hex(),
        actual=actual,
    )


def _reference(reference: Reference, policy: Policy | None) -> list[Finding]:
    flavour = reference[0].flavour
    unsigned = "nobody signed the reference values; they are as good as the way they came"
    allowed = policy is not None and policy.allow_unsigned_reference
    debug = judge(
        "policy.debug",
        flavour == "release" or (policy is not None and policy.allow_debug),
        f"the policy allows the flavour {flavour}",
        otherwise="this is a debug build, which the policy does not allow",
        expected="release",
        actual=flavour,
    )
    return [debug, Finding("policy.reference_signature", "warning" if allowed else "fail", unsigned)]
