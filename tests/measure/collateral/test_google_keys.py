"""Google's keys for tokens: what is fetched, what is written, and that no server can fill us or lead us elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pluto_measure.cli import main
from pluto_measure.collateral.attempts import NoAnswerError
from pluto_measure.collateral.google_keys import fetch_keys
from pluto_measure.collateral.transport import Answer, Clock, Limits, Transport
from pluto_measure.errors import FormatError, UsageError
from pluto_measure.formats.jwks import GOOGLE_SOURCE, LARGEST, JwksDocument
from simulators.confidential_space import KEY_ID, keys
from simulators.endorsement_bucket import Bucket, serving

NOW = datetime(2026, 11, 20, 12, 0, 0, 900, tzinfo=UTC)
ANSWER = json.dumps({"keys": [key.to_json() for key in keys().keys]}).encode()
QUICK = Limits(read=0.5, total=5.0, attempts=2, pause=0.01)
CLOCK = Clock(now=lambda: NOW)


@pytest.fixture
def service() -> Iterator[Bucket]:
    with serving() as made:
        made.objects["/jwk"] = ANSWER
        yield made


def called(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, Any]:
    """Exit code, and the document of --json."""
    code = main(["collateral", "google-keys", *map(str, words), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_the_set_has_its_source_and_time(service: Bucket) -> None:
    found = fetch_keys(f"{service.url}/jwk", limits=QUICK, clock=CLOCK)
    assert (found.source, found.fetched_at, found.keys) == (f"{service.url}/jwk", NOW, keys().keys)
    assert service.asked == ["/jwk"]


def test_the_default_is_googles_address(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def answer(_: Transport, url: str, __: float) -> Answer:
        asked.append(url)
        return Answer(404, {}, b"")  # type: ignore[arg-type]

    monkeypatch.setattr(Transport, "get", answer)
    with pytest.raises(NoAnswerError, match=r"key set: .*does not know it"):
        fetch_keys()
    assert asked == [GOOGLE_SOURCE]
    assert GOOGLE_SOURCE.startswith("https://www.googleapis.com/")


def test_no_redirect_is_followed(service: Bucket) -> None:
    service.objects["/elsewhere"] = ANSWER
    service.statuses = [302]
    with pytest.raises(NoAnswerError, match="redirects are not followed"):
        fetch_keys(f"{service.url}/jwk", limits=QUICK)
    assert service.asked == ["/jwk"]


def test_an_answer_has_a_largest_size(service: Bucket) -> None:
    service.objects["/jwk"] = ANSWER.ljust(LARGEST + 1)
    with pytest.raises(NoAnswerError, match="announces 65537 bytes, more than 65536"):
        fetch_keys(f"{service.url}/jwk", limits=QUICK)


@pytest.mark.parametrize("url", ["http://keys.example/jwk", "ftp://keys.example/jwk", "https://a:b@keys.example/jwk"])
def test_tls_is_needed(url: str) -> None:
    with pytest.raises(UsageError):
        fetch_keys(url)


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b'{"keys": []}'])
def test_what_is_no_set_is_malformed(body: bytes, service: Bucket) -> None:
    service.objects["/jwk"] = body
    with pytest.raises(FormatError, match="key set"):
        fetch_keys(f"{service.url}/jwk", limits=QUICK)


def test_the_command_writes_a_file_for_verifiers(
    service: Bucket, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "keys.json"
    code, document = called(capsys, "--url", f"{service.url}/jwk", "--out", out)
    assert code == 0
    assert (document["keys"], document["wrote"]) == ([KEY_ID], [str(out)])
    written = JwksDocument.parse(out.read_bytes())
    assert written.keys == keys().keys
    assert document["fetchedAt"] in out.read_text()
    assert abs((datetime.now(UTC) - written.fetched_at).total_seconds()) < 60
    assert main(["collateral", "google-keys", "--url", f"{service.url}/jwk", "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}: 1 key of {service.url}/jwk\n"


def test_nothing_is_written_of_what_is_not_good(
    service: Bucket, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "keys.json"
    out.write_text("before")
    service.objects["/jwk"] = b"{}"
    for path, expected in (("jwk", 3), ("other", 6)):
        code, document = called(capsys, "--url", f"{service.url}/{path}", "--out", out)
        assert code == expected
        assert document["error"]["message"].startswith("key set")
    assert [item.name for item in tmp_path.iterdir()] == ["keys.json"]
    assert out.read_text() == "before"


def test_a_wrong_call(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    assert called(capsys)[0] == 2
    assert called(capsys, "--out", tmp_path / "k", "--tls-ca", tmp_path / "ca.pem")[0] == 2
    assert called(capsys, "--out", tmp_path / "k", "--url", "http://keys.example")[0] == 2
