"""Do we accept this proof? Signature, key, evidence, release, and what the verifier asked for. Pure.

    1. The signature is of this statement, by the key that the evidence is of; openings are of the signed values.
    2. The statement is what was asked for: mode, manifest, nonce, recipient, chain, contract, time.
    3. The evidence of the key is genuine, and policy and reference values accept it, as of the statement's time.
    4. The same as of today. It can only take away: see `_today`.

Every check runs where the one before leaves something to check. What nobody asked about is a finding, never silence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from pluto_measure.appraise import NO_SPACE, NOTHING, Appraisal, KeyExpected, SpaceInputs, TdxInputs, verify_expected
from pluto_measure.findings import Finding, failures
from pluto_measure.measurements import Measurements
from pluto_measure.policy import Policy
from pluto_measure.policy.strict import STRICT
from pluto_notary.statement.asked import NOTHING_ASKED, Asked, statement_findings
from pluto_notary.statement.checks import checks, signer_of
from pluto_notary.statement.model import spelt
from pluto_notary.statement.proof import KeyEvidence, Proof

# What makes a proof somebody else's than it says; all else that fails is for the policy.
FORGED: Final = ("signature.signer", "key.signer", "values.opening", "legacy.signer", "legacy.endorsement")
# What of the same bytes can fail today alone because time went by: a token holds for an hour.
_LAPSED: Final = ("token.time", "token.certificate_dates")


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """What the verifier brings to the evidence for one time. `collateral`: SHA-256 of its file, where one was given."""

    references: Sequence[Measurements] = ()
    tdx: TdxInputs = NOTHING
    space: SpaceInputs = NO_SPACE
    collateral: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofVerdict:
    """The verdict and all that led to it. `evidence` as of the statement's time, `today` as of the verifier's."""

    proof: Proof
    authentic: bool
    undecided: bool  # nothing is forged as far as it was checked, but something that authenticity needs is missing
    findings: tuple[Finding, ...]
    evidence: Appraisal | None
    today: Appraisal | None

    @property
    def accepted(self) -> bool:
        return self.authentic and not failures(self.findings)

    @property
    def exit_code(self) -> int:
        """0 accepted, 4 not authentic, 5 refused, also where authenticity is undecided."""
        if self.accepted:
            return 0
        return 5 if self.authentic or self.undecided else 4

    @property
    def verdict(self) -> str:
        """In a word: accepted, refused, not authentic."""
        return {0: "accepted", 5: "refused"}.get(self.exit_code, "not authentic")

    def to_json(self) -> dict[str, object]:
        proof, statement = self.proof, self.proof.statement
        domain, shown = statement.domain, {opening.id: opening for opening in proof.openings}
        return {
            "accepted": self.accepted,
            "verdict": self.verdict,
            "authentic": self.authentic,
            "signer": spelt(proof.signer),
            "digest": spelt(statement.digest()),
            "statement": spelt(
                {**statement.message(), "chainId": domain.chain_id, "verifyingContract": domain.contract}
            ),
            # Of a proof that is not authentic nobody said these values, so they are not repeated.
            "values": [
                {"id": value.id, "json": shown[value.id].text if value.id in shown and self.authentic else None}
                for value in statement.values
            ],
            "findings": [finding.to_json() for finding in self.findings],
            "evidence": None if self.evidence is None else self.evidence.to_json(),
            "today": None if self.today is None else self.today.to_json(),
        }


def verify_proof(
    proof: Proof,
    policy: Policy | None,
    at: datetime,
    *,
    then: Brought,
    today: Brought,
    asked: Asked = NOTHING_ASKED,
) -> ProofVerdict:
    """Judge a proof as of `at` (aware). `then`: what the verifier brings for the statement's time, `today` for `at`.

    Without a policy the strict one applies. FormatError where the evidence inside is malformed.
    """
    found = [_finding(check.id, check.holds, check.text, check.expected, check.actual) for check in checks(proof)]
    forged = [finding for finding in failures(found) if finding.id in FORGED]
    public = signer_of(proof.statement.digest(), proof.signature)
    if forged or public is None:
        return ProofVerdict(
            proof=proof, authentic=False, undecided=False, findings=tuple(found), evidence=None, today=None
        )
    rules = policy or STRICT
    found += statement_findings(proof, asked, at, skew=rules.clock_skew)
    if proof.key_evidence is None:
        return ProofVerdict(
            proof=proof, authentic=False, undecided=True, findings=tuple(found), evidence=None, today=None
        )
    raw, expected, when = proof.key_evidence.envelope, KeyExpected(public), statement_time(proof, at)
    evidence = verify_expected(raw, expected, then.references, policy, when, then.tdx, then.space)
    # How old evidence is today says nothing: it was made for the statement, not for today.
    lasting = replace(rules, max_evidence_age="any")
    now = verify_expected(raw, expected, today.references, lasting, at, today.tdx, today.space)
    found += [replace(finding, id=f"evidence.{finding.id}") for finding in evidence.findings]
    found += [_collateral(proof.key_evidence, then), *_today(evidence, now)]
    return ProofVerdict(
        proof=proof,
        authentic=evidence.authentic,
        undecided=evidence.undecided,
        findings=tuple(found),
        evidence=evidence,
        today=now,
    )


def statement_time(proof: Proof, at: datetime) -> datetime:
    """When the evidence is judged: the end of the statement's window, or the verifier's now if that comes first."""
    return min(datetime.fromtimestamp(proof.statement.not_after, UTC), at)


def _finding(check: str, holds: bool, text: str, expected: str | None, actual: str | None) -> Finding:
    return Finding(check, "pass" if holds else "fail", text, expected, actual)


def _collateral(evidence: KeyEvidence, then: Brought) -> Finding:
    """Which collateral speaks for the statement's time. Another edition than the named one may do so, too."""
    check, named = "key.collateral", evidence.collateral
    if named is None:
        return Finding(check, "warning", "the proof does not name the collateral by which its evidence was judged")
    expected = named.hex()
    if then.collateral is None:
        text = "the collateral that the proof names was not given as a file (--collateral), so it was not compared"
        return Finding(check, "warning", text, expected)
    if then.collateral != named:
        text = "the collateral that was given is not the one that the proof names"
        return Finding(check, "warning", text, expected, then.collateral.hex())
    return Finding(check, "pass", "the collateral is the one that the proof names", expected, expected)


def _today(then: Appraisal, now: Appraisal) -> Iterator[Finding]:
    """Today's word on evidence of the past.

    That a platform fell behind, or a release or a token ran out, is a warning: it was right when it counted. Evidence
    that is found not to be genuine, or a platform that is revoked, refuses: whoever has such a platform's keys gives
    statements any date.
    """
    check, failed = "today.evidence", [finding.id for finding in failures(now.findings)]
    names = ", ".join(failed)
    if then.authentic and failed and set(failed) <= set(_LAPSED):
        yield Finding(
            check, "warning", f"today such evidence would be refused, as its time is over: {names}", None, names
        )
    elif not now.authentic and not now.undecided:
        yield Finding(check, "fail", f"today the evidence is not authentic: {names}", None, names)
    elif now.tcb is not None and now.tcb.status == "Revoked":
        text = "today the platform is revoked, so whoever has its keys can give statements any date"
        yield Finding(check, "fail", text, None, now.tcb.status)
    elif now.undecided:
        text = "nothing that was given says what the platform is worth today"
        yield Finding(check, "warning", text, None, names)
    elif failed:
        yield Finding(check, "warning", f"today such evidence would be refused: {names}", None, names)
    else:
        yield Finding(check, "pass", "today such evidence would be accepted", None, now.tcb.status if now.tcb else None)
