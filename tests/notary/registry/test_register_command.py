"""`pluto-notary register`: files in, signatures and calls out, with the exit codes of all commands."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from pluto_measure.policy import Policy
from pluto_notary.cli import build_parser, main
from pluto_notary.registry.claims import KeyFits, Registry, RevokeBuild, RevokeKey, Rotate
from pluto_notary.registry.signed import Signed
from pluto_notary.statement.keys import checksummed
from simulators.intel import DEBUG
from simulators.notary import today
from simulators.notary.proofs import KEY, edited, envelope, made_by
from simulators.notary.registrar_folder import PASSWORD, RegistrarFolder, account, believe, secret
from simulators.policies import TDX_TEXT

ROOT = Path(__file__).resolve().parents[3]
REGISTRY = b"\x0e" * 20
WHERE = ["--registry", f"0x{REGISTRY.hex()}", "--chain-id", "8453"]

Answer = tuple[int, Any, str]
Call = Callable[..., Answer]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RegistrarFolder:
    found = RegistrarFolder(tmp_path)
    believe(monkeypatch, found)
    return found


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """A command of `register`: exit code, its JSON, and what people read."""

    def run(*words: str | Path) -> Answer:
        code = main(["register", *map(str, words), "--json"])
        out, err = capsys.readouterr()
        return code, json.loads(out), err

    return run


def sign(call: Call, folder: RegistrarFolder, data: bytes, *more: str | Path, number: int = 0) -> Answer:
    path, out = folder.write("evidence.json", data), folder.folder / f"signed{number}.json"
    return call("sign", path, *WHERE, "--key", folder.key(number), "--out", out, *folder.accepting, *more)


def signed(folder: RegistrarFolder, number: int = 0) -> Signed:
    return Signed.parse((folder.folder / f"signed{number}.json").read_bytes())


def test_an_honest_key_is_signed_for(call: Call, folder: RegistrarFolder) -> None:
    code, document, err = sign(call, folder, folder.proof().to_bytes())
    assert (code, err) == (0, "")
    found = signed(folder)
    assert isinstance(found.claim, KeyFits)
    assert (found.claim.key, found.claim.build_id) == (KEY.address, folder.domain.build_id)
    assert (found.registry, found.signer) == (Registry(8453, REGISTRY), account(0))
    assert folder.now < found.claim.until < folder.now + 30 * 86400
    assert document["appraisal"]["accepted"] is True
    assert document["signed"] == json.loads(found.to_text())


def test_what_a_notary_answers_will_do(call: Call, folder: RegistrarFolder) -> None:
    statement = {
        "publicKey": KEY.public.hex(), "address": f"0x{KEY.address.hex()}",
        "evidence": envelope(folder.domain).to_json(),
    }  # fmt: skip
    document = {"statement": statement, "channel": {"publicKey": "", "epoch": 0, "evidence": {}}}
    assert sign(call, folder, json.dumps(document).encode())[0] == 0
    assert sign(call, folder, folder.proof().to_bytes(), number=1)[0] == 0
    assert signed(folder).claim == signed(folder, 1).claim
    statement["evidence"] = {**envelope(folder.domain).to_json(), "type": "insecure"}
    assert sign(call, folder, json.dumps(document).encode())[0] == 5


def test_people_read_what_was_signed(folder: RegistrarFolder, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = folder.write("proof.json", folder.proof().to_bytes()), folder.folder / "out.json"
    words = ["sign", str(path), *WHERE, "--key", str(folder.key(0)), "--out", str(out), *folder.accepting]
    assert main(["register", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"KeyFits: key 0x{KEY.address.hex()}, buildId 0x{folder.domain.build_id.hex()}, until ")
    assert lines[1:] == [f"signed by {checksummed(account(0))}", f"written to {out}"]


def test_registrars_sign_for_one_time(call: Call, folder: RegistrarFolder) -> None:
    end = datetime.fromtimestamp(folder.now, UTC) + timedelta(days=2)
    for number in range(2):
        said = f"{end:%Y-%m-%dT%H:%M:%SZ}"
        assert sign(call, folder, folder.proof().to_bytes(), "--until", said, number=number)[0] == 0
        assert signed(folder, number).claim == KeyFits(KEY.address, folder.domain.build_id, int(end.timestamp()))


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (lambda folder: b"{}", 3),
        (lambda folder: made_by(KEY).to_bytes(), 5),
        (lambda folder: edited(folder.proof(), lambda d: d["statement"]["message"].update(host="b.example")), 4),
        (lambda folder: folder.proof(today.domain(report={"tdattributes": DEBUG})).to_bytes(), 5),
        (lambda folder: folder.proof(today.domain(later=(("rtmr3", b"x"),))).to_bytes(), 5),
    ],
    ids=["no evidence", "insecure", "forged", "debug", "another machine"],
)
def test_what_is_not_signed_for(call: Call, folder: RegistrarFolder, data: Any, code: int) -> None:
    answer = sign(call, folder, data(folder))
    assert answer[0] == code
    assert not (folder.folder / "signed0.json").exists()


@pytest.mark.parametrize("name", ["allowDebug", "insecure_software_tpm"])
def test_a_loose_policy_is_refused(call: Call, folder: RegistrarFolder, name: str) -> None:
    loose = folder.write("loose.toml", folder.policy.read_text().replace(f"{name} = false", f"{name} = true"))
    assert Policy.parse(loose.read_text()) != Policy.parse(folder.policy.read_text())
    code, document, _ = sign(call, folder, folder.proof().to_bytes(), "--policy", loose)
    assert (code, document["error"]["kind"]) == (5, "RefusedError")
    pretend = folder.write("pretend.toml", TDX_TEXT)
    assert sign(call, folder, folder.proof().to_bytes(), "--policy", pretend)[0] == 5


def test_collateral_is_remembered_and_not_needed_twice(call: Call, folder: RegistrarFolder) -> None:
    """What the pretend Intel says is not kept in mind as Intel's, and the note says so."""
    state = folder.folder / "state"
    state.mkdir()
    code, _, err = sign(call, folder, folder.proof().to_bytes(), "--state", state)
    assert code == 0
    assert "not remembered" in err


