"""docs/tutorials/release-engineer.md: a reader who types it gets what it shows, with a tiny project as the notary."""

from __future__ import annotations

import shutil

import pytest

from documents.typed import Outcome, Page, check, typed
from simulators import tiny_project

PAGE = Page("tutorials/release-engineer")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="no peer: openssl"),
]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    folder = tmp_path_factory.mktemp("release-engineer")
    work = folder / "project"
    work.mkdir()
    tiny_project.lay(work, folder / "cache")
    facts = work / "image/notary/release.toml"  # the first of its channel, as that of the page
    facts.write_text(
        facts.read_text().replace(
            "sequence = 2\nminimumSequence = 1\nsupersedes = 1\n", "sequence = 1\nminimumSequence = 1\n"
        )
    )
    tiny_project.commit(work)
    return typed(
        PAGE, work, bin_folder=folder / "bin", more={"XDG_CACHE_HOME": str(folder / "cache"), **tiny_project.GIT}
    )


@PAGE.each
def test_a_command_does_what_the_page_says(place: int, outcomes: list[Outcome]) -> None:
    check(PAGE.commands[place], outcomes[place])


def test_the_page_shows_what_it_is_for() -> None:
    words = "\n".join(one.command for one in PAGE.commands)
    for command in ("build", "inspect", "bundle", "release", "attest", "diff"):
        assert f"pluto-image {command} " in words
    assert {one.code for one in PAGE.commands} == {0, 4, 5}
