"""The verdict on a proof: what each lie is called, what is not asked is said, past and present are told apart."""

from __future__ import annotations

import dataclasses
import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pluto_measure.appraise import NOTHING, TdxInputs
from pluto_measure.errors import FormatError
from pluto_measure.evidence import TdxEvidence
from pluto_measure.formats.strict_json import canonical
from pluto_measure.record import replace
from pluto_notary.statement.asked import Asked
from pluto_notary.statement.judge import FORGED
from pluto_notary.statement.model import Domain
from pluto_notary.statement.proof import KeyEvidence, Proof
from simulators.intel import EARLY_LEVELS, NOW, Authority, collateral, tcb_info
from simulators.notary import proofs
from simulators.notary.proofs import (
    ASKED,
    HONEST,
    KEY,
    OTHER_KEY,
    SECONDS,
    brought,
    edited,
    evidence,
    judged,
    made,
    refused,
    warned,
)
from simulators.trust_domains import POLICY, TrustDomain, other, policy
from simulators.verdicts import parsed

# What an honest proof is warned of here: the pretend Intel, references that nobody signed.
ALWAYS = {"evidence.collateral.rollback", "evidence.policy.insecure_root", "evidence.policy.reference_signature"}
MONTH = timedelta(days=30)


def test_an_honest_proof_is_accepted() -> None:
    for proof in (made(), made(legacy=True), Proof.parse(made().to_bytes())):
        verdict = judged(proof)
        assert (verdict.verdict, verdict.exit_code, refused(verdict)) == ("accepted", 0, [])
        assert set(warned(verdict)) == ALWAYS


def test_the_document_is_json_and_has_the_values() -> None:
    document = judged(made()).to_json()
    json.loads(canonical({name: document[name] for name in ("statement", "values", "findings")}))
    assert document["values"] == [{"id": name, "json": text.decode()} for name, text in proofs.VALUES]
    assert document["accepted"] is True


def test_findings_have_ids_that_occur_once() -> None:
    ids = [finding.id for finding in judged(made(values=())).findings]
    assert len(ids) == len(set(ids))


# 1. Signature, key, openings: exit code 4.


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda d: d["statement"]["message"].update(host="other.example"), ["signature.signer", "key.signer"]),
        (lambda d: d["signature"].update(signer="0x" + "00" * 20), ["signature.signer"]),
        (lambda d: d["signature"].update(v=55 - d["signature"]["v"]), ["signature.signer", "key.signer"]),
        (lambda d: d["signature"].update(proofs.signature_of(proofs.made_by(OTHER_KEY))), ["key.signer"]),
        (lambda d: d["openings"][1].update(json="8"), ["values.opening"]),
        (lambda d: d["openings"][1].update(salt="0x" + "01" * 32), ["values.opening"]),
    ],
    ids=["host", "signer", "v", "other key", "value", "salt"],
)
def test_a_forged_proof_is_not_authentic(change: Any, found: list[str]) -> None:
    verdict = judged(Proof.parse(edited(made(), change)))
    assert (refused(verdict), verdict.exit_code, verdict.evidence) == (found, 4, None)
    assert {value["json"] for value in verdict.to_json()["values"]} == {None}  # type: ignore[attr-defined]


def test_evidence_of_another_key_is_found() -> None:
    theirs = KeyEvidence.of(proofs.envelope(HONEST, OTHER_KEY.public), None)
    lie = replace(made(), key_evidence=theirs)
    assert (refused(judged(lie)), judged(lie).exit_code) == (["key.signer"], 4)


def test_evidence_whose_claims_were_changed_is_found() -> None:
    """The key in the claims is the signer's, the quote was made for another."""
    genuine = proofs.envelope(HONEST, OTHER_KEY.public)
    lie = replace(made(), key_evidence=KeyEvidence.of(replace(genuine, claims=evidence().claims), None))
    verdict = judged(lie)
    assert (verdict.verdict, verdict.exit_code) == ("not authentic", 4)
    assert refused(verdict) == ["evidence.binding.report_data", "today.evidence"]


def test_without_evidence_nothing_is_known() -> None:
    verdict = judged(proofs.made_by(KEY))
    assert (refused(verdict), verdict.verdict, verdict.exit_code) == (["key.evidence"], "refused", 5)