@pytest.mark.parametrize(
    "registry",
    [
        ["--registry", "0x0e", "--chain-id", "1"], ["--registry", "0x" + "00" * 20, "--chain-id", "1"],
        ["--registry", "0x" + "0e" * 20, "--chain-id", "0"],
    ],
    ids=["short", "zero", "no chain"],
)  # fmt: skip
def test_what_is_no_registry(call: Call, folder: RegistrarFolder, registry: list[str]) -> None:
    out = folder.folder / "out.json"
    answer = call("revoke", "--build", "01" * 32, *registry, "--key", folder.key(0), "--out", out)
    assert answer[0] == 2
    assert not out.exists()


def test_what_is_missing_is_said_with_the_way_to_get_it(call: Call, folder: RegistrarFolder) -> None:
    path, state = folder.write("evidence.json", folder.proof().to_bytes()), folder.folder / "state"
    state.mkdir()
    given = ["--policy", folder.policy, "--reference", folder.reference, "--state", state]
    out = folder.folder / "out.json"
    code, document, err = call("sign", path, *WHERE, "--key", folder.key(0), "--out", out, *given)
    assert code == 5
    assert "collateral.given" in {finding["id"] for finding in document["error"]["findings"]}
    assert "pluto-measure collateral fetch" in err
    assert not out.exists()


# Keys.


def test_the_account_of_a_key(call: Call, folder: RegistrarFolder) -> None:
    assert call("account", "--key", folder.key(3))[1] == {"account": checksummed(account(3))}
    locked, password = folder.key(4, password=PASSWORD), folder.write("password", PASSWORD + b"\n", mode=0o600)
    answer = call("account", "--key", locked, "--password-file", password)
    assert answer[1] == {"account": checksummed(account(4))}
    assert call("account", "--key", locked)[0] == 2


def test_a_key_that_others_may_read_signs_nothing(call: Call, folder: RegistrarFolder) -> None:
    path = folder.key(0)
    path.chmod(0o644)
    code, document, _ = call("account", "--key", path)
    assert (code, document["error"]["kind"]) == (2, "UsageError")


def test_a_key_of_another_curve_is_none(call: Call, folder: RegistrarFolder) -> None:
    code, document, err = call("account", "--key", folder.key(0, curve=ec.SECP256R1))
    assert (code, document["error"]["kind"]) == (3, "FormatError")
    assert "ec_paramgen_curve:secp256k1" in err


def test_no_key_is_in_any_output(call: Call, folder: RegistrarFolder) -> None:
    answers = [
        sign(call, folder, folder.proof().to_bytes()),
        sign(call, folder, b"{}"),
        call("account", "--key", folder.key(0)),
        call("revoke", "--build", "01" * 32, *WHERE, "--key", folder.key(0), "--out", folder.folder / "out.json"),
    ]
    said = repr(answers) + "".join(path.read_text() for path in folder.folder.glob("*.json"))
    assert secret(0).hex() not in said
    assert str(int.from_bytes(secret(0), "big")) not in said


