"""A machine in a cloud is asked for a CA's certificate once clients reach it, and keeps them if it has one in time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from simulators.cloud_deployments import AZURE, TDX, build_of
from simulators.cloud_stories import Story, told
from simulators.notary.certificates import Authority

pytestmark = pytest.mark.slow
NAME = "notary.example"


@pytest.fixture(params=(TDX, AZURE))
def story(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Story]:
    with told(tmp_path, request.param, monkeypatch, capsys.readouterr) as one:
        one.file("one", roots=one.authority.pem)
        yield one


def states(document: Any) -> dict[str, str]:
    return {one["slot"]: one["state"] for one in document["target"]["machines"]}


def actions(document: Any) -> list[str]:
    return [one["action"] for one in document["plan"]["steps"]]


def test_an_upgrade_whose_certificate_does_not_come_is_moved_back(story: Story) -> None:
    code, out = story.text("plan")
    assert code == 0
    assert f"wait for the certificate of {NAME}" in out
    story.patience = lambda build: 3
    code, applied = story.run("apply")
    assert (code, applied["plan"]["target"]) == (0, "a"), applied
    assert actions(applied)[-4:] == ["switch", "certify", "confirm", "tidy"]
    assert applied["address"].endswith(":443"), "clients come to the first of the ports"
    assert [one.rpartition(":")[2] for one in story.asked] == ["8443", "443"], "operators come before clients"
    assert story.looks[build_of("one", "honest")] == 4
    clients = applied["address"].partition(":")[0]

    bad = build_of("two", "honest")
    story.patience = lambda build: 10**9 if build == bad else 0
    story.release("two", 2, roots=story.authority.pem)
    begin, code, document = story.waited, *story.run("apply")
    error = document["error"]
    assert (code, error["kind"], error["serving"]) == (6, "NotCertifiedError", "a"), document
    assert error["step"]["action"] == "certify"
    assert f"{NAME} got no certificate within 60 s" in error["message"]
    assert "one that it signed itself" in error["message"]
    assert story.waited - begin == 60
    assert story.cloud.serving(clients)
    status = story.run("status")[1]
    assert states(status) == {"a": "running", "b": "stopped"}
    assert not any(one["refused"] for one in status["target"]["machines"]), "nothing is known against it"
    assert status["certificate"]["until"] is not None

    story.patience = lambda build: 2
    code, document = story.run("apply")
    assert (code, document["plan"]["target"], document["address"]) == (0, "b", applied["address"]), document
    code, document = story.run("rollback")
    assert (code, document["plan"]["target"]) == (0, "a"), document
    assert actions(document)[:4] == ["start", "appraise", "switch", "certify"]
    assert story.run("destroy")[0] == 0
    assert story.cloud.left() == []


def test_what_clients_see_is_told_and_decides_nothing(story: Story) -> None:
    assert story.run("apply")[0] == 0
    out = story.text("status")[1]
    assert f"note        the certificate of {NAME} that clients see is valid until " in out
    story.authority = Authority()
    code, document = story.run("verify")
    assert (code, document["accepted"]) == (0, True), document
    assert f"the certificate of {NAME} is not there for clients" in story.err
    assert "whose word does not count" in story.text("status")[1]


def test_with_room_for_one_machine_the_old_one_serves_again_without_a_wait(story: Story) -> None:
    story.file("one", roots=story.authority.pem, strategy="replace")
    assert story.run("apply")[0] == 0
    story.patience = lambda build: 10**9
    story.release("two", 2, roots=story.authority.pem, strategy="replace")
    code, document = story.run("apply")
    assert (code, document["error"]["serving"]) == (6, "a"), document
    assert states(story.run("status")[1]) == {"a": "running", "b": "stopped"}


def test_a_first_machine_without_its_certificate_does_not_serve(story: Story) -> None:
    story.patience = lambda build: 10**9
    code, document = story.run("apply")
    assert (code, document["error"]["serving"]) == (6, None), document
    assert states(story.run("status")[1]) == {"a": "stopped"}
    assert story.run("destroy")[0] == 0
    assert story.cloud.left() == []


def test_a_machine_that_was_asked_for_none_is_gone_back_to_without_one(story: Story) -> None:
    story.file("one")
    assert story.run("apply")[0] == 0
    story.file("one", roots=story.authority.pem)
    assert story.run("apply")[0] == 0
    code, document = story.run("rollback")
    assert (code, document["plan"]["target"]) == (0, "a"), document
    assert "certify" not in actions(document)
    code, document = story.run("apply")
    assert (code, document["plan"]["target"]) == (0, "b"), document


def test_what_will_be_sent_opens_the_ports_of_clients(story: Story) -> None:
    code, document = story.run("render")
    text = "".join(document["files"].values())
    assert code == 0
    wanted = ('"destinationPortRange": "443"',) if story.kind == AZURE else ('"443"', '"8443"')
    assert all(one in text for one in wanted)


def test_roots_that_cannot_be_read_are_told_before_anything_is_done(story: Story) -> None:
    (story.root / "file/roots.pem").write_text("no certificates")
    for command in ("plan", "apply"):
        code, document = story.run(command)
        assert (code, document["error"]["kind"]) == (3, "FormatError"), document
        assert "has no certificates in PEM" in document["error"]["message"]
    (story.root / "file/roots.pem").unlink()
    assert story.run("apply")[0] == 2
    assert "machine" not in str(story.cloud.left())
