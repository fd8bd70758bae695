"""`prove` and `appraise` judge notaries on clouds' machines, by the files that the call names."""

from __future__ import annotations

import argparse
import json
from datetime import datetime
from pathlib import Path

import pytest

from pluto_measure.appraise import Appraisal
from pluto_measure.evidence import Envelope
from pluto_measure.policy import strict
from pluto_measure.progress import Silent
from pluto_notary.client.prove import Shown
from pluto_notary.commands import prove_judge
from pluto_notary.commands.prove_judge import Judge
from pluto_notary.commands.verify_proof import add_judges
from pluto_notary.protocol.messages import Evidence
from simulators import azure_evidence, trust_domains
from simulators import confidential_space as space
from simulators.azure_evidence import AzureMachine
from simulators.intel import NOW
from simulators.notary.evidence import CHANNEL_KEY, EKM, EPOCH, NONCE, every_purpose
from simulators.policies import changed

CLAIMS = every_purpose(space.Space().build_id)["channel"]


class Frozen(datetime):
    """The clock of the simulators."""

    @classmethod
    def now(cls, tz: object = None) -> datetime:  # type: ignore[override]  # no other zone is asked for
        return NOW


@pytest.fixture(autouse=True)
def _time_of_the_simulators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prove_judge, "datetime", Frozen)


def appraised(folder: Path, envelope: Envelope, policy: str, reference: str, *more: object) -> Appraisal:
    """What the judge of a call says of a channel's evidence."""
    for name, content in (("policy", policy), ("reference", reference)):
        (folder / name).write_text(content)
    parser = argparse.ArgumentParser()
    add_judges(parser)
    words = ["--policy", folder / "policy", "--reference", folder / "reference", *more]
    arguments = parser.parse_args([str(word) for word in words])
    message = Evidence(bytes(32), EPOCH, CHANNEL_KEY, envelope.to_text().encode(), bytes(64))
    return Judge(arguments, Silent()).appraised(Shown(message, EKM, NONCE, False, trust_domains.OUTER_KEY))


def test_a_token_without_a_chain_is_judged_by_googles_keys(tmp_path: Path) -> None:
    policy = changed(strict.text(["gcp-confidential-space"], unsigned=True), forms='["oidc"]')
    envelope, reference = space.Space(form="oidc").envelope(CLAIMS), space.REFERENCE.to_text()
    (tmp_path / "keys").write_text(space.keys().to_text())
    assert appraised(tmp_path, envelope, policy, reference, "--google-keys", tmp_path / "keys").accepted
    without = appraised(tmp_path, envelope, policy, reference)
    assert (without.undecided, [one.id for one in without.failures]) == (True, ["token.keys_given"])


def test_a_machine_of_azures_is_judged_by_its_issuers(tmp_path: Path) -> None:
    policy = strict.text(["azure-tdx"], unsigned=True).replace(
        "insecure_roots = []", f'insecure_roots = ["{trust_domains.ROOT.hex()}"]'
    )
    policy = changed(policy, akTrust=f'["{azure_evidence.AK_ROOT.hex()}"]')
    machine = AzureMachine()
    envelope = Envelope(machine.named, EPOCH, NOW, machine.evidence(CLAIMS.binding()), CLAIMS)
    (tmp_path / "collateral").write_text(json.dumps(machine.world.collateral))
    issuers: list[object] = []
    for place, der in enumerate(azure_evidence.ISSUERS):
        (tmp_path / f"{place}.der").write_bytes(der)
        issuers += ["--ak-issuers", tmp_path / f"{place}.der"]
    reference, collateral = azure_evidence.REFERENCE.to_text(), ("--collateral", tmp_path / "collateral")
    assert appraised(tmp_path, envelope, policy, reference, *collateral, *issuers).accepted
    refused = appraised(tmp_path, envelope, policy, reference, *collateral)
    assert [one.id for one in refused.failures] == ["policy.ak_trust"]
