"""The page of a release: who rebuilt what, disagreement first, hostile text as text, and the command that makes it."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from pluto_measure.cli import main
from pluto_measure.digests import Digests
from pluto_measure.publish import notices
from pluto_measure.publish.dissent import dissent
from pluto_measure.publish.dsse import signed
from pluto_measure.publish.keys import key_id
from pluto_measure.publish.page import page
from simulators.pages import HOSTILE, WIDTHS, Parsed, drawn, sound
from simulators.pages import check as check_page
from simulators.releases import (
    AT,
    ED25519,
    FILES,
    NOW,
    P256,
    SECP256K1,
    release,
    sign,
    statement,
    trust_text,
    write,
)

COMMAND = "pluto-measure release RELEASE --trust trust.toml --html page.html"


class Reader:
    """A release, three organisations of which two are wanted, and its page."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root, self.capsys = root, capsys
        self.release, self.trust, self.page = write(root / "release"), root / "a trust.toml", root / "page.html"
        self.trust.write_text(trust_text(ED25519, P256, SECP256K1, k=2))
        for key in (ED25519, P256):
            sign(self.release, key)

    def call(self, *more: object) -> tuple[int, Parsed, Any]:
        words = ["release", str(self.release), "--trust", str(self.trust), "--at", AT, "--html", str(self.page)]
        code = main([*words, *map(str, more), "--json"])
        out, err = self.capsys.readouterr()
        assert f"wrote {self.page}" in err
        return code, sound(Parsed(self.page.read_text())), json.loads(out)

    def add(self, payload: bytes, key: Any = SECP256K1, name: str = "more.json") -> None:
        (self.release / "signatures" / name).write_text(signed(payload, key).to_text())

    def dissent(self, files: dict[str, bytes]) -> None:
        other = statement({**FILES, **files}).to_text().encode()
        self.add(dissent((self.release / "release.json").read_bytes(), other).to_text().encode())


@pytest.fixture
def reader(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Reader:
    return Reader(tmp_path, capsys)


def titles(parsed: Parsed) -> list[str]:
    return re.findall(r"<h2>([^<]*)</h2>", parsed.html)


def test_who_says_what_file_by_file_and_register_by_register(reader: Reader) -> None:
    code, parsed, document = reader.call()
    assert (code, document["accepted"]) == (0, True)
    assert titles(parsed) == [
        "Warnings",
        "Who says what",
        "Files",
        "Registers",
        "Signatures",
        "All checks",
        "The command",
    ]
    assert parsed.all("header") == [{"class": "good"}]
    assert "Enough of those whom you trust signed this release." in parsed.text
    for words in (
        "one ✓ signed these bytes 2026-11-01T00:00:00Z",
        "two ✓ signed these bytes",
        "three – said nothing –",
    ):
        assert words in parsed.text
    for name, digests in document["artifacts"].items():
        assert f"{name} {digests['sha256']}" in parsed.text
    assert "A rebuild computes the registers of the first kind again and so confirms them." in parsed.text
    for by_source in document["registers"].values():
        assert " ".join(by_source["computed"]) in parsed.text


def test_disagreement_comes_first_whatever_the_verdict(reader: Reader) -> None:
    reader.dissent({"disk.raw": b"mine"})
    code, parsed, document = reader.call()
    assert code == 0
    assert titles(parsed)[0] == "Disagreement"
    assert "three disagrees" in parsed.text
    assert "But not all of them agree: see below." in parsed.text
    (differing,) = document["disagreements"][0]["artifacts"]
    assert f"disk.raw the release {differing['expected']} theirs {differing['actual']}" in parsed.text
    assert "✗ three" in parsed.text, "beside the file"
    (reader.release / f"signatures/{key_id(P256.public_key())[:16]}.dsse.json").unlink()
    code, parsed, _ = reader.call()
    assert (code, titles(parsed)[0], parsed.all("header")) == (4, "Disagreement", [{"class": "bad"}])


def test_a_revoked_and_a_stale_release_say_why(reader: Reader) -> None:
    payload = (reader.release / "release.json").read_bytes()
    reader.add(notices.revocation(release(), Digests.of(payload), NOW, "its kernel leaks").to_text().encode())
    code, parsed, _ = reader.call()
    assert (code, titles(parsed)[0]) == (5, "Why")
    assert "three revoked this release: its kernel leaks" in parsed.text
    assert "✗ revoked it" in parsed.text
    reader.trust.write_text(trust_text(ED25519, P256, SECP256K1, k=2, age="86400"))
    (reader.release / "signatures/more.json").unlink()
    code, parsed, _ = reader.call()
    assert code == 5
    assert "the release is stale: 2 must have confirmed it within 1 day" in parsed.text
    assert "Confirmed within 1 day" in parsed.text


def test_the_command_at_its_foot_makes_the_same_page(reader: Reader) -> None:
    _, parsed, _ = reader.call("--complete", "--minimum-sequence", "3")
    (command,) = re.findall(r"pluto-measure release .* --html \S+", parsed.text)
    before = reader.page.read_bytes()
    check_page(before.decode(), command=command)
    reader.page.unlink()
    assert main(shlex.split(command)[1:]) == 0
    assert reader.page.read_bytes() == before
    assert "--complete" in command
    assert "--minimum-sequence 3" in command


def test_a_page_that_cannot_be_written_is_said_before_anything_is_read(reader: Reader) -> None:
    words = ["release", str(reader.root / "none"), "--trust", str(reader.root / "none"), "--html"]
    assert main([*words, str(reader.root)]) == 2
    assert "is a directory" in reader.capsys.readouterr().err
    assert main([*words, str(reader.root / "no/where.html")]) == 2
    assert "there is no folder" in reader.capsys.readouterr().err


def test_hostile_text_stays_text(reader: Reader) -> None:
    _, _, document = reader.call()
    reader.dissent({"disk.raw": b"mine"})
    _, _, against = reader.call()

    def hostile(value: Any) -> Any:
        if isinstance(value, dict):
            return {(HOSTILE + key if key not in against else key): hostile(one) for key, one in value.items()}
        if isinstance(value, list):
            return [hostile(one) for one in value]
        return HOSTILE if isinstance(value, str) else value

    for found in (document, against):
        for name in found:
            for odd in (HOSTILE, [HOSTILE], {HOSTILE: HOSTILE}, None, 7, hostile(found[name])):
                sound(Parsed(page({**found, name: odd}, command=HOSTILE)))
        sound(Parsed(page(dict.fromkeys(found, HOSTILE), command=COMMAND)))


def test_an_unknown_worth_or_verdict_is_never_good(reader: Reader) -> None:
    _, _, document = reader.call()
    for one in document["signatures"]:
        one["worth"] = "splendid"
    parsed = Parsed(page({**document, "accepted": "yes"}, command=COMMAND))
    assert parsed.all("header") == [{"class": "bad"}]
    assert "✓ signed these bytes" not in parsed.text


def test_a_release_of_many_files_stays_below_300_kib(reader: Reader) -> None:
    _, _, document = reader.call()
    document["artifacts"] = {
        f"oci/blobs/{number:064}": {"sha256": "a" * 64, "sha384": "b" * 96} for number in range(300)
    }
    assert len(page(document, command=COMMAND).encode()) < 300 << 10


@pytest.mark.slow
@pytest.mark.interop
@pytest.mark.parametrize("width", WIDTHS)
def test_chromium_draws_the_page(reader: Reader, tmp_path: Path, width: int) -> None:
    drawn(reader.call()[1].html, tmp_path, width)
