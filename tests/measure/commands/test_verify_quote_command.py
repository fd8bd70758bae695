"""pluto-measure verify with TDX quotes: every form, every exit code, one JSON document."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import jsonschema
import pytest

from pluto_measure.cli import main
from pluto_measure.errors import UsageError
from simulators import edited_logs
from simulators.intel import (
    DEBUG,
    NOW,
    SEPT_VE_DISABLE,
    TD15EX,
    Authority,
    World,
    healthy,
    tcb_info,
    world,
)
from simulators.policies import TDX_TEXT, TEXT, changed
from simulators.tpm_quotes import Machine
from simulators.trust_domains import NONCE, TrustDomain
from simulators.verifier_files import AT, FORMS, HONEST, SCHEMA, VALIDATOR, Called, Files


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_an_envelope_is_accepted(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    called = Called(capsys, *files.enveloped())
    assert (called.code, called.err) == (0, "")
    assert called.out.splitlines()[0] == (
        "TDX quote 4, TD report 1.0, FMSPC 30a06f000000, PPID 101112131415161718191a1b1c1d1e1f, platform CA"
    )
    assert re.search(r"\naccepted against [\w-]+: \d+ checks, 0 refused\n\Z", called.out)
    document = called.document
    assert (document["accepted"], document["authentic"], document["evidenceType"]) == (True, True, "tdx")
    assert document["tcb"]["status"] == "UpToDate"
    assert document["registers"] == {name: value.hex() for name, value in HONEST.registers().items()}
    assert document["claims"]["nonce"] == NONCE.hex()
    assert document["collateral"]["tcbInfo"]["evaluationNumber"] == 20


@pytest.mark.parametrize("form", FORMS)
def test_a_bare_quote_in_any_form_is_accepted(form: str, files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    files.quote = files.write("quote", FORMS[form](HONEST.quote()))
    called = Called(capsys, *files.bare())
    assert (called.code, called.document["platform"], called.document["claims"]) == (0, "qemu-tdx", None)
    assert called.findings["log.events.rtmr2"]["verdict"] == "pass"


@pytest.mark.parametrize(
    ("option", "check", "code"),
    [
        ("--policy", "pck.chain", 4),  # the pretend Intel is none to the strict policy
        ("--reference", "reference.profile", 5),
        ("--collateral", "collateral.given", 5),
        ("--nonce", "binding.nonce", 5),
    ],
)
def test_what_is_not_given_is_refused(
    option: str, check: str, code: int, files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    called = Called(capsys, *files.enveloped(leave_out=(option,)))
    assert (called.code, check in called.refused) == (code, True)
    if code == 5:
        assert called.refused == {check}
        assert called.document["registers"]["mrtd"], "the facts are there without it"


def test_a_policy_may_want_the_tls_key(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    files.policy = files.write("policy.toml", changed(TDX_TEXT, outerKeyDigest='"required"'))
    assert Called(capsys, *files.enveloped()).code == 0
    called = Called(capsys, *files.enveloped(leave_out=("--key-digest",)))
    assert (called.code, called.refused) == (5, {"binding.outer_key"})


def test_report_data_is_compared_whole_and_zeros_are_added(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    called = Called(capsys, *files.bare(leave_out=("--report-data",)))
    assert (called.code, called.refused) == (5, {"binding.report_data"})
    short = "ab" * 32
    called = Called(capsys, *files.bare("--report-data", short, leave_out=("--report-data",)))
    assert called.findings["binding.report_data"]["expected"] == short + "00" * 32
    files.quote = files.write("quote.bin", HONEST.quoted(bytes.fromhex(short) + bytes(32)).quote)
    assert Called(capsys, *files.bare("--report-data", short, leave_out=("--report-data",))).code == 0
    called = Called(capsys, *files.bare("--nonce", "00"))
    assert "binding.nonce" in called.refused


def test_without_a_log_the_registers_alone_are_compared(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    called = Called(capsys, *files.bare(leave_out=("--log",)))
    assert (called.code, called.findings["log.given"]["verdict"]) == (0, "warning")
    assert called.findings["register.rtmr1"]["verdict"] == "pass"


def test_the_first_differing_event_is_explained(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    domain = TrustDomain(edits=(edited_logs.change("tdx", "initrd", b"other"),))
    files.envelope = files.write("evidence.json", domain.envelope().to_text())
    called = Called(capsys, *files.enveloped())
    assert (called.code, called.document["verdict"]) == (5, "refused")
    assert called.refused == {"register.rtmr2", "log.events.rtmr2"}
    assert called.document["explanation"]["log"]["register"] == "rtmr2"
    assert called.document["explanation"]["log"]["meaning"] in called.out


@pytest.mark.parametrize(
    ("of", "refused"),
    [
        (world(authority=Authority.make(1)), {"pck.chain"}),
        (healthy().with_quote(signature=b"\1" * 64), {"quote.signature"}),
        (healthy().with_collateral(revoked=(healthy().pck.serial,)), {"pck.revoked"}),
        (healthy().with_members(tcb_info=healthy().collateral["tcb_info"].replace("Revoked", "UpToDate")),
         {"collateral.tcb_info_signature"}),
    ],
    ids=["foreign root", "forged", "revoked", "collateral altered"],
)  # fmt: skip
def test_what_is_not_authentic_ends_with_four(
    of: World, refused: set[str], files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    domain = TrustDomain(world=of)
    files.envelope = files.write("evidence.json", domain.envelope().to_text())
    files.collateral = files.write("collateral.json", json.dumps(of.collateral))
    called = Called(capsys, *files.enveloped())
    assert (called.code, called.document["verdict"], called.document["authentic"]) == (4, "not authentic", False)
    assert refused <= called.refused
    assert (called.document["registers"], called.document["claims"], called.document["tcb"]) == ({}, None, None)
    assert "(not verified)\n" in called.out
    assert called.document["quote"]["version"] == 4


def test_claims_that_were_exchanged_are_not_authentic(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(files.envelope.read_text())
    document["claims"]["nonce"] = "00"
    files.envelope = files.write("evidence.json", json.dumps(document))
    called = Called(capsys, *files.enveloped())
    assert (called.code, called.refused) == (4, {"binding.report_data"})
    assert called.document["tcb"]["status"] == "UpToDate", "the quote itself is genuine"
    assert (called.document["registers"], called.document["claims"]) == ({}, None)


@pytest.mark.parametrize(
    ("of", "refused"),
    [
        (world(platform="OutOfDate"), {"tcb.status"}),
        (world(platform="Revoked"), {"tcb.status"}),
        (healthy().with_report(tdattributes=DEBUG | SEPT_VE_DISABLE), {"td.debug"}),
        (world(version=5, report={"mrservicetd": b"\1" * 48}), {"td.service_td"}),
        (healthy().with_collateral(info=tcb_info(issued=NOW - timedelta(days=40))),
         {"collateral.expired", "collateral.age"}),
    ],
    ids=["out of date", "revoked level", "debug", "service TD", "old collateral"],
)  # fmt: skip
def test_what_the_policy_does_not_accept_ends_with_five(
    of: World, refused: set[str], files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    files.envelope = files.write("evidence.json", TrustDomain(world=of).envelope().to_text())
    files.collateral = files.write("collateral.json", json.dumps(of.collateral))
    called = Called(capsys, *files.enveloped())
    assert (called.code, called.document["authentic"], called.refused) == (5, True, refused)
    for name in refused:
        assert f"REFUSED  {name}: " in called.out


def test_a_shortfall_says_what_to_update(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    of = world(platform="OutOfDate")
    files.envelope = files.write("evidence.json", TrustDomain(world=of).envelope().to_text())
    called = Called(capsys, *files.enveloped())
    said = called.document["explanation"]["tcb"]
    assert said["components"][0] == {
        "id": "sgx0",
        "name": "SGX component 0 (BIOS: Early Microcode Update)",
        "has": 5,
        "now": None,
        "wanted": 9,
        "lowest": None,
        "update": "bios",
    }
    assert said["updates"][0]["id"] == "bios"
    assert (
        "  platform: OutOfDate (TCB of 2022-05-15)\n"
        "    SGX component 0 (BIOS: Early Microcode Update)  has 5, wants 9\n"
    ) in called.out
    assert "\n  to do, in this order\n    1 update the BIOS (platform firmware), from" in called.out
    assert "\n  that settles all of them\n" in called.out


@pytest.mark.parametrize("version_and_kind", [(4, None), (5, None), (5, TD15EX)], ids=["1.0", "1.5", "1.5-Ex"])
def test_every_td_report_is_of_the_schema(
    version_and_kind: tuple[int, int | None], files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    version, kind = version_and_kind
    of = world(version=version, kind=kind)
    files.envelope = files.write("evidence.json", TrustDomain(world=of).envelope().to_text())
    called = Called(capsys, *files.enveloped())
    assert called.code == 0
    assert (called.document["tcb"]["current"] is None) == (version == 4)


def test_evidence_of_a_tpm_is_of_the_schema_and_needs_no_collateral(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    evidence = files.write("tpm.json", Machine().evidence(NONCE).to_text())
    policy = files.write("tpm.toml", TEXT)
    state = files.folder / "state"
    called = Called(capsys, evidence, "--policy", policy, "--collateral", files.collateral, "--state", state)
    assert called.document["evidenceType"] == "tpm"
    assert set(called.document["registers"]) == {"sha256", "sha384"}
    for name in ("collateral", "state"):
        assert f"--{name} is for TDX quotes and was not used: this evidence is a TPM's" in called.err
    assert not state.exists()


@pytest.mark.parametrize("name", ["near-mpc/quote.json", "dcap-qvl/quote-from-tappd.hex"])
def test_real_quotes_in_the_forms_in_which_others_keep_them(
    name: str, vectors: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = vectors / "quotes/derived/collateral/b0c06f000000-e17-20250619.json"
    called = Called(capsys, vectors / "quotes" / name, "--collateral", given, "--at", "2025-07-04T10:16:31Z")
    assert (called.code, called.document["authentic"]) == (5, True)
    assert called.document["tcb"]["status"] in called.out
    assert main(["inspect", str(vectors / "quotes" / name), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pck"]["ca"] == "platform"


def test_verbose_lists_the_checks_that_pass(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    short, long = Called(capsys, *files.enveloped()), Called(capsys, *files.enveloped("--verbose"))
    assert "ok       td.debug" not in short.out
    assert "ok       td.debug: the TD cannot be debugged" in long.out
    assert sum(line.startswith(("ok ", "WARNING", "REFUSED")) for line in long.out.splitlines()) == len(long.findings)


def test_a_page_is_written_beside_the_text(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    page = files.folder / "page.html"
    called = Called(capsys, *files.enveloped("--html", page))
    assert called.code == 0
    text = page.read_text()
    assert text.startswith("<!")
    assert "accepted" in text.lower()
    assert f"pluto-measure verify {files.envelope}" in text
    assert f"--at {AT}" in text
    assert called.err == f"pluto-measure: wrote {page}\n"


@pytest.mark.parametrize(("place", "problem"), [(".", "is a directory"), ("absent/page.html", "there is no folder")])
def test_a_page_without_a_place_is_refused_first(
    place: str, problem: str, files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    files.envelope = files.write("evidence.json", b"not looked at")
    called = Called(capsys, *files.enveloped("--html", files.folder / place))
    assert (called.code, called.document["error"]["kind"]) == (2, "UsageError")
    assert f"--html {files.folder / place}: {problem}" in called.err


def test_a_page_that_cannot_be_written_loses_no_verdict(
    files: Files, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise UsageError("page.html cannot be written: No space left on device")

    monkeypatch.setattr("pluto_measure.commands.files.write", full)
    called = Called(capsys, *files.enveloped("--html", files.folder / "page.html"))
    assert (called.code, called.document["accepted"]) == (2, True)
    assert called.err == "pluto-measure: error: page.html cannot be written: No space left on device\n"
    assert called.out.endswith("0 refused\n")


def program(*words: object) -> subprocess.CompletedProcess[str]:
    code = "import sys; from pluto_measure.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_the_command_as_a_process(files: Files) -> None:
    done = program("verify", *files.enveloped("--json"))
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["accepted"] is True
    done = program("verify", *files.enveloped(leave_out=("--reference",)))
    assert (done.returncode, done.stderr) == (5, "")
    assert "REFUSED  reference.profile" in done.stdout
    files.envelope = files.write("garbage", b"hello")
    done = program("verify", *files.enveloped())
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == (
        f"pluto-measure: error: evidence {files.envelope}: neither an envelope nor a TDX quote\n"
        "pluto-measure: hint: run 'pluto-measure inspect FILE'\n"
    )


def test_the_schema_knows_every_member_and_no_other(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    document = Called(capsys, *files.enveloped()).document
    for name, value in document.items():
        assert not VALIDATOR.is_valid({key: item for key, item in document.items() if key != name}), name
        if isinstance(value, dict) and value:
            assert not VALIDATOR.is_valid({**document, name: {**value, "more": 1}}), name
        assert not VALIDATOR.is_valid({**document, name: 1.5}), name
    assert not VALIDATOR.is_valid({**document, "more": 1})
    assert not VALIDATOR.is_valid({"error": {"kind": "FormatError"}})
