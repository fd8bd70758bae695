"""pluto-measure verify: files in, verdict out, with the exit codes that others rely on."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pluto_measure import command
from pluto_measure.commands import verify
from simulators import policies
from simulators.tpm_quotes import Machine, reference_of

NONCE = b"\x5a" * 16
KEY_DIGEST = bytes(range(32)).hex()


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    texts = {
        "evidence": Machine().evidence(NONCE).to_text(),
        "reference": reference_of().to_text(),
        "policy": policies.TEXT,
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    return {name: str(tmp_path / name) for name in texts}


def run(*words: str) -> int:
    top = command.parser("pluto-measure", "test")
    verify.add(top.add_subparsers(required=True))
    return command.run(top, ["verify", *words])


def arguments(files: dict[str, str]) -> list[str]:
    words = [files["evidence"], "--reference", files["reference"], "--policy", files["policy"]]
    return [*words, "--nonce", NONCE.hex(), "--key-digest", KEY_DIGEST, "--at", "2026-11-20T12:00:00Z"]


def test_accepted_evidence_ends_with_zero(files: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*arguments(files)) == 0
    out = capsys.readouterr().out
    assert "WARNING  policy.ak_trust: insecure_software_tpm" in out
    assert out.endswith("0 refused\n")
    assert "accepted against simulated" in out


def test_json_has_the_same_verdict(files: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*arguments(files), "--json") == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (document["accepted"], document["evidenceType"], document["tcb"]) == (True, "tpm", None)


@pytest.mark.parametrize("left_out", ["--reference", "--policy", "--nonce", "--key-digest"])
def test_what_is_not_given_is_refused_and_told_as_json(
    left_out: str, files: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = arguments(files)
    at = words.index(left_out)
    del words[at : at + 2]
    assert run(*words, "--json") == 5
    document = json.loads(capsys.readouterr().out)
    assert document["accepted"] is False
    assert document["registers"]["sha256"]["pcr4"]


def test_the_clock_is_used_where_no_time_is_given(files: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*arguments(files)[:-2]) == 5
    assert "REFUSED  policy.evidence_age" in capsys.readouterr().out


def test_evidence_that_is_not_authentic_ends_with_four(
    files: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads(Path(files["evidence"]).read_text())
    document["claims"]["nonce"] = "00"
    Path(files["evidence"]).write_text(json.dumps(document))
    assert run(*arguments(files)) == 4
    assert "not authentic" in capsys.readouterr().out
    assert run(*arguments(files), "--json") == 4
    assert json.loads(capsys.readouterr().out)["authentic"] is False


@pytest.mark.parametrize("name", ["evidence", "reference", "policy"])
def test_a_malformed_file_ends_with_three(name: str, files: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    Path(files[name]).write_text("{}")
    assert run(*arguments(files), "--json") == 3
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "FormatError"


@pytest.mark.parametrize(
    "change",
    [("--nonce", "xyz"), ("--nonce", ""), ("--key-digest", "00"), ("--at", "yesterday"), ("--policy", "/absent")],
)
def test_a_wrong_argument_ends_with_two(
    change: tuple[str, str], files: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = arguments(files)
    words[words.index(change[0]) + 1] = change[1]
    assert run(*words) == 2
    assert change[0] in capsys.readouterr().err or change[0] == "--policy"


def test_a_file_beyond_the_limit_ends_with_three(files: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    Path(files["policy"]).write_bytes(b"#" * (1024 * 1024 + 1))
    assert run(*arguments(files)) == 3
    assert "larger than" in capsys.readouterr().err


def certificate(tmp_path: Path) -> tuple[Path, str]:
    """A self-signed certificate as curl prints it, with text around it, and the digest of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "notary")])
    when = datetime(2026, 11, 20, tzinfo=UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, when, when + timedelta(days=1))
    path = tmp_path / "certificate.pem"
    path.write_bytes(b"Subject:notary\nCert:\n" + builder.sign(key, SHA256()).public_bytes(Encoding.PEM))
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return path, hashlib.sha256(spki).hexdigest()


def test_the_key_may_be_given_as_the_certificate_that_was_seen(
    files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, digest = certificate(tmp_path)
    words = arguments(files)
    at = words.index("--key-digest")
    assert run(*words[:at], "--tls-certificate", str(path), *words[at + 2 :], "--json") == 5
    refused = [one for one in json.loads(capsys.readouterr().out)["findings"] if one["verdict"] == "fail"]
    assert [(one["id"], one["expected"]) for one in refused] == [("binding.outer_key", digest)]


@pytest.mark.parametrize("text", ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_file_without_a_certificate_is_malformed(files: dict[str, str], tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.pem").write_text(text)
    words = arguments(files)
    at = words.index("--key-digest")
    assert run(*words[:at], "--tls-certificate", str(tmp_path / "bad.pem"), *words[at + 2 :]) == 3
