"""pluto-measure verify with TDX quotes: collateral, state directory, trust, and garbage in place of each."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pluto_measure.collateral.store import Store
from simulators.collateral_keeper import items
from simulators.intel import (
    Authority,
    Machine,
    collateral,
    healthy,
    tcb_info,
    world,
)
from simulators.policies import TDX_TEXT, changed
from simulators.trust_domains import TrustDomain
from simulators.verifier_files import EARLY, HONEST, Called, Files, bundle

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "docs/examples"


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_a_bundle_is_collateral_too_and_its_early_set_warns(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    files.collateral = files.write("bundle.json", bundle(early=EARLY).to_text())
    called = Called(capsys, *files.enveloped())
    assert called.code == 0
    assert called.findings["tcb.forecast"]["verdict"] == "warning"
    assert called.document["explanation"]["early"]["status"] == "OutOfDate"
    assert called.document["tcb"]["status"] == "UpToDate"
    assert "WARNING  tcb.forecast: Intel's early set says OutOfDate" in called.out


def test_a_bundle_for_another_platform_is_no_collateral(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    of = world(machine={"fmspc": b"\1" * 6})
    files.envelope = files.write("evidence.json", TrustDomain(world=of).envelope().to_text())
    files.collateral = files.write("bundle.json", bundle().to_text())
    called = Called(capsys, *files.enveloped())
    assert (called.code, called.refused & {"collateral.given"}) == (5, {"collateral.given"})
    assert str(files.collateral) in called.err
    state = files.folder / "a state"
    called = Called(capsys, *files.enveloped("--state", state))
    how = f"collateral fetch --fmspc 010101010101 --ca platform --state '{state}'', and leave --collateral out"
    assert how in called.err
    files.collateral = files.write("common.json", json.dumps(healthy().collateral))
    called = Called(capsys, *files.enveloped())
    assert (called.code, called.refused) == (4, {"collateral.fmspc"})
    assert re.search(r"\nnot authentic by this collateral, which is of another platform: \d+ checks, 1 ", called.out)


def test_a_state_directory_gives_collateral_and_refuses_what_is_older(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    state = files.folder / "state"
    without = files.enveloped("--state", state, leave_out=("--collateral",))
    called = Called(capsys, *without)
    assert (called.code, called.refused) == (5, {"collateral.given"})
    fmspc = Machine.fmspc.hex()
    assert f"run 'pluto-measure collateral fetch --fmspc {fmspc} --ca platform --state {state}'" in called.err
    Store(state).keep(items(bundle(early=EARLY)))
    called = Called(capsys, *without)
    assert (called.code, called.findings["collateral.rollback"]["verdict"]) == (0, "pass")
    assert called.findings["tcb.forecast"]["verdict"] == "warning"
    old = collateral(Authority.make(), info=tcb_info(evaluation=19))
    files.collateral = files.write("old.json", json.dumps(old))
    called = Called(capsys, *files.enveloped("--state", state))
    assert (called.code, called.refused) == (5, {"collateral.rollback"})
    said = called.findings["collateral.rollback"]["text"]
    assert said.startswith("older than once seen: TCB info is number 19 of ")
    assert ", seen: 20 of " in said
    assert Called(capsys, *files.enveloped()).findings["collateral.rollback"]["verdict"] == "warning"


def test_a_policy_may_want_a_memory(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    files.policy = files.write("policy.toml", changed(TDX_TEXT, collateralMemory='"required"'))
    called = Called(capsys, *files.enveloped())
    assert (called.code, called.refused) == (5, {"collateral.rollback"})
    assert Called(capsys, *files.enveloped("--state", files.folder / "state")).code == 0


@pytest.mark.parametrize("name", ["root_ca_crl", "tcb_info_issuer_chain"])
def test_what_does_not_verify_is_refused_for_that_and_not_for_its_age(
    name: str, files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    """A list that neither PCK CA issued, and no chain beside it; a chain that is none of Intel's."""
    members = {**healthy().collateral, "pck_crl_issuer_chain": "", "pck_crl": healthy().collateral["root_ca_crl"]}
    if name == "tcb_info_issuer_chain":
        members = {**healthy().collateral, name: Authority.make(1).chain_pem("tcb_signing")}
    files.collateral = files.write("collateral.json", json.dumps(members))
    without, remembering = Called(capsys, *files.enveloped()), Called(capsys, *files.enveloped("--state", files.folder))
    assert (without.code, remembering.code) == (4, 4)
    assert without.refused == remembering.refused
    assert not (files.folder / "collateral").exists()


