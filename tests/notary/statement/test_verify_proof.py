"""`pluto-notary verify-proof`: files in, a verdict out, with the exit codes of all commands."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pluto_measure import command
from pluto_notary.commands import verify_proof
from pluto_notary.statement.model import Domain
from pluto_notary.statement.proof import Proof
from pluto_notary.statement.values import digests, revealed
from simulators.intel import healthy
from simulators.notary import proofs
from simulators.notary.proofs import CONTRACT, KEY, NONCE, RECIPIENT, edited, evidence, made
from simulators.policies import TDX_TEXT
from simulators.trust_domains import REFERENCE

AT = "2026-11-20T12:00:00Z"
COLLATERAL = json.dumps(healthy().collateral).encode()
ASKED = [
    "--nonce", NONCE.hex(), "--recipient", f"0x{RECIPIENT.hex()}", "--chain-id", "8453",
    "--contract", f"0x{CONTRACT.hex()}", "--max-age", "3600",
]  # fmt: skip
HONEST = made(key_evidence=evidence(hashlib.sha256(COLLATERAL).digest()))

Answer = tuple[int, str, str]
Call = Callable[..., Answer]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "policy.toml").write_text(TDX_TEXT)
    (tmp_path / "measurements.json").write_text(REFERENCE.to_text())
    (tmp_path / "collateral.json").write_bytes(COLLATERAL)
    return tmp_path


@pytest.fixture
def call(folder: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    """The command on a proof, with all that accepts the honest one, less some options and with some more."""

    def run(proof: Proof | bytes, *more: str, without: tuple[str, ...] = ()) -> Answer:
        path = folder / "proof.json"
        path.write_bytes(proof if isinstance(proof, bytes) else proof.to_bytes())
        names = {"policy": "policy.toml", "reference": "measurements.json", "collateral": "collateral.json"}
        options = [word for n, file in names.items() if n not in without for word in (f"--{n}", str(folder / file))]
        top = command.parser("pluto-notary", "")
        verify_proof.add(top.add_subparsers(required=True))
        code = command.run(top, ["verify-proof", str(path), *options, "--at", AT, *more])
        return (code, *capsys.readouterr())

    return run


def document(answer: Answer) -> Any:
    return json.loads(answer[1])


def warned(answer: Answer) -> set[str]:
    return {one["id"] for one in document(answer)["findings"] if one["verdict"] == "warning"}


def test_an_honest_proof_is_accepted(call: Call) -> None:
    code, out, err = call(HONEST, *ASKED)
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == (
        "statement of mode fetch about shop.example, 2026-11-20T11:59:48Z to 2026-11-20T11:59:52Z"
    )
    assert '  price = "12.50"' in out.splitlines()
    assert out.splitlines()[-1].startswith("accepted: ")
    assert "signature.signer" not in out
    assert "ok       signature.signer" in call(HONEST, *ASKED, "--verbose")[1]


def test_json_says_the_same(call: Call) -> None:
    answer = call(HONEST, *ASKED, "--json")
    found = document(answer)
    assert (answer[0], found["accepted"], found["verdict"], found["authentic"]) == (0, True, "accepted", True)
    assert found["evidence"]["tcb"]["status"] == found["today"]["tcb"]["status"] == "UpToDate"
    assert not warned(answer) & {"key.collateral", "statement.nonce", "time.age", "today.evidence"}


def test_what_was_not_asked_is_listed(call: Call) -> None:
    answer = call(HONEST, "--json")
    assert answer[0] == 0
    missing = {"manifest", "host", "nonce", "recipient", "chain", "contract"}
    assert {f"statement.{name}" for name in missing} | {"time.age"} <= warned(answer)


@pytest.mark.parametrize(
    ("more", "refused"),
    [
        (["--nonce", "00" * 32], "statement.nonce"), (["--recipient", "0x" + "00" * 20], "statement.recipient"),
        (["--chain-id", "1"], "statement.chain"), (["--contract", "0x" + "00" * 20], "statement.contract"),
        (["--max-age", "1"], "time.age"), (["--mode", "observe"], "statement.mode"),
        (["--at", "2026-11-20T11:00:00Z"], "time.future"),
    ],
    ids=str,
)  # fmt: skip
def test_what_was_asked_refuses(call: Call, more: list[str], refused: str) -> None:
    code, out, _ = call(HONEST, *ASKED, *more)
    assert code == 5
    assert f"REFUSED  {refused}: " in out
    assert out.splitlines()[-1].startswith("refused: ")


@pytest.mark.parametrize(
    ("without", "refused"),
    [("reference", "evidence.reference.profile"), ("collateral", "evidence.collateral.given")],
)
def test_what_was_not_brought_refuses(call: Call, without: str, refused: str) -> None:
    code, out, _ = call(HONEST, without=(without,))
    assert code == 5
    assert f"REFUSED  {refused}: " in out


def test_a_forged_proof_is_not_authentic(call: Call) -> None:
    lie = edited(HONEST, lambda d: d["statement"]["message"].update(recipient="0x" + "bb" * 20))
    code, out, _ = call(lie)
    assert code == 4
    assert "(not verified)" in out.splitlines()[0]
    assert "REFUSED  signature.signer: " in out
    assert document(call(lie, "--json"))["verdict"] == "not authentic"


def test_without_evidence_it_is_refused(call: Call) -> None:
    code, out, _ = call(proofs.made_by(KEY))
    assert code == 5
    assert "anybody's laptop" in out


def test_observed_must_be_asked_for(call: Call) -> None:
    proof = made(mode="observe")
    assert call(proof)[0] == 5
    assert call(proof, "--mode", "any")[0] == call(proof, "--mode", "observe")[0] == 0


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff" * 10, b'{"version":2}'])
def test_what_is_no_proof_is_malformed(call: Call, data: bytes) -> None:
    code, _, err = call(data)
    assert code == 3
    assert "proof.json" in err


@pytest.mark.parametrize(
    "more",
    [["--nonce", "00"], ["--recipient", "00" * 20], ["--recipient", "0x5AAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"],
     ["--chain-id", "-1"], ["--chain-id", "x"], ["--max-age", "-1"], ["--at", "yesterday"], ["--mode", "guess"]],
    ids=str,
)  # fmt: skip
def test_mistakes_of_the_caller(call: Call, more: list[str]) -> None:
    code, _, err = call(HONEST, *more)
    assert (code, more[0] in err) == (2, True)


def test_the_state_directory_is_for_today(call: Call, folder: Path) -> None:
    """An empty one has no collateral: the statement's own is the file, of today nothing is known."""
    answer = call(HONEST, *ASKED, "--state", str(folder / "state"), "--json")
    assert (answer[0], "today.evidence" in warned(answer)) == (0, True)
    assert document(answer)["today"]["tcb"] is None


