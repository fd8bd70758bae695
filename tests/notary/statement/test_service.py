"""What a notary says of a posted proof: no more than its bytes say, and what it does not say in words."""

from __future__ import annotations

import pytest

from pluto_measure.errors import FormatError, RefusedError
from pluto_measure.formats.strict_json import canonical
from pluto_notary.statement.model import spelt
from pluto_notary.statement.proof import Proof
from pluto_notary.statement.service import NOT_CHECKED, verification
from simulators.notary import proofs
from simulators.notary.proofs import KEY, OTHER_KEY, edited, made


def failing(document: dict[str, object]) -> list[str]:
    checks = document["checks"]
    assert isinstance(checks, list)
    return [check["id"] for check in checks if not check["holds"]]


def test_an_honest_proof_is_consistent() -> None:
    proof = made(legacy=True)
    document = verification(proof.to_bytes())
    assert document["consistent"] is True
    assert failing(document) == []
    assert document["signer"] == spelt(KEY.address)
    assert document["digest"] == spelt(proof.statement.digest())
    assert document["mode"] == "fetch"
    canonical(document)  # it can be sent


def test_an_observed_statement_is_refused_unless_it_is_asked_for() -> None:
    observed, fetched = made(mode="observe").to_bytes(), made().to_bytes()
    for data, modes in ((observed, ("fetch",)), (fetched, ("observe",))):
        with pytest.raises(RefusedError, match="not asked for"):
            verification(data, modes)
    with pytest.raises(RefusedError):
        verification(observed)
    for asked in (["observe"], ["fetch", "observe"]):
        assert verification(observed, asked)["mode"] == "observe"


def test_what_is_not_checked_is_said() -> None:
    document = verification(made().to_bytes())
    assert document["notChecked"] == [{"id": name, "text": f"not checked: {text}"} for name, text in NOT_CHECKED]
    assert {name for name, _ in NOT_CHECKED} == {"evidence", "release", "time", "manifest", "nonce", "replay"}


def test_values_are_neither_needed_nor_repeated() -> None:
    proof = made(hidden=True)
    document = verification(proof.showing(["stock"]).to_bytes())
    assert document["consistent"] is True
    assert document["notShown"] == ["price", "tags"]
    assert "12.50" not in canonical(verification(proof.to_bytes())).decode()


def test_a_proof_without_evidence_is_not_consistent() -> None:
    bare = Proof.sign(proofs.statement(), proofs.openings(), key=KEY, key_evidence=None)
    assert failing(verification(bare.to_bytes())) == ["key.evidence"]


def test_a_forged_proof_is_told_apart() -> None:
    forged = Proof.sign(proofs.statement(), proofs.openings(), key=OTHER_KEY, key_evidence=None)
    with_evidence = edited(made(), lambda d: d.update(signature=proofs.signature_of(forged)))
    assert failing(verification(with_evidence)) == ["key.signer"]
    lie = edited(made(), lambda d: d["statement"]["message"].update(host="other.example"))
    assert "signature.signer" in failing(verification(lie))
    opened = edited(made(), lambda d: d["openings"][0].update(json='"1.00"'))
    assert failing(verification(opened)) == ["values.opening"]
    build = edited(made(), lambda d: d["keyEvidence"]["envelope"]["claims"].update(buildId="ab" * 32))
    assert failing(verification(build)) == ["statement.build"]


def test_what_is_no_proof_is_malformed() -> None:
    with pytest.raises(FormatError):
        verification(b"{}")
