"""Proofs of notaries on clouds' machines: a token runs out and its proof does not; what a verifier brings."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pluto_measure import command
from pluto_measure.appraise import NO_SPACE, NOTHING, SpaceInputs
from pluto_measure.claims import KeyClaims
from pluto_measure.evidence import Envelope
from pluto_measure.policy import Policy, strict
from pluto_measure.record import replace
from pluto_notary.commands import verify_proof
from pluto_notary.statement.judge import Brought, ProofVerdict
from pluto_notary.statement.proof import KeyEvidence, Proof
from simulators import azure_evidence, trust_domains
from simulators import confidential_space as space
from simulators.azure_evidence import AzureMachine
from simulators.intel import NOW
from simulators.notary.proofs import KEY, OTHER_KEY, judged, made, refused, warned
from simulators.policies import changed

BUILD = space.Space().build_id
SPACE_POLICY = dataclasses.replace(space.POLICY, confidential_space=space.RULES)
AZURE_POLICY = dataclasses.replace(azure_evidence.POLICY, azure=azure_evidence.RULES)
DAY = timedelta(days=1)


def claims(public: bytes = KEY.public) -> KeyClaims:
    return KeyClaims(statement_key=public, config_digest=space.CONFIG, build_id=BUILD)


def of_token(machine: space.Space | None = None, *, envelope: Envelope | None = None) -> Proof:
    shown = envelope or (machine or space.Space()).envelope(claims())
    return made(key_evidence=KeyEvidence.of(shown, None))


def of_azure(machine: AzureMachine | None = None) -> Proof:
    machine = machine or AzureMachine()
    said = claims()
    shown = Envelope(machine.named, 0, NOW, machine.evidence(said.binding()), said)
    return made(key_evidence=KeyEvidence.of(shown, None))


def by_token(proof: Proof, policy: Policy = SPACE_POLICY, given: SpaceInputs = NO_SPACE, **more: Any) -> ProofVerdict:
    mine = Brought(references=(space.REFERENCE,), space=given)
    return judged(proof, policy=policy, then=mine, today=mine, **more)


def test_a_token_vouches_for_the_statements_key() -> None:
    verdict = by_token(of_token())
    assert (verdict.verdict, refused(verdict)) == ("accepted", [])
    assert "today.evidence" not in warned(verdict)


def test_a_token_runs_out_and_its_proof_does_not() -> None:
    """It was right when it counted; that Google would not say it again today is a warning."""
    for later in (timedelta(hours=2), DAY, 90 * DAY):
        verdict = by_token(of_token(), at=NOW + later, max_age=None)
        assert (verdict.verdict, refused(verdict)) == ("accepted", [])
        (said,) = (one for one in verdict.findings if one.id == "today.evidence")
        assert (said.verdict, str(said.actual).endswith("token.time")) == ("warning", True)
        assert said.text.endswith("refused, as its time is over: " + str(said.actual))


def test_a_token_that_had_run_out_by_then_is_refused() -> None:
    old = space.Space(issued_at=NOW - timedelta(hours=2))
    verdict = by_token(of_token(old))
    assert (verdict.exit_code, refused(verdict)) == (4, ["evidence.token.time", "today.evidence"])


def test_a_token_for_another_key_is_forged_at_any_time() -> None:
    theirs = space.Space().envelope(claims(OTHER_KEY.public))
    lie = replace(theirs, claims=claims())
    for later in (timedelta(0), DAY):
        verdict = by_token(of_token(envelope=lie), at=NOW + later, max_age=None)
        assert (verdict.exit_code, refused(verdict)) == (4, ["evidence.binding.token_nonce", "today.evidence"])


def test_a_token_without_a_chain_needs_googles_keys() -> None:
    policy = dataclasses.replace(SPACE_POLICY, confidential_space=dataclasses.replace(space.RULES, forms=("oidc",)))
    proof = of_token(space.Space(form="oidc"))
    without = by_token(proof, policy)
    assert (without.exit_code, refused(without)) == (5, ["evidence.token.keys_given"])
    assert by_token(proof, policy, SpaceInputs(keys=space.keys(NOW - timedelta(hours=1)))).accepted


def test_a_machine_of_azures_vouches_for_the_statements_key() -> None:
    inputs = AzureMachine().inputs(ak_issuers=azure_evidence.ISSUERS)
    mine = Brought(references=(azure_evidence.REFERENCE,), tdx=inputs)
    verdict = judged(of_azure(), policy=AZURE_POLICY, then=mine, today=mine)
    assert (verdict.verdict, refused(verdict)) == ("accepted", [])
    unknown = dataclasses.replace(mine, tdx=AzureMachine().inputs())
    assert refused(judged(of_azure(), policy=AZURE_POLICY, then=unknown, today=unknown)) == ["evidence.policy.ak_trust"]
    nothing = dataclasses.replace(mine, tdx=NOTHING)
    assert judged(of_azure(), policy=AZURE_POLICY, then=nothing, today=nothing).undecided


Call = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def call(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    """The command on a proof by a policy and a reference: exit code, and its document."""

    def run(proof: Proof, policy: str, reference: str, *more: object) -> tuple[int, dict[str, Any]]:
        for name, content in (("policy", policy), ("reference", reference)):
            (tmp_path / name).write_text(content)
        (tmp_path / "proof").write_bytes(proof.to_bytes())
        top = command.parser("pluto-notary", "")
        verify_proof.add(top.add_subparsers(required=True))
        words = ["--policy", tmp_path / "policy", "--reference", tmp_path / "reference", "--at", "2026-11-20T12:00:00Z"]
        code = command.run(top, ["verify-proof", str(tmp_path / "proof"), "--json", *map(str, [*words, *more])])
        return code, json.loads(capsys.readouterr().out)

    return run


def test_the_command_reads_googles_keys(call: Call, tmp_path: Path) -> None:
    text = strict.text(["gcp-confidential-space"], unsigned=True)
    text = changed(text, forms='["oidc"]', outerKeyDigest='"any"')
    (tmp_path / "keys").write_text(space.keys().to_text())
    proof, reference = of_token(space.Space(form="oidc")), space.REFERENCE.to_text()
    assert call(proof, text, reference, "--google-keys", tmp_path / "keys")[0] == 0
    assert call(proof, text, reference)[0] == 5
    (tmp_path / "keys").write_text("{}")
    code, document = call(proof, text, reference, "--google-keys", tmp_path / "keys")
    assert (code, document["error"]["kind"]) == (3, "FormatError")


def test_the_command_reads_issuers(call: Call, tmp_path: Path) -> None:
    text = strict.text(["azure-tdx"], unsigned=True).replace(
        "insecure_roots = []", f'insecure_roots = ["{trust_domains.ROOT.hex()}"]'
    )
    text = text.replace("akTrust = []", f'akTrust = ["{azure_evidence.AK_ROOT.hex()}"]')
    issuers = [x509.load_der_x509_certificate(der) for der in azure_evidence.ISSUERS]
    (tmp_path / "issuers").write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in issuers))
    (tmp_path / "collateral").write_text(json.dumps(AzureMachine().world.collateral))
    words = [of_azure(), text, azure_evidence.REFERENCE.to_text(), "--collateral", tmp_path / "collateral"]
    assert call(*words, "--ak-issuers", tmp_path / "issuers")[0] == 0
    code, document = call(*words)
    assert (code, [one["id"] for one in document["findings"] if one["verdict"] == "fail"]) == (
        5,
        ["evidence.policy.ak_trust"],
    )