# Revocation, rotation, collection.


@pytest.mark.parametrize(
    ("words", "claim"),
    [
        (["--signer", checksummed(KEY.address)], RevokeKey(KEY.address)),
        (["--build", "0x" + "0b" * 32], RevokeBuild(b"\x0b" * 32)),
        (["--build", "0b" * 32], RevokeBuild(b"\x0b" * 32)),
    ],
)
def test_a_revocation(call: Call, folder: RegistrarFolder, words: list[str], claim: Any) -> None:
    out = folder.folder / "out.json"
    assert call("revoke", *words, *WHERE, "--key", folder.key(0), "--out", out)[0] == 0
    assert Signed.parse(out.read_bytes()).claim == claim
    two = folder.folder / "two.json"
    assert call("revoke", *words, *WHERE, "--key", folder.key(1), "--out", two)[0] == 0
    code, document, _ = call("collect", out, two, "--needed", "2")
    assert (code, document["to"], document["claims"][0]["type"]) == (0, checksummed(REGISTRY), claim.STRUCT.name)


@pytest.mark.parametrize(
    "words", [[], ["--signer", "0x" + "00" * 20], ["--build", "00" * 32], ["--build", "0b"], ["--signer", "x"],
              ["--signer", "0x" + "0e" * 20, "--build", "0b" * 32]],
    ids=["nothing", "zero", "no build", "short", "no account", "both"],
)  # fmt: skip
def test_what_is_no_revocation(call: Call, folder: RegistrarFolder, words: list[str]) -> None:
    out = folder.folder / "out.json"
    assert call("revoke", *words, *WHERE, "--key", folder.key(0), "--out", out)[0] == 2
    assert not out.exists()


def test_a_rotation(call: Call, folder: RegistrarFolder) -> None:
    out = folder.folder / "out.json"
    heirs = [word for number in (2, 0, 1) for word in ("--registrar", checksummed(account(number)))]
    words = [*heirs, "--threshold", "2", "--generation", "2", *WHERE, "--key", str(folder.key(0)), "--out", str(out)]
    assert call("rotate", *words)[0] == 0
    expected = Rotate(tuple(sorted(account(number) for number in range(3))), 2, 2)
    assert Signed.parse(out.read_bytes()).claim == expected
    assert call("rotate", *words, "--threshold", "4")[0] == 2
    assert call("rotate", *words, "--generation", "1")[0] == 2
    assert call("rotate", *words, *heirs)[0] == 2


def test_k_files_are_one_call(call: Call, folder: RegistrarFolder) -> None:
    for number in range(3):
        assert sign(call, folder, folder.proof().to_bytes(), number=number)[0] == 0
    names = [folder.folder / f"signed{number}.json" for number in range(3)]
    out = folder.folder / "call.json"
    code, document, _ = call("collect", *names, "--needed", "2", "--out", out)
    assert (code, document) == (0, json.loads(out.read_text()))
    assert (document["chainId"], document["to"]) == (8453, checksummed(REGISTRY))
    assert document["data"].startswith("0x481d178c")
    (claim,) = document["claims"]
    assert claim["signers"] == [checksummed(one) for one in sorted(map(account, range(3)))[:2]]
    assert call("collect", names[0], "--needed", "2")[0] == 5
    assert call("collect", *names, "--needed", "0")[0] == 2
    known = ["--registrar", checksummed(account(0)), "--registrar", checksummed(account(1))]
    assert call("collect", *names, "--needed", "2", *known)[0] == 5
    assert call("collect", *names[:2], "--needed", "2", *known)[0] == 0
    folder.write("signed1.json", edited_signature(names[1]))
    assert call("collect", *names, "--needed", "2")[0] == 4
    folder.write("signed1.json", "{}")
    assert call("collect", *names, "--needed", "2")[0] == 3


def test_the_commands_of_the_page_are_commands() -> None:
    page = (ROOT / "docs/contract.md").read_text().replace("\\\n", " ")
    lines = re.findall(r"^pluto-notary (.+)$", page, re.MULTILINE)
    assert {" ".join(line.split()[:2]) for line in lines} >= {"register sign", "register account", "register collect"}
    for line in lines:
        words = [word for word in shlex.split(line) if word != "…"]
        assert build_parser().parse_args(words).run is not None


def edited_signature(path: Path) -> str:
    document = json.loads(path.read_text())
    document["typedData"]["message"]["until"] += 1
    return json.dumps(document)
