"""pluto-measure inspect with quotes, envelopes and collateral: what they say, judged by nobody."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pluto_measure.cli import main
from pluto_measure.evidence import TpmEvidence
from simulators.tpm_quotes import Machine
from simulators.trust_domains import NONCE
from simulators.verifier_files import FORMS, HONEST, Files, bundle


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.mark.parametrize("form", FORMS)
def test_inspect_shows_a_quote_in_any_form(form: str, files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    path = files.write("quote", FORMS[form](HONEST.quote()))
    assert main(["inspect", str(path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["format"], document["version"], document["size"]) == ("TDX quote", 4, len(HONEST.quote()))
    assert document["bytesAfter"] == (3000 if form == "padded" else 0)
    assert document["mrtd"] == HONEST.registers()["mrtd"].hex()
    assert (document["pck"]["fmspc"], document["pck"]["ca"]) == ("30a06f000000", None)


def test_inspect_shows_an_envelope_and_collateral(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(files.envelope), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["format"], document["type"]) == ("evidence envelope", "tdx")
    assert document["evidence"] == {"tdQuote": {"size": len(HONEST.quote())}}
    assert document["logs"] == {"ccel": {"size": len(HONEST.log_bytes())}}
    assert main(["inspect", str(files.quote), "--json"]) == 0
    assert {"format": "TDX quote", **document["quote"]} == json.loads(capsys.readouterr().out)
    for path in (files.collateral, files.write("bundle.json", bundle().to_text())):
        assert main(["inspect", str(path), "--json"]) == 0
        document = json.loads(capsys.readouterr().out)
        assert (document["format"], document["families"][0]["fmspc"]) == ("collateral", "30a06f000000")


def test_inspect_of_a_tpms_envelope_has_sizes_and_registers(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    envelope = Machine().evidence(NONCE)
    assert isinstance(envelope.evidence, TpmEvidence)
    assert main(["inspect", str(files.write("tpm.json", envelope.to_text())), "--json"]) == 0
    document, given = json.loads(capsys.readouterr().out), envelope.to_json()
    assert document["logs"] == {"tpm": {"size": len(envelope.evidence.log)}}
    quote = document["evidence"]["tpmQuote"]
    assert quote["attest"] == {"size": len(envelope.evidence.quote.attest)}
    assert quote["registers"] == given["evidence"]["tpmQuote"]["registers"]  # type: ignore[index]
    assert (document["claims"], "quote" in document) == (given["claims"], False)
    assert len(document["evidence"]["akCertificates"]) == len(envelope.evidence.ak_certificates)


def test_inspect_names_the_file_that_it_does_not_know(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    path = files.write("what.bin", b"what?")
    assert main(["inspect", str(path)]) == 3
    assert capsys.readouterr().err == f"pluto-measure: error: {path}: is of no format that is known here\n"


def test_inspect_still_tells_a_log_that_is_an_array(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    event = {"imr": 3, "event_type": 134217729, "digest": "ab" * 48, "event": "app-id", "event_payload": "00"}
    path = files.write("log.json", json.dumps([event]))
    main(["inspect", str(path), "--json"])
    assert json.loads(capsys.readouterr().out).get("format") == "event log"


def test_inspect_of_a_cut_quote_is_a_format_error(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    for content in (HONEST.quote()[:800], b"abc", b"[1, 300]"):
        assert main(["inspect", str(files.write("cut", content))]) == 3
        assert "Traceback" not in capsys.readouterr().err
