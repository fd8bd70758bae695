"""From a notary's proof to a contract that acts on it: the commands of docs/contract.md, and a chain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pluto_notary.cli import main
from pluto_notary.statement.keys import checksummed
from pluto_notary.statement.model import Domain
from simulators.notary import proofs
from simulators.notary.evm import Contract, Evm, refused, signature_value, statement_value, words
from simulators.notary.registrar_folder import RegistrarFolder, account, believe
from simulators.notary.registrars import CLAIM, DELIVERED

pytestmark = pytest.mark.interop


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RegistrarFolder:
    found = RegistrarFolder(tmp_path)
    believe(monkeypatch, found)
    return found


def register(folder: RegistrarFolder, *words: str | Path) -> None:
    assert main(["register", *map(str, words)]) == 0


def collected(folder: RegistrarFolder, *names: str) -> tuple[bytes, Any]:
    out = folder.folder / "call.json"
    register(folder, "collect", *(folder.folder / name for name in names), "--needed", "2", "--out", out)
    document = json.loads(out.read_text())
    return bytes.fromhex(document["data"][2:]), document


def test_a_proof_becomes_a_fact_on_a_chain_and_stops_being_one(machine: Evm, folder: RegistrarFolder) -> None:
    now, buyer = folder.now, machine.accounts[1]
    registrars = sorted(account(number) for number in range(3))
    verifier = machine.deploy("StatementVerifier", "(address[],uint256)", registrars, 2)
    shop = machine.deploy("Delivery", "(address,bytes32)", verifier.address, proofs.MANIFEST)
    proof = folder.proof(openings=DELIVERED, recipient=buyer, domain=Domain(machine.chain, shop.address))
    path = folder.write("proof.json", proof.to_bytes())
    where = ["--registry", checksummed(verifier.address), "--chain-id", str(machine.chain)]

    def show(at: int) -> Any:
        values = statement_value(proof.statement), signature_value(proof.signature)
        return shop.send(CLAIM, *values, at=at, by=1)

    assert refused(lambda: show(now)) == "KeyDoesNotFit"
    for number in (2, 0):
        out = folder.folder / f"{number}.json"
        register(folder, "sign", path, *where, "--key", folder.key(number), "--out", out, *folder.accepting)
    data, document = collected(folder, "2.json", "0.json")
    assert document["to"] == checksummed(verifier.address)
    assert verifier.sent(data, at=now, by=4).logs == ("KeyRegistered",)
    assert show(now).logs == ("StatementConsumed",)
    assert words(shop.read("delivered(address)", buyer)) == [1]

    assert fits(verifier, folder, now)
    for number in (0, 1):
        out = folder.folder / f"revoke{number}.json"
        register(
            folder, "revoke", "--build", folder.domain.build_id.hex(), *where, "--key", folder.key(number), "--out", out
        )
    data, _ = collected(folder, "revoke0.json", "revoke1.json")
    assert verifier.sent(data, at=now, by=4).logs == ("BuildRevoked",)
    assert not fits(verifier, folder, now)


def fits(verifier: Contract, folder: RegistrarFolder, at: int) -> bool:
    answer = verifier.read("fits(address,bytes32)", proofs.KEY.address, folder.domain.build_id, at=at)
    return words(answer) == [1]
