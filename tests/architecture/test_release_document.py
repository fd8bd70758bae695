"""docs/release.md: every command on it works, with the exit code and the output that it shows.

A tiny project stands in for the notary, under its name; git, openssl and all else is as a reader would type it.
"""

from __future__ import annotations

import shutil

import pytest

from documents.typed import Outcome, Page, check, typed
from simulators import audited_builds, programs, tiny_project
from simulators.intel import Authority
from simulators.trust_domains import TrustDomain

PAGE = Page("release")
# What Debian's tracker says of the tiny packages, and what it says later.
NEVER = audited_builds.fixed("0")
UNIMPORTANT = {"init": {"CVE-2026-0002": audited_builds.issue(urgency="unimportant")}}
FLAW = {"init": {"CVE-2026-0001": audited_builds.fixed("257.2")}}
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is absent"),
]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    folder = tmp_path_factory.mktemp("release")
    work = folder / "project"
    work.mkdir()
    tiny_project.lay(work, folder / "cache")
    (work / "quote.bin").write_bytes(TrustDomain().quote())
    for name, more in (("tracker.json", UNIMPORTANT), ("tracker-later.json", FLAW)):
        (work / name).write_bytes(audited_builds.tracker({"systemd-boot-efi": {"CVE-2000-0001": NEVER}} | more))
    tiny_project.commit(work)
    # The quote is of a pretended machine, whose maker this program takes for Intel.
    code = programs.trusting(Authority.make().root_der) + programs.of("pluto_measure.cli")
    programs.program(folder / "bin", "pluto-measure", code)
    env = {**tiny_project.GIT, "XDG_CACHE_HOME": str(folder / "cache")}
    return typed(PAGE, work, bin_folder=folder / "bin", more=env)


@PAGE.each
def test_a_command_of_the_page_does_what_the_page_says(place: int, outcomes: list[Outcome]) -> None:
    check(PAGE.commands[place], outcomes[place])


def test_the_page_shows_what_it_is_for() -> None:
    words = "\n".join(one.command for one in PAGE.commands)
    for command in (
        "pluto-image release",
        "pluto-image attest",
        "pluto-image audit",
        "pluto-measure sign",
        "pluto-measure release",
    ):
        assert command in words
    assert {one.code for one in PAGE.commands} == {0, 4, 5}
