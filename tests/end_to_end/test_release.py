"""The release flavour, booted: its evidence is accepted, and it signs nothing, as nobody here tells it the time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from end_to_end import hostile
from pluto_deploy import cli as deploy
from pluto_measure import cli as measure
from pluto_notary import cli as notary

ROOT = Path(__file__).resolve().parents[2]
MANIFEST = ROOT / "docs/examples/site-manifest.json"
POLICY = ROOT / "docs/examples/debug-policy.toml"


@pytest.mark.boot
def test_a_release_shows_its_evidence_and_signs_nothing_without_the_time(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reference, policy = tmp_path / "reference.json", tmp_path / "policy.toml"
    assert measure.main(["predict", str(release), "--platform", "qemu-vtpm", "--measurements", str(reference)]) == 0
    text = POLICY.read_text()
    assert "allowDebug = true" in text
    policy.write_text(text.replace("allowDebug = true", "allowDebug = false"))
    state = ["--state", str(tmp_path / "state"), "--json"]
    start = ["local", str(release), "--port", "0", "--timeout", str(hostile.TIMEOUT), "--offline", *state]
    capsys.readouterr()
    try:
        assert deploy.main(start) == 0
        port = json.loads(capsys.readouterr().out)["port"]
        words = ["prove", "--notary", f"https://127.0.0.1:{port}", "--manifest", str(MANIFEST), "--json"]
        words += ["--out", str(tmp_path / "proof.json"), "--reference", str(reference), "--policy"]
        assert notary.main([*words, str(policy)]) == 6
        told = json.loads(capsys.readouterr().out)["error"]
        assert told["code"] == "clock", "its evidence was accepted, else it would not have been asked"
        assert not (tmp_path / "proof.json").exists()
    finally:
        assert deploy.main(["local", "--stop", *state]) == 0
