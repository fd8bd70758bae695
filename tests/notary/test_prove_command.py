"""`pluto-notary prove` and `verify-proof` as somebody would use them, against a whole notary with evidence of today."""

from __future__ import annotations

import hashlib
import json
import shlex
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from notary.calls import BODY, HOST, MANIFEST, Call
from pluto_measure.collateral.store import Store
from pluto_measure.formats.collateral import Collateral
from pluto_measure.formats.collateral_bundle import Bundle
from pluto_notary.evidence.provider import Issue
from pluto_notary.evidence.requests import EvidenceRequest
from pluto_notary.trusted_time.errors import ClockError
from simulators.collateral_keeper import items
from simulators.notary import sites, today, whole
from simulators.notary.certificates import Authority
from simulators.notary.evidence import tdx_envelope
from simulators.notary.today import Folder
from simulators.trust_domains import CONFIG, TrustDomain, other

NOBODY = 1  # no site listens on this port


class Provider(whole.TdProvider):
    """Evidence of a trust domain of today, which may be another's for one purpose."""

    def __init__(self, purpose: str, lie: dict[str, Any]) -> None:
        super().__init__(today.domain())
        self.purpose = purpose
        self.liar = TrustDomain(world=self.domain.world, issued_at=self.domain.issued_at, **lie)

    async def evidence(self, request: EvidenceRequest, issue: Issue) -> dict[str, object]:
        if request.purpose != self.purpose:
            return await super().evidence(request, issue)
        return tdx_envelope(self.liar, request.claims(CONFIG, issue.build_id)).to_json()


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def site(authority: Authority) -> Iterator[sites.Site]:
    with sites.Site(authority.issue(HOST), sites.page(BODY, ("content-type", "application/json"))) as site:
        yield site


@pytest.fixture(scope="module")
def notary(authority: Authority, site: sites.Site) -> Iterator[whole.Running]:
    with today.running(authority, {HOST: site}) as notary:
        yield notary