# 2. What was asked.


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"manifest": b"\1" * 32}, "statement.manifest"), ({"host": "other.example"}, "statement.host"),
        ({"nonce": b"\1" * 32}, "statement.nonce"), ({"recipient": bytes(20)}, "statement.recipient"),
        ({"chain_id": 1}, "statement.chain"), ({"contract": bytes(20)}, "statement.contract"),
        ({"max_age": 5}, "time.age"), ({"modes": ("observe",)}, "statement.mode"),
        ({"widest_window": 3}, "time.window"),
    ],
    ids=str,
)  # fmt: skip
def test_what_was_asked_must_hold(asked: dict[str, Any], found: str) -> None:
    verdict = judged(made(), **asked)
    assert (refused(verdict), verdict.exit_code) == ([found], 5)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("manifest", "statement.manifest"), ("host", "statement.host"), ("nonce", "statement.nonce"),
        ("recipient", "statement.recipient"), ("chain_id", "statement.chain"), ("contract", "statement.contract"),
        ("max_age", "time.age"),
    ],
)  # fmt: skip
def test_what_was_not_asked_is_said(name: str, found: str) -> None:
    verdict = judged(made(), **{name: None})
    assert verdict.accepted
    assert set(warned(verdict)) - ALWAYS == {found}
    assert next(one for one in verdict.findings if one.id == found).text.startswith("not checked: nobody said")


def test_every_question_has_such_a_finding() -> None:
    """A new member of `Asked` that is optional needs a row above."""
    optional = {field.name for field in dataclasses.fields(Asked) if field.default is None}
    assert optional == {name for name in vars_of(ASKED) if getattr(Asked(), name) is None}
    assert len(set(warned(judged(made(), **dict.fromkeys(optional)))) - ALWAYS) == len(optional)


def vars_of(asked: Asked) -> list[str]:
    return [field.name for field in dataclasses.fields(asked)]


def test_values_that_are_not_shown_are_said() -> None:
    verdict = judged(made(hidden=True).showing(["stock"]))
    assert verdict.accepted
    finding = next(one for one in verdict.findings if one.id == "values.shown")
    assert (finding.verdict, finding.expected, finding.actual) == ("warning", 3, 1)
    assert "price, tags" in finding.text


def test_a_statement_for_no_contract_needs_no_question() -> None:
    verdict = judged(made(domain=Domain(0, bytes(20))), chain_id=None, contract=None)
    assert set(warned(verdict)) == ALWAYS


@pytest.mark.parametrize(
    ("begin", "end", "found"),
    [
        (SECONDS - 8, SECONDS - 12, ["time.order"]),
        (SECONDS - 1000, SECONDS - 8, ["time.window"]),
        (SECONDS + 61, SECONDS + 70, ["time.future"]),
        (SECONDS - 4000, SECONDS - 3990, ["time.age", "evidence.policy.evidence_age"]),
    ],
)
def test_the_window_must_be_sane(begin: int, end: int, found: list[str]) -> None:
    assert refused(judged(made(not_before=begin, not_after=end))) == found


def test_the_last_second_of_all_is_no_crash() -> None:
    verdict = judged(made(not_before=0, not_after=253402300799))
    assert {"time.window", "time.age"} <= set(refused(verdict))
    assert judged(made(not_before=0, not_after=0)).exit_code == 5


def test_observed_is_refused_unless_asked_for() -> None:
    proof = made(mode="observe")
    assert (refused(judged(proof)), judged(proof).exit_code) == (["statement.mode"], 5)
    asked = judged(proof, modes=("fetch", "observe"))
    assert asked.accepted
    assert set(warned(asked)) - ALWAYS == {"statement.mode"}


# 3. Evidence and release, as of the statement's time.


def of(domain: TrustDomain, **changes: Any) -> Proof:
    """A proof of another trust domain."""
    return made(
        key_evidence=KeyEvidence.of(proofs.envelope(domain), proofs.COLLATERAL), build=domain.build_id, **changes
    )


def test_another_image_is_refused() -> None:
    verdict = judged(of(TrustDomain(edits=(other("initrd"),))))
    assert verdict.exit_code == 5
    assert {name for name in refused(verdict) if not name.startswith("today")} >= {"evidence.register.rtmr2"}


def test_another_build_is_refused() -> None:
    assert refused(judged(made(build=b"\1" * 32))) == ["statement.build"]
    assert "evidence.claims.build_id" in refused(judged(of(TrustDomain(build_id=b"\1" * 32))))


def test_another_configuration_is_refused() -> None:
    wanted = policy(config_digest=b"\1" * 32)
    assert refused(judged(made(), policy=wanted)) == ["evidence.policy.config_digest"]


