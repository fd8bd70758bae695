"""`pluto-measure reattest` and `revoke`: what they write, whom they refuse, and what `release` then makes of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pluto_measure.cli import main
from pluto_measure.commands import reattest
from pluto_measure.evidence import format_time
from pluto_measure.publish.dissent import dissent
from pluto_measure.publish.dsse import Envelope, signed
from pluto_measure.publish.keys import PrivateKey, key_id
from pluto_measure.publish.statement import Statement
from simulators.releases import (
    ED25519,
    FACTS,
    FILES,
    OTHER,
    P256,
    SECP256K1,
    Called,
    private_pem,
    schema,
    sign,
    statement,
    trust_text,
    write,
)

LATE = datetime(2027, 3, 1, 12, tzinfo=UTC)
UNTIL = "2027-03-15T00:00:00Z"
ID = key_id(ED25519.public_key())[:16]


class Desk:
    """A release that two of three signed in November 2026; it is March, and the trust file wants word of 30 days."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root, self.capsys = root, capsys
        self.release, self.trust = write(root / "release"), root / "trust.toml"
        self.trust.write_text(trust_text(ED25519, P256, SECP256K1, k=2, age="2592000"))
        for key in (ED25519, P256):
            sign(self.release, key)

    def call(self, command: str, *more: object, key: PrivateKey = ED25519) -> tuple[int, Any]:
        path = self.root / "key.pem"
        path.write_bytes(private_pem(key))
        path.chmod(0o600)
        code = main([command, str(self.release), "--key", str(path), *map(str, more), "--json"])
        out, err = self.capsys.readouterr()
        assert "Traceback" not in err
        return code, json.loads(out)

    def judged(self, *more: object, at: datetime = LATE) -> Called:
        return Called(self.capsys, self.release, "--trust", self.trust, "--at", format_time(at), *more)

    def files(self) -> set[str]:
        return {path.name for path in (self.release / "signatures").iterdir()}


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setattr(reattest, "now", lambda: LATE)
    return Desk(tmp_path, capsys)


def test_a_stale_release_is_refused_until_as_many_as_must_sign_say_that_it_is_good(desk: Desk) -> None:
    called = desk.judged()
    assert (called.code, called.refused) == (5, {"release.freshness"})
    assert "the release is stale: 2 must have confirmed it within 30 days, and nobody did" in called.out
    code, document = desk.call("reattest", "--until", UNTIL)
    assert (code, document["confirmedAt"], document["until"]) == (0, format_time(LATE), UNTIL)
    assert Path(document["signature"]) == desk.release / f"signatures/{ID}.confirmation.dsse.json"
    assert desk.judged().code == 5
    assert desk.call("reattest", "--until", UNTIL, key=P256)[0] == 0
    called = desk.judged("--complete")
    assert called.code == 0
    assert f"  confirmed  one {format_time(LATE)}, two {format_time(LATE)}\n" in called.out
    assert called.document["confirmation"] == {
        "maxAge": 2592000,
        "organisations": {"one": format_time(LATE), "two": format_time(LATE)},
    }
    assert desk.judged(at=datetime(2027, 3, 15, 0, 0, 1, tzinfo=UTC)).refused == {"release.freshness"}


