"""`pluto-measure verify` with a Google machine: MRTD by launch endorsement, from a file or the state directory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pluto_measure.collateral.endorsement_store import EndorsementStore
from pluto_measure.policy.launch_endorsement import STRICT_ENDORSEMENT_TEXT
from pluto_measure.registers.rules import RegisterRule
from pluto_measure.verify.launch_endorsement import verify_endorsement
from simulators.endorsements import MADE, NOW, ROOT, ROOTS, key_of, later, launch_endorsement
from simulators.policies import TDX_TEXT, changed
from simulators.trust_domains import REFERENCES, TrustDomain
from simulators.verifier_files import Called, Files

GOOGLE = TrustDomain(kind="gcp-tdx")
MRTD = GOOGLE.registers()["mrtd"]
ENTRIES = ((16, False, MRTD), (32, False, b"\x32" * 48))
GENUINE = launch_endorsement(mrtds=ENTRIES)
POLICY = changed(TDX_TEXT, platforms='["gcp-tdx"]') + changed(
    STRICT_ENDORSEMENT_TEXT, insecure_roots=f'["{ROOT.hex()}"]', minimumSvn="2"
)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """An honest Google machine, and reference values that leave MRTD to endorsement."""
    made = Files(tmp_path)
    (profile,) = REFERENCES["gcp-tdx"].profiles
    open_rule = RegisterRule("oneOf", (), "endorsed")
    endorsed = replace(profile, registers={**profile.registers, "mrtd": open_rule})
    made.write("measurements.json", replace(REFERENCES["gcp-tdx"], profiles=(endorsed,)).to_text())
    made.write("evidence.json", GOOGLE.envelope().to_text())
    made.write("policy.toml", POLICY)
    made.write("genuine", GENUINE)
    return made


def test_an_endorsement_beside_the_evidence_is_needed_and_enough(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    without = Called(capsys, *files.enveloped())
    assert (without.code, without.refused) == (5, {"endorsement.given", "register.mrtd"})
    called = Called(capsys, *files.enveloped("--endorsement", files.folder / "genuine"))
    assert (called.code, called.refused, called.document["platform"]) == (0, set(), "gcp-tdx")
    assert called.findings["endorsement.svn"]["actual"] == 2
    assert called.findings["endorsement.insecure_root"]["verdict"] == "warning"


@pytest.mark.parametrize(
    ("data", "refused", "code"),
    [
        (launch_endorsement(mrtds=ENTRIES, svn=1), {"endorsement.svn", "register.mrtd"}, 5),
        (launch_endorsement(mrtds=ENTRIES[1:]), {"endorsement.given", "register.mrtd"}, 5),
        (launch_endorsement(mrtds=((32, False, MRTD),)), {"endorsement.memory_size", "register.mrtd"}, 5),
        (
            launch_endorsement(mrtds=ENTRIES, sign_with=key_of("mallory")),
            {"endorsement.signature", "register.mrtd"},
            5,
        ),
        (b"\xff", set(), 3),
    ],
)
def test_another_endorsement_refuses(
    files: Files, capsys: pytest.CaptureFixture[str], data: bytes, refused: set[str], code: int
) -> None:
    called = Called(capsys, *files.enveloped("--endorsement", files.write("other", data)))
    assert (called.code, called.refused) == (code, refused)
    if code == 5:
        assert called.document["authentic"]
        both = ["--endorsement", files.folder / "other", "--endorsement", files.folder / "genuine"]
        assert Called(capsys, *files.enveloped(*both)).code == 0


def test_the_state_directory_keeps_and_remembers(
    files: Files, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pluto_measure.appraise.launch_endorsement.GOOGLE_TCB_ROOTS", ROOTS)
    state = files.folder / "state"
    store = EndorsementStore(state)
    assert Called(capsys, *files.enveloped("--state", state)).refused == {"endorsement.given", "register.mrtd"}
    assert store.memory().svn == -1
    store.keep(verify_endorsement(GENUINE, at=NOW, roots=ROOTS), MRTD, GENUINE)
    kept = Called(capsys, *files.enveloped("--state", state))
    assert (kept.code, kept.findings["endorsement.rollback"]["verdict"]) == (0, "pass")
    newer = files.write("newer", launch_endorsement(mrtds=ENTRIES, made=later(1)))
    assert Called(capsys, *files.enveloped("--state", state, "--endorsement", newer)).code == 0
    assert store.memory().mrtds == {MRTD.hex(): later(1)}
    older = Called(capsys, *files.enveloped("--state", state))
    assert (older.code, older.refused) == (5, {"endorsement.rollback", "register.mrtd"})
    assert store.memory().mrtds[MRTD.hex()] > MADE


def test_what_is_not_googles_is_not_remembered(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    state = files.folder / "state"
    words = files.enveloped("--state", state, "--endorsement", files.folder / "genuine")
    assert Called(capsys, *words).code == 0
    assert EndorsementStore(state).memory().svn == -1