def test_without_reference_policy_or_collateral_it_is_refused() -> None:
    assert refused(judged(made(), then=brought(references=()))) == ["evidence.reference.profile"]
    strict = judged(made(), policy=None)  # which does not know the pretend Intel
    assert (strict.exit_code, "evidence.pck.chain" in refused(strict)) == (4, True)
    nothing = judged(made(), then=brought(tdx=NOTHING))
    assert (refused(nothing), nothing.exit_code) == (["evidence.collateral.given"], 5)


def test_malformed_evidence_is_malformed() -> None:
    honest = proofs.honest_envelope()
    assert isinstance(honest.evidence, TdxEvidence)
    broken = replace(honest, evidence=TdxEvidence(b"quote", honest.evidence.log))
    with pytest.raises(FormatError):
        judged(replace(made(), key_evidence=KeyEvidence.of(broken, None)))


# 4. Today.


def when_it_is(status: str) -> TdxInputs:
    """Collateral by which the honest platform's level has another status."""
    levels = (EARLY_LEVELS[0], dataclasses.replace(EARLY_LEVELS[1], status=status), *EARLY_LEVELS[2:])
    return HONEST.inputs(collateral=parsed(collateral(Authority.make(), info=tcb_info(levels=levels))))


def test_an_old_proof_keeps_its_worth() -> None:
    """Collateral of its time accepts it for good; what has expired since is a warning."""
    verdict = judged(made(), at=NOW + 24 * MONTH, max_age=None)
    assert verdict.accepted
    assert set(warned(verdict)) - ALWAYS == {"time.age", "today.evidence"}


def test_old_evidence_of_today_is_not_accepted_for_being_old() -> None:
    """Evidence is judged at the statement's time, not at its own: a key outlives its evidence by `maxEvidenceAge`."""
    late = made(not_before=SECONDS + 7200, not_after=SECONDS + 7201)
    verdict = judged(late, at=NOW + timedelta(hours=2))
    assert refused(verdict) == ["evidence.policy.evidence_age"]


def test_a_platform_that_fell_behind_since_is_a_warning() -> None:
    verdict = judged(made(), today=brought(tdx=when_it_is("OutOfDate")))
    assert verdict.accepted
    assert "today.evidence" in warned(verdict)
    assert verdict.today is not None
    assert verdict.today.tcb is not None
    assert verdict.today.tcb.status == "OutOfDate"


def test_a_platform_that_was_behind_then_is_refused() -> None:
    assert refused(judged(made(), then=brought(tdx=when_it_is("OutOfDate")))) == ["evidence.tcb.status"]


def test_a_platform_that_is_revoked_today_takes_its_past_along() -> None:
    """Who has its keys writes any date into a statement, so a date of before is worth nothing."""
    verdict = judged(made(), today=brought(tdx=when_it_is("Revoked")))
    assert (refused(verdict), verdict.exit_code) == (["today.evidence"], 5)


def test_nothing_of_today_is_said() -> None:
    verdict = judged(made(), today=brought(tdx=NOTHING))
    assert verdict.accepted
    assert set(warned(verdict)) - ALWAYS == {"today.evidence"}


@pytest.mark.parametrize(
    ("named", "given", "text"),
    [
        (None, b"\1" * 32, "does not name"),
        (b"\1" * 32, None, "was not given"),
        (b"\1" * 32, b"\2" * 32, "is not the one"),
    ],
)
def test_which_collateral_speaks_is_said(named: bytes | None, given: bytes | None, text: str) -> None:
    verdict = judged(made(key_evidence=evidence(named)), then=brought(collateral=given))
    assert verdict.accepted
    assert text in next(one.text for one in verdict.findings if one.id == "key.collateral")


def test_the_policy_is_the_verifiers() -> None:
    assert judged(made(), policy=POLICY).accepted
    assert refused(judged(made(), policy=policy(machines=("ppid:" + "00" * 16,)))) == ["evidence.policy.machine"]


def test_the_table_of_the_format_has_every_finding_and_no_other() -> None:
    text = (ROOT / "docs/formats/proof.md").read_text().split("## Verdict", 1)[1]
    rows = re.findall(r"^\| ((?:`[a-z]+\.[a-z]+`(?:, )?)+) \| (4|5|warning) \|", text, re.MULTILINE)
    table = {name: code for names, code in rows for name in re.findall(r"`([^`]+)`", names)}
    seen = {finding.id for finding in judged(made(legacy=True)).findings if not finding.id.startswith("evidence.")}
    assert table.keys() == seen
    assert {name for name, code in table.items() if code == "4"} == set(FORGED)


ROOT = Path(__file__).resolve().parents[3]
