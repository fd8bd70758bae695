"""docs/tutorials/verifier.md: a reader who types it gets what it shows. A pretend trust domain made the proof."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from documents.typed import Outcome, Page, check, typed
from pluto_measure.publish.keys import PrivateKey, pem_of
from pluto_notary.cli import main
from simulators import programs, releases
from simulators.notary import sites, today
from simulators.notary.certificates import Authority

PAGE = Page("tutorials/verifier")
HOST = "shop.example"
MANIFEST = """\
{"manifestVersion": "2", "id": "price", "title": "A price",
 "request": {"method": "GET", "url": "https://shop.example/item/7", "headers": {}},
 "response": {"status": "200", "headers": {"content-type": "application/json"},
  "body": {"format": "json", "extractors": [{"id": "price", "selector": ["price"], "type": "string"}]}}}
"""
SIGNERS: Mapping[str, PrivateKey] = {"publisher": releases.ED25519, "north": releases.OTHER, "south": releases.P256}

pytestmark = pytest.mark.slow


def folder_of_the_reader(work: Path) -> None:
    """What the page says that lies in the reader's folder, but for the proof."""
    now = datetime.now(UTC).replace(microsecond=0)
    made = releases.write(work / "release", issued_at=now - timedelta(days=1), not_after=now + timedelta(days=300))
    for name, key in SIGNERS.items():
        releases.sign(made, key)
        (work / f"{name}.pub").write_text(pem_of(key.public_key()))
    (work / "manifest.json").write_text(MANIFEST)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    folder = tmp_path_factory.mktemp("verifier")
    work = folder / "work"
    work.mkdir()
    folder_of_the_reader(work)
    authority = Authority()
    page = sites.page(b'{"price": "12.50"}', ("content-type", "application/json"))
    with sites.Site(authority.issue(HOST), page) as site, today.running(authority, {HOST: site}) as notary:
        given = today.Folder(work, notary)
        root = notary.provider.domain.world.authority.root_der
        words = ["--notary", f"https://127.0.0.1:{notary.port}", "--manifest", str(work / "manifest.json")]
        assert main(["prove", *words, *given.accepting, "--out", str(work / "proof.json")]) == 0
    (work / "measurements.json").unlink()
    for name in ("measure", "notary"):
        programs.program(folder / "bin", f"pluto-{name}", programs.trusting(root) + programs.of(f"pluto_{name}.cli"))
    return typed(PAGE, work, bin_folder=folder / "bin")


@PAGE.each
def test_a_command_does_what_the_page_says(place: int, outcomes: list[Outcome]) -> None:
    check(PAGE.commands[place], outcomes[place])


def test_the_page_ends_in_acceptance_and_in_each_refusal() -> None:
    assert {one.code for one in PAGE.commands} == {0, 4, 5}