def test_other_collateral_than_the_named_is_said(call: Call) -> None:
    assert "key.collateral" in warned(call(made(), "--json"))


def test_no_word_of_others_looks_like_ours(call: Call) -> None:
    """Ids and values are shown on one line each, and without what a terminal obeys."""
    evil = revealed(
        [("x\naccepted: 60 checks, 0 refused", b'"\x1b[2J"'.replace(b"\x1b", b"\\u001b")), ("y\x1b[2J", b"1")]
    )
    proof = Proof.sign(proofs.statement(values=digests(evil)), evil, key=KEY, key_evidence=None)
    code, out, _ = call(proof, "--verbose")
    assert (code, "\x1b" in out) == (5, False)
    assert not [line for line in out.splitlines() if line.startswith("accepted")]
    hidden = call(proof.showing([]))[1]
    assert not [line for line in hidden.splitlines() if line.startswith("accepted")]


def test_a_long_value_is_cut_for_people_and_whole_for_programs(call: Call) -> None:
    text = json.dumps("x" * 1000)
    long = revealed([("long", text.encode())])
    proof = Proof.sign(proofs.statement(values=digests(long)), long, key=KEY, key_evidence=evidence())
    assert "…" in call(proof)[1]
    assert document(call(proof, "--json"))["values"] == [{"id": "long", "json": text}]


def test_the_manifest_is_compared(call: Call, folder: Path) -> None:
    from pluto_notary.manifest import Manifest

    (folder / "manifest.json").write_bytes(MANIFEST)
    manifest = Manifest.parse(MANIFEST)
    proof = made(manifest=manifest.digest(), domain=Domain(8453, CONTRACT))
    more = ["--manifest", str(folder / "manifest.json"), "--json"]
    answer = call(proof, *more)
    assert (answer[0], warned(answer) & {"statement.manifest", "statement.host"}) == (0, set())
    refused = {one["id"] for one in document(call(HONEST, *more))["findings"] if one["verdict"] == "fail"}
    assert refused == {"statement.manifest"}


MANIFEST = json.dumps(
    {
        "manifestVersion": "2",
        "request": {"method": "GET", "url": "https://shop.example/price", "headers": {}},
        "response": {"status": "200", "headers": {"Content-Type": "application/json"}, "body": {
            "format": "json",
            "extractors": [{"id": "price", "description": "", "selector": ["price"], "type": "string"}],
        }},
    }
).encode()  # fmt: skip
