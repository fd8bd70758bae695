"""pluto-measure inspect with what is signed: statements, envelopes, bundles, lists, trust files. Nothing is judged."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pluto_measure.cli import main
from pluto_measure.digests import Digests
from pluto_measure.publish import dissent, notices
from simulators import releases
from simulators.releases import ED25519, FACTS, TEXT
from simulators.sigstore import PretendSigstore, workflow

AT = FACTS.validity.issued_at
SUBJECT = Digests.of(TEXT)
STATEMENTS = {
    "release statement": releases.statement(),
    "provenance": releases.provenance(),
    "confirmation": notices.confirmation(releases.release(), AT, AT + timedelta(days=7)).statement(SUBJECT),
    "revocation": notices.revocation(releases.release(), SUBJECT, AT, "a hole"),
    "dissent": dissent.dissent(TEXT, releases.statement(version="9").to_text().encode()),
}


def inspected(capsys: pytest.CaptureFixture[str], path: Path) -> tuple[int, Any]:
    assert main(["inspect", str(path)]) in (0, 3)
    capsys.readouterr()
    code = main(["inspect", str(path), "--json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_statement_is_told_by_its_predicate(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text(STATEMENTS[name].to_text())
    code, found = inspected(capsys, tmp_path / "file")
    assert (code, found.pop("format")) == (0, name)
    assert found == STATEMENTS[name].to_json()


def test_a_statement_of_a_kind_that_nobody_knows_is_shown_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = {**releases.statement().to_json(), "predicateType": "https://example.org/x", "predicate": {"a": 1}}
    (tmp_path / "file").write_text(json.dumps(document))
    assert inspected(capsys, tmp_path / "file") == (0, {"format": "in-toto statement", **document})


def test_a_malformed_predicate_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document: Any = releases.statement().to_json()
    del document["predicate"]["flavour"]
    (tmp_path / "file").write_text(json.dumps(document))
    code, found = inspected(capsys, tmp_path / "file")
    assert (code, found["error"]["kind"]) == (3, "FormatError")


def test_an_envelope_shows_what_was_signed_and_under_which_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = releases.write(tmp_path / "release")
    code, found = inspected(capsys, releases.sign(folder, ED25519))
    assert (code, found["format"], found["payload"]["format"]) == (0, "DSSE envelope", "release statement")
    assert found["keyid"]
    code, found = inspected(capsys, releases.sign(folder, ED25519, payload=b"{}", name="other.dsse.json"))
    assert (code, found["error"]["kind"]) == (3, "FormatError")


@pytest.mark.parametrize("generation", [1, 2])
def test_a_bundle_shows_signer_and_log(generation: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_bytes(PretendSigstore("inspect").sign(TEXT, workflow(), generation=generation))
    code, found = inspected(capsys, tmp_path / "file")
    assert (code, found["format"], found["payload"]["format"]) == (0, "Sigstore bundle", "release statement")
    assert (found["log"]["rekor"], found["timestamp"]) == (generation, generation == 2)
    assert (found["log"]["integratedAt"] is None) is (generation == 2)
    assert found["certificate"]["san"].startswith("https://github.com/")


def test_a_digest_list_and_a_trust_file_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = releases.write(tmp_path / "release")
    code, found = inspected(capsys, folder / "SHA256SUMS")
    assert (code, found["format"]) == (0, "digest list")
    assert "release.json" in found["files"]
    (tmp_path / "trust.toml").write_text(releases.trust_text(ED25519))
    code, found = inspected(capsys, tmp_path / "trust.toml")
    assert (code, found["format"], found["k"]) == (0, "trust file", 1)
    assert [(one["name"], len(one["keys"]), one["identities"]) for one in found["organisations"]] == [("one", 1, [])]
    (tmp_path / "trust.toml").write_text(releases.trust_text(ED25519).replace("k = 1", "k = 5"))
    assert inspected(capsys, tmp_path / "trust.toml")[0] == 3