def test_only_collateral_of_intels_is_remembered(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    state = files.folder / "state"
    called = Called(capsys, *files.enveloped("--state", state))
    assert called.code == 0
    assert called.err.strip().endswith("this collateral is not Intel's, so it is not remembered")
    assert Store(state).memory().tcb_infos == {}


def test_real_collateral_is_remembered_of_an_authentic_quote_alone(
    vectors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quotes, state = vectors / "quotes", tmp_path / "state"
    quote, forged = quotes / "dcap-qvl/tdx_quote", tmp_path / "forged.bin"
    older, newer = (
        quotes / f"derived/collateral/b0c06f000000-{name}.json" for name in ("e17-20250619", "e18-20260424")
    )
    more = ("--at", "2026-05-01T00:00:00Z", "--state", state)
    altered = bytearray(quote.read_bytes())
    altered[600] ^= 1
    forged.write_bytes(altered)
    assert Called(capsys, forged, "--collateral", newer, *more).code == 4
    assert not state.exists()
    called = Called(capsys, quote, "--collateral", newer, *more)
    assert (called.code, called.document["authentic"]) == (5, True)
    assert Store(state).memory().tcb_infos["b0c06f000000"].number == 18
    called = Called(capsys, quote, "--collateral", older, *more)
    assert "collateral.rollback" in called.refused
    assert Store(state).memory().tcb_infos["b0c06f000000"].number == 18


@pytest.mark.parametrize(
    ("option", "value", "code"),
    [
        ("--report-data", "", 2),
        ("--report-data", "zz", 2),
        ("--report-data", "00" * 65, 2),
        ("--at", "now", 2),
        ("--at", "9999-12-31T23:59:59Z", 5),
        ("--at", "1000-01-01T00:00:00Z", 5),
        ("--collateral", "absent", 2),
        ("--log", "absent", 2),
        ("--trust", "absent", 2),
        ("--state", "quote.bin", 2),
    ],
)
def test_a_wrong_argument_has_its_exit_code(
    option: str, value: str, code: int, files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    value = str(files.folder / value) if value in ("absent", "quote.bin") else value
    called = Called(capsys, *files.bare(option, value, leave_out=(option,)))
    assert called.code == code
    if code == 2:
        assert called.document["error"]["kind"] == "UsageError"


@pytest.mark.parametrize("option", ["--report-data", "--log"])
def test_an_envelope_has_its_own_claims_and_log(option: str, files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    called = Called(capsys, *files.enveloped(option, "00" if option == "--report-data" else files.log))
    assert (called.code, called.document["error"]["kind"]) == (2, "UsageError")


GARBAGE = {
    "nothing": b"",
    "text": b"hello",
    "cut": HONEST.quote()[:700],
    "SGX": world(version=4).with_quote(tee_type=0).quote,
    "version 9": b"\x09" + HONEST.quote()[1:],
    "array of texts": b'["a"]',
    "array of numbers": b"[256]",
    "odd hex": b"abc",
    "nested": b"[" * 100_000,
    "nested object": b'{"type":' * 50_000,
    "object": b"{}",
    "large": b"\0" * (9 * 1024 * 1024),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_in_place_of_evidence_ends_with_three(
    name: str, files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    files.quote = files.write("garbage", GARBAGE[name])
    called = Called(capsys, *files.bare())
    assert (called.code, called.document["error"]["kind"]) == (3, "FormatError")


@pytest.mark.parametrize("name", ["collateral", "policy", "reference", "log", "trust"])
@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"[" * 100_000, b'{"format": "pluto-collateral-bundle"}'])
def test_garbage_beside_it_ends_with_three(
    name: str, content: bytes, files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = files.write("garbage", content)
    called = Called(capsys, *files.bare(f"--{name}", bad, leave_out=(f"--{name}",)))
    assert (called.code, called.document["error"]["kind"]) == (3, "FormatError")


def test_a_trust_file_is_read_and_says_whose_word_is_missing(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    """What it does with values of a release: `test_references_command.py`."""
    called = Called(capsys, *files.enveloped("--trust", EXAMPLES / "trust.toml"))
    assert (called.code, called.findings["policy.reference_signature"]["verdict"]) == (0, "warning")
    assert f"no release.json lies beside {files.reference}, so nobody signed these values" in called.err
    called = Called(capsys, *files.enveloped("--trust", EXAMPLES / "trust.toml", leave_out=("--reference",)))
    assert "the trust file wants 2 of 3 organisations; no reference values were given" in called.err


def test_collateral_that_does_not_hold_is_at_fault_and_not_the_quote(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    members = {**healthy().collateral, "tcb_info": healthy().collateral["tcb_info"].replace("Revoked", "UpToDate")}
    files.collateral = files.write("collateral.json", json.dumps(members))
    called = Called(capsys, *files.enveloped())
    assert (called.code, called.refused) == (4, {"collateral.tcb_info_signature"})
    assert "\nnot authentic by this collateral, which Intel does not vouch for: " in called.out
    files.envelope = files.write(
        "forged.json", TrustDomain(world=healthy().with_quote(signature=b"\1" * 64)).envelope().to_text()
    )
    called = Called(capsys, *files.enveloped())
    assert "quote.signature" in called.refused
    assert "\nnot authentic: " in called.out


def test_no_tls_key_matches_a_bare_quote_and_that_is_said(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    called = Called(capsys, *files.bare("--key-digest", "00" * 32))
    assert called.err == (
        "pluto-measure: --key-digest is for envelopes: a bare quote names no TLS key, so none matches\n"
    )
    assert (called.code, called.refused) == (5, {"binding.outer_key"})
    assert Called(capsys, *files.enveloped()).err == ""


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("reference", b"{}", "reference FILE: version is missing"),
        ("policy", TDX_TEXT.replace("allowDebug", "alowDebug"), "allowDebug is missing; there is alowDebug"),
        ("policy", changed(TDX_TEXT, septVeDisable='"off"'), "policy FILE: td: septVeDisable is 'off', neither"),
        ("trust", b"k = 1", "trust FILE: version is missing"),
        ("collateral", b"{}", "collateral FILE: "),
        (
            "collateral",
            json.dumps({**healthy().collateral, "root_ca_crl": "00"}),
            "collateral FILE: root_ca_crl: is no",
        ),
        ("log", b"garbage", "log FILE: event log"),
    ],
)
def test_the_file_that_is_malformed_is_named(
    name: str, content: bytes | str, said: str, files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = files.write("late", content)
    called = Called(capsys, *files.bare(f"--{name}", bad, leave_out=(f"--{name}",)))
    assert called.code == 3
    assert called.document["error"]["what"] == f"{name} {bad}"
    assert said.replace("FILE", str(bad)) in called.err


QUOTE = HONEST.quote()
WRONG_KIND = {
    b"": "evidence FILE: is empty",
    b" \n": "evidence FILE: is empty",
    b"hello": "evidence FILE: neither an envelope nor a TDX quote",
    b"{}": "evidence FILE: JSON, but no envelope: type is missing",
    b'{"claims": {"nonce": 1}, "typo": 1}': "evidence FILE: JSON, but no envelope: type is missing",
    b'{"type": "tdx"}': "evidence FILE: version is missing",
    b"\x81".ljust(1024, b"\0"): "evidence FILE: a TD report, not a quote",
    b"\x81".ljust(1023, b"\0"): "evidence FILE: neither an envelope",
    b"\x09" + QUOTE[1:]: "evidence FILE: quote at offset 0x0: version 9 is neither 4 nor 5",
    QUOTE[:4] + bytes(4) + QUOTE[8:]: "evidence FILE: quote at offset 0x4: version 4 with TEE type 0x0 is an SGX quote",
    QUOTE[:-900]: "evidence FILE: quote",
}


@pytest.mark.parametrize("content", WRONG_KIND, ids=range(len(WRONG_KIND)))
def test_evidence_of_the_wrong_kind_is_told(content: bytes, files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    files.quote = files.write("evidence", content)
    called = Called(capsys, *files.bare())
    assert (called.code, called.document["error"]["kind"]) == (3, "FormatError")
    said = WRONG_KIND[content].replace("FILE", str(files.quote))
    assert called.err.startswith(f"pluto-measure: error: {said}")
    unknown = "neither an envelope" in said or "no envelope" in said
    assert (called.document["error"]["hint"] is not None) == unknown


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--report-data", "zz", "--report-data: not hex"),
        ("--report-data", "", "--report-data: must be 1 to 64 bytes in hex"),
        ("--nonce", "", "--nonce: "),
        ("--at", "now", "--at: not a time such as"),
        ("--key-digest", "00", "--key-digest: must be 64 lower-case hex digits"),
    ],
)
def test_an_option_is_named_once(
    option: str, value: str, said: str, files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    called = Called(capsys, *files.bare(option, value, leave_out=(option,)))
    assert called.code == 2
    assert called.err.startswith(f"pluto-measure: error: {said}")
    assert "nonce: nonce" not in called.err
