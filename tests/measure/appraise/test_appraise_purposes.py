"""Evidence of each purpose is accepted by who expects it and knows its key, epoch, session, nonce; by nobody else."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from pluto_measure.appraise import (
    Appraisal,
    ChannelExpected,
    Expected,
    KeyExpected,
    NodeExpected,
    SessionExpected,
    verify_evidence,
    verify_expected,
)
from pluto_measure.claims import AnyClaims
from pluto_measure.evidence import Envelope
from pluto_measure.record import replace
from simulators import policies, tpm_quotes, trust_domains
from simulators.intel import NOW
from simulators.notary.evidence import (
    CHANNEL_KEY,
    EKM,
    EPOCH,
    NONCE,
    STATEMENT_KEY,
    every_purpose,
    tdx_envelope,
    tpm_envelope,
)
from simulators.tpm_quotes import Machine
from simulators.trust_domains import OUTER_KEY, TrustDomain

MACHINE, DOMAIN = Machine(), TrustDomain()
EXPECTED: dict[str, Expected] = {
    "node": NodeExpected(NONCE, OUTER_KEY),
    "channel": ChannelExpected(CHANNEL_KEY, EPOCH, OUTER_KEY),
    "session": SessionExpected(EKM, NONCE, CHANNEL_KEY),
    "key": KeyExpected(STATEMENT_KEY),
}
KINDS = ("tpm", "tdx")


def claims_of(kind: str, purpose: str) -> AnyClaims:
    return every_purpose(MACHINE.build_id if kind == "tpm" else DOMAIN.build_id)[purpose]


def envelope_of(kind: str, claims: AnyClaims, said: AnyClaims | None = None) -> Envelope:
    return tpm_envelope(MACHINE, claims, said=said) if kind == "tpm" else tdx_envelope(DOMAIN, claims, said=said)


def judged(kind: str, raw: str, expected: Expected) -> Appraisal:
    if kind == "tpm":
        reference = tpm_quotes.reference_of()
        return verify_expected(raw, expected, [reference], policies.POLICY, tpm_quotes.NOW)
    inputs = DOMAIN.inputs()
    return verify_expected(raw, expected, [trust_domains.REFERENCE], trust_domains.POLICY, NOW, inputs)


def refusals(appraisal: Appraisal) -> set[str]:
    return {finding.id for finding in appraisal.failures}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("purpose", EXPECTED)
def test_evidence_is_accepted_for_its_purpose_and_for_no_other(kind: str, purpose: str) -> None:
    claims = claims_of(kind, purpose)
    raw = envelope_of(kind, claims).to_text()
    appraisal = judged(kind, raw, EXPECTED[purpose])
    assert (appraisal.accepted, refusals(appraisal), appraisal.claims) == (True, set(), claims)
    for other, expected in EXPECTED.items():
        if other != purpose:
            refused = judged(kind, raw, expected)
            assert (refused.accepted, refused.exit_code) == (False, 5)
            assert refusals(refused) == {"binding.ekm" if purpose == "session" else "binding.purpose"}


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("node", {"nonce": b"other"}, "binding.nonce"),
    ("node", {"nonce": None}, "binding.nonce"),
    ("node", {"outer_key_digest": bytes(32)}, "binding.outer_key"),
    ("channel", {"channel_key": bytes(32)}, "binding.channel_key"),
    ("channel", {"epoch": EPOCH + 1}, "binding.epoch"),
    ("channel", {"outer_key_digest": bytes(32)}, "binding.outer_key"),
    ("channel", {"outer_key_digest": None}, "binding.outer_key"),
    ("session", {"ekm": bytes(32)}, "binding.ekm"),
    ("session", {"nonce": bytes(32)}, "binding.nonce"),
    ("session", {"channel_key": bytes(32)}, "binding.channel_key"),
    ("key", {"statement_key": b"\3" + STATEMENT_KEY[1:]}, "binding.statement_key"),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("purpose", "changes", "finding"), WRONG)
def test_each_thing_that_the_verifier_knows_is_compared(
    kind: str, purpose: str, changes: dict[str, Any], finding: str
) -> None:
    raw = envelope_of(kind, claims_of(kind, purpose)).to_text()
    appraisal = judged(kind, raw, dataclasses.replace(EXPECTED[purpose], **changes))
    assert (appraisal.accepted, refusals(appraisal)) == (False, {finding})


FORGED: list[tuple[str, dict[str, Any]]] = [
    ("channel", {"channel_key": bytes(32)}),
    ("channel", {"outer_key_digest": bytes(32)}),
    ("channel", {"config_digest": bytes(32)}),
    ("session", {"nonce": bytes(32)}),
    ("session", {"channel_key": bytes(32)}),
    ("session", {"config_digest": bytes(32)}),
    ("key", {"statement_key": b"\3" + STATEMENT_KEY[1:]}),
    ("key", {"config_digest": bytes(32)}),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("purpose", "changes"), FORGED)
def test_weakness_07_claims_that_were_not_quoted_are_not_authentic(
    kind: str, purpose: str, changes: dict[str, Any]
) -> None:
    """A signing or channel key that no quote covers is nobody's: a laptop cannot stand in for a trust domain."""
    claims = claims_of(kind, purpose)
    appraisal = judged(kind, envelope_of(kind, claims, replace(claims, **changes)).to_text(), EXPECTED[purpose])
    assert (appraisal.authentic, appraisal.exit_code, appraisal.claims) == (False, 4, None)


@pytest.mark.parametrize("kind", KINDS)
def test_a_quote_for_one_purpose_cannot_be_shown_for_another(kind: str) -> None:
    """The same fields under another purpose give another binding."""
    for purpose in EXPECTED:
        for other in EXPECTED:
            if other != purpose:
                raw = envelope_of(kind, claims_of(kind, purpose), claims_of(kind, other)).to_text()
                assert not judged(kind, raw, EXPECTED[other]).authentic


def test_verify_evidence_expects_a_nodes() -> None:
    raw = envelope_of("tpm", claims_of("tpm", "key")).to_text()
    appraisal = verify_evidence(raw, (), None, tpm_quotes.NOW, NONCE, OUTER_KEY)
    assert "binding.purpose" in refusals(appraisal)


@pytest.mark.parametrize("purpose", ["channel", "session", "key"])
def test_a_bare_quote_does_not_say_its_purpose(purpose: str) -> None:
    claims = claims_of("tdx", purpose)
    quote = DOMAIN.quoted(claims.binding()).quote
    inputs = DOMAIN.inputs(report_data=claims.binding(), log=DOMAIN.log_bytes())
    policy = trust_domains.policy(outer_key_digest="any")
    reference = [trust_domains.REFERENCE]
    appraisal = verify_expected(quote, EXPECTED[purpose], reference, policy, NOW, inputs)
    assert refusals(appraisal) == {"binding.purpose"}