def test_a_newer_confirmation_takes_the_place_of_an_older_one(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    assert desk.call("reattest", "--until", UNTIL)[0] == 0
    before = desk.files()
    monkeypatch.setattr(reattest, "now", lambda: LATE + timedelta(days=7))
    assert desk.call("reattest", "--until", "2027-03-22T00:00:00Z")[0] == 0
    assert desk.files() == before
    envelope = Envelope.parse((desk.release / f"signatures/{ID}.confirmation.dsse.json").read_bytes())
    assert Statement.parse(envelope.payload).predicate["until"] == "2027-03-22T00:00:00Z"


def odd_file(desk: Desk) -> None:
    (desk.release / "disk.raw").write_bytes(b"other")


def odd_statement(desk: Desk) -> None:
    (desk.release / "release.json").write_bytes(b"{}")


def no_files(desk: Desk) -> None:
    for name in FILES:
        (desk.release / name).unlink()


@pytest.mark.parametrize(
    ("damage", "until", "code", "problem"),
    [
        (odd_file, UNTIL, 5, "disk.raw is not what the release lists, so it is not confirmed"),
        (no_files, UNTIL, 5, "none of the released files"),
        (odd_statement, UNTIL, 3, "release"),
        (lambda _: None, format_time(LATE), 2, "is not after now"),
        (lambda _: None, format_time(FACTS.validity.not_after + timedelta(seconds=1)), 2, "valid until"),
        (lambda _: None, "tomorrow", 2, "--until: not a time"),
    ],
)
def test_what_cannot_be_confirmed_is_not(
    desk: Desk, damage: Callable[[Desk], None], until: str, code: int, problem: str
) -> None:
    damage(desk)
    before = desk.files()
    found, document = desk.call("reattest", "--until", until)
    assert (found, problem in document["error"]["message"]) == (code, True), document
    assert desk.files() == before


def test_a_revoked_release_is_refused_with_the_reason_and_stays_refused(desk: Desk) -> None:
    for key in (ED25519, P256):
        assert desk.call("reattest", "--until", UNTIL, key=key)[0] == 0
    state = desk.root / "state"
    assert desk.judged("--state", state).code == 0
    code, document = desk.call("revoke", "--reason", "its kernel leaks", key=SECP256K1)
    assert code == 0
    called = desk.judged()
    assert (called.code, called.refused) == (5, {"release.revocation"})
    assert "three revoked this release: its kernel leaks" in called.out
    assert desk.judged("--state", state).code == 5
    Path(document["signature"]).unlink()
    assert desk.judged().code == 0, "who hides the revocation from somebody new is stopped by staleness alone"
    called = desk.judged("--state", state)
    assert (called.code, called.refused) == (5, {"release.rollback"})
    assert "revoked" in called.out


def test_a_release_that_was_revoked_before_it_was_ever_accepted_is_remembered_too(desk: Desk) -> None:
    desk.trust.write_text(trust_text(ED25519, P256, SECP256K1, k=2))
    state = desk.root / "state"
    code, document = desk.call("revoke", "--reason", "x")
    assert (code, desk.judged("--state", state).code) == (0, 5)
    Path(document["signature"]).unlink()
    assert desk.judged("--state", state).refused == {"release.rollback"}


def test_a_stranger_s_revocation_changes_nothing_and_is_not_remembered(desk: Desk) -> None:
    desk.trust.write_text(trust_text(ED25519, P256, SECP256K1, k=2))
    assert desk.call("revoke", "--reason", "x", key=OTHER)[0] == 0
    state = desk.root / "state"
    called = desk.judged("--state", state)
    assert called.code == 0
    assert "the key is not in the trust file" in called.out
    kept = json.loads((state / "releases/releases.json").read_text())
    assert kept["channels"]["notary/stable"]["revoked"] == []


@pytest.mark.parametrize("reason", ["", " ", "two\nlines"])
def test_a_revocation_needs_a_reason(desk: Desk, reason: str) -> None:
    code, document = desk.call("revoke", "--reason", reason)
    assert (code, document["error"]["message"].startswith("--reason: ")) == (2, True)


def test_revoking_needs_the_statement_alone(desk: Desk) -> None:
    no_files(desk)
    assert desk.call("revoke", "--reason", "x")[0] == 0
    (desk.release / "release.json").unlink()
    assert desk.call("revoke", "--reason", "x")[0] == 2


class TestDisagreement:
    def dissenting(self, desk: Desk) -> Called:
        """The third organisation's rebuild gave another disk; nothing has to be fresh."""
        desk.trust.write_text(trust_text(ED25519, P256, SECP256K1, k=2))
        other = statement({**FILES, "disk.raw": b"mine"}).to_text().encode()
        said = dissent((desk.release / "release.json").read_bytes(), other).to_text().encode()
        path = desk.release / "signatures/theirs.dissent.dsse.json"
        path.write_text(signed(said, SECP256K1).to_text())
        return desk.judged()

    def test_it_is_loud_in_text_notes_and_document_though_k_is_reached(self, desk: Desk) -> None:
        called = self.dissenting(desk)
        assert called.code == 0
        lines = called.out.splitlines()
        assert lines[4] == "  DISAGREES  three, in signatures/theirs.dissent.dsse.json"
        ours, theirs = ((statement(files).subject("disk.raw")) for files in (FILES, {**FILES, "disk.raw": b"mine"}))
        assert ours is not None
        assert theirs is not None
        both = (ours.digests.sha256.hex(), theirs.digests.sha256.hex())
        assert lines[5].split() == ["file", "disk.raw:", f"{both[0]},", "theirs", both[1]]
        assert called.err.startswith("pluto-measure: DISAGREEMENT: signatures/theirs.dissent.dsse.json: three rebuilt")
        (one,) = called.document["disagreements"]
        assert (one["organisation"], one["registers"], one["apart"]) == ("three", [], [])
        assert one["artifacts"] == [{"what": "disk.raw", "expected": both[0], "actual": both[1]}]
        assert called.document["accepted"] is True

    def test_more_than_a_screen_is_counted(self, desk: Desk) -> None:
        desk.trust.write_text(trust_text(ED25519, P256, SECP256K1, k=2))
        more = {f"f{number:02}": b"" for number in range(15)}
        other = statement({**FILES, **more}).to_text().encode()
        said = dissent((desk.release / "release.json").read_bytes(), other).to_text().encode()
        (desk.release / "signatures/x").write_text(signed(said, SECP256K1).to_text())
        called = desk.judged()
        assert "         file        and 5 more\n" in called.out
        assert len(called.document["disagreements"][0]["artifacts"]) == 15


def test_the_schema_knows_nothing_else(desk: Desk) -> None:
    document = desk.judged().document
    for name in ("confirmation", "disagreements", "artifacts", "registers"):
        rest = {other: value for other, value in document.items() if other != name}
        assert not schema("release-verdict").is_valid(rest)