@pytest.fixture
def call(notary: whole.Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    return Call(Folder(tmp_path, notary), capsys)


def error(said: tuple[int, str, str]) -> Any:
    return json.loads(said[1])["error"]


@pytest.mark.parametrize("more", [[], ["--fresh"], ["--protocol", "tcp"], ["--reveal", "commitments", "--legacy"]])
def test_a_proof_is_written_and_the_shown_command_accepts_it(call: Call, more: list[str]) -> None:
    code, out, err = call.accepted(*more)
    assert code == 0, err
    assert "the notary is accepted: tdx on qemu-tdx" in err
    lines = out.splitlines()
    assert '  price = "12.50"' in lines
    assert not [line for line in lines if "\u009b" in line or "\u202e" in line or "\u0007" in line]
    assert lines[-2] == f"written to {call.out}"
    shown = shlex.split(lines[-1].removeprefix("to verify it: "))
    assert shown[:2] == ["pluto-notary", "verify-proof"]
    code, out, err = call(*shown[1:], "--json")
    verdict = json.loads(out)
    assert (code, verdict["accepted"]) == (0, True), err
    unasked = {one["id"] for one in verdict["findings"] if one["verdict"] == "warning"}
    assert not unasked & {"statement.manifest", "statement.host", "statement.nonce", "statement.recipient"}
    assert "key.collateral" not in unasked, "the proof names the collateral by which it was judged"


def test_collateral_of_a_state_directory_can_be_handed_on_with_the_proof(call: Call) -> None:
    of, state = call.folder.notary.provider.domain.world, call.folder.folder / "state"
    collateral = Collateral.parse(json.dumps(of.collateral).encode())
    Store(state).keep(items(Bundle.of_collateral(collateral, ca="platform", fetched_at=datetime.now(UTC))))
    words = call.folder.accepting
    place = words.index("--collateral")
    words[place:] = ["--state", str(state)]
    out = call.folder.folder / "of-its-time.json"
    code, shown, err = call.prove(*words, "--collateral-out", str(out))
    assert code == 0, err
    named = json.loads(call.out.read_text())["keyEvidence"]["collateral"]
    assert named == hashlib.sha256(out.read_bytes()).hexdigest()
    code, shown, _ = call(*shlex.split(shown.splitlines()[-1].removeprefix("to verify it: "))[1:], "--json")
    findings = {one["id"]: one["verdict"] for one in json.loads(shown)["findings"]}
    assert (code, findings["key.collateral"]) == (0, "pass")


def test_a_proof_is_its_owners_alone(call: Call) -> None:
    assert call.accepted()[0] == 0
    assert stat.S_IMODE(call.out.stat().st_mode) == 0o600


def test_json_has_the_statement_the_values_and_the_appraisal(call: Call) -> None:
    recipient = "0x70997970c51812dc3a010c7d01b50e0d17dc79c8"
    code, out, _ = call.accepted("--json", "--recipient", recipient, "--chain-id", "8453", "--nonce", "5a" * 32)
    document = json.loads(out)
    assert (code, document["proof"], document["appraisal"]["accepted"]) == (0, str(call.out), True)
    said = document["statement"]
    assert (said["recipient"], said["chainId"], said["nonce"]) == (recipient, 8453, "0x" + "5a" * 32)
    assert document["values"][0] == {"id": "price", "json": '"12.50"'}
    assert json.loads(call.out.read_text())["signature"]["signer"] == document["signer"]


@pytest.mark.parametrize("without", ["--policy", "--reference", "--collateral"])
def test_a_notary_that_nothing_accepts_is_told_nothing(call: Call, site: sites.Site, without: str) -> None:
    asked = len(site.requests)
    options = call.folder.accepting
    place = options.index(without)
    said = call.prove(*options[:place], *options[place + 2 :], "--json")
    assert said[0] in (4, 5) if without == "--policy" else said[0] == 5  # the strict policy knows no pretend Intel
    assert error(said)["findings"]
    assert "REFUSED  " in said[2]
    assert len(site.requests) == asked


@pytest.mark.parametrize(
    ("purpose", "lie", "code", "finding"),
    [
        ("channel", {"edits": (other("initrd"),)}, 5, "log."),
        ("channel", {"report": {"reportdata": bytes(64)}}, 4, "binding.report_data"),
        ("session", {"report": {"reportdata": bytes(64)}}, 4, "binding.report_data"),
        ("key", {"edits": (other("initrd"),)}, 5, "log."),
        ("key", {"report": {"reportdata": bytes(64)}}, 4, "binding.report_data"),
    ],
)
def test_evidence_that_lies_gives_no_proof(
    authority: Authority,
    site: sites.Site,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    purpose: str,
    lie: dict[str, Any],
    code: int,
    finding: str,
) -> None:
    asked = len(site.requests)
    with today.running(authority, {HOST: site}, provider=Provider(purpose, lie)) as notary:
        call = Call(Folder(tmp_path, notary), capsys)
        said = call.accepted("--json", *(["--fresh"] if purpose == "session" else []))
    assert said[0] == code, said[2]
    assert [one for one in error(said)["findings"] if one["id"].startswith(finding)], error(said)
    assert (len(site.requests) == asked) is (purpose != "key")


def test_what_the_manifest_does_not_allow_is_no_proof(call: Call) -> None:
    call.out.write_text("an older proof")
    response = {**MANIFEST["response"], "status": "201"}
    call.manifest({**MANIFEST, "response": response})
    said = call.accepted("--json")
    assert (said[0], error(said)["code"], error(said)["kind"]) == (5, "violation", "NotProvenError")
    assert error(said)["path"].startswith("manifest.response.status")
    assert call.out.read_text() == "an older proof"


@pytest.mark.parametrize("code", ["clock", "evidence", "connect"])
def test_what_fails_elsewhere_is_named_by_its_code(
    authority: Authority, site: sites.Site, tmp_path: Path, capsys: pytest.CaptureFixture[str], code: str
) -> None:
    provider = whole.TdProvider(today.domain(), down="device" if code == "evidence" else None)
    with today.running(authority, {HOST: NOBODY if code == "connect" else site}, provider=provider) as notary:
        notary.clock.error = ClockError("few", "nobody answers") if code == "clock" else None
        said = Call(Folder(tmp_path, notary), capsys).accepted("--json")
    assert (said[0], error(said)["code"]) == (6, code)


def test_insecure_evidence_is_believed_only_by_who_says_so(call: Call, notary: whole.Running) -> None:
    code, out, err = call.prove("--insecure-skip-appraisal")
    assert code == 0
    assert "warning: the notary was not appraised" in err
    assert '  price = "12.50" (not verified)' in out.splitlines()
    assert "to verify it" not in out


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--notary", "http://127.0.0.1"], "--notary"),
        (["--notary", "127.0.0.1:443"], "--notary"),
        (["--notary", "https://127.0.0.1:0"], "--notary"),
        (["--notary", "https://user@127.0.0.1"], "--notary"),
        (["--notary", "https://127.0.0.1/v1/tee"], "--notary"),
        (["--timeout", "nan"], "--timeout"),
        (["--timeout", "-1"], "--timeout"),
        (["--timeout", "inf"], "--timeout"),
        (["--nonce", "00" * 32], "--nonce"),
        (["--nonce", "00"], "--nonce"),
        (["--chain-id", "-1"], "--chain-id"),
        (["--chain-id", str(2**53)], "--chain-id"),
        (["--recipient", "0x12"], "--recipient"),
        (["--contract", "nobody"], "--contract"),
        (["--mode", "watch"], "--mode"),
        (["--roots", "no-such-file"], "--roots"),
        (["--mode", "observe", "--roots", "no-such-file"], "no-such-file"),
        (["--mode", "observe", "--legacy"], "--legacy"),
        (["--out", "."], "--out"),
        (["--collateral-out", "x"], "--collateral-out"),
        (["--out", "no/such/folder/proof.json"], "--out"),
        (["--policy", "no-such-file"], "no-such-file"),
        (["--reference", "no-such-file"], "no-such-file"),
        (["--collateral", "no-such-file"], "no-such-file"),
        (["--trust", "no-such-file"], "no-such-file"),
        (["--variables", "no-such-file"], "no-such-file"),
        (["--manifest", "no-such-file"], "no-such-file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_of_the_caller_is_told_before_anything_is_sent(
    call: Call, notary: whole.Running, monkeypatch: pytest.MonkeyPatch, words: list[str], named: str
) -> None:
    monkeypatch.chdir(call.folder.folder)
    notary.rests()
    events = list(notary.lines)
    code, _, err = call.accepted(*words)
    assert (code, named in err) == (2, True), err
    assert notary.lines == events


@pytest.mark.parametrize(
    ("variables", "code"),
    [("{}", 5), ('{"token":"x"}', 5), ('{"token":"abcd-efgh-ijkl-1","more":"x"}', 5), ("[]", 3), ('{"token":1}', 3)],
)
def test_variables_that_the_manifest_does_not_allow_never_leave(
    call: Call, notary: whole.Running, variables: str, code: int
) -> None:
    notary.rests()
    events = list(notary.lines)
    call.folder.write("variables.json", variables)
    assert call.accepted()[0] == code
    assert notary.lines == events


def test_who_forgets_the_variables_is_told_of_the_option(call: Call) -> None:
    place = call.folder.folder
    words = ["--notary", "https://127.0.0.1:1", "--manifest", str(place / "manifest.json"), "--out", str(call.out)]
    code, _, err = call("prove", *words)
    assert code == 2
    assert "--variables FILE" in err
    assert "pluto-notary manifest check" in err
