"""docs/operations/upgrade.md and incident.md: every command on them works, with the exit code and output shown.

Machines are pretended; everything else is as a reader would type it. Port 8443 of the pages is a free one.
"""

from __future__ import annotations

import re
import shutil
import socket
from pathlib import Path

import pytest

from documents.typed import DOCS, Outcome, Page, check, typed
from simulators import audited_builds, deployments, programs

UPGRADE, INCIDENT = PAGES = (Page("operations/upgrade"), Page("operations/incident"))
CASES = [(page, place, one.command) for page in PAGES for place, one in enumerate(page.commands)]
# What became known of a package in the release that serves.
FLAW = {"tool": {"CVE-2026-0001": audited_builds.fixed("1:1.0-1+deb13u3")}}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("openssl") is None or shutil.which("curl") is None, reason="no peer: curl, openssl"
    ),
]


def toml_of_the_page(port: int) -> str:
    found = re.search(r"```toml\n(.*?)```", UPGRADE.text, re.DOTALL)
    assert found
    text = found[1].replace("[8443]", f"[{port}]")
    return text.replace('kind = "local"', 'kind = "local"\naccelerator = "tcg"')


@pytest.fixture(scope="module")
def port() -> str:
    """What is meant by 8443 in commands; a machine is told nothing of it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory, port: str) -> dict[Page, list[Outcome]]:
    """Of both pages, each in a folder with three releases and nothing else."""
    folder = tmp_path_factory.mktemp("operations")
    programs.program(folder / "bin", "pluto-deploy", programs.of("simulators.pretend_tools"))
    found = {}
    for page in PAGES:
        mine = folder / page.name.rpartition("/")[2]
        folder_of_the_reader(mine / "work", port)
        more = {"XDG_STATE_HOME": str(mine / "state")}
        found[page] = typed(
            page, mine / "work", bin_folder=folder / "bin", words={":8443": f":{port}"}, more=more, unseen=unseen(page)
        )
    return found


def folder_of_the_reader(work: Path, port: str) -> None:
    """Two upgrades, of which the first is something else than was released, and what became known of one."""
    deployments.deployment(work, Path("release-1"), port=int(port))
    (work / "DEPLOYMENT.toml").unlink()
    deployments.release(work / "release-1", sequence=5, build="one", more=audited_builds.files())
    (work / "tracker.json").write_bytes(audited_builds.tracker(FLAW))
    deployments.release(work / "release-2", sequence=6, build="two", mode="other-image")
    deployments.release(work / "release-3", sequence=7, build="three")
    (work / "notary.toml").write_text(toml_of_the_page(int(port)))


def unseen(page: Page) -> dict[int, str]:
    """An incident is one of a machine that serves; what that page takes off comes back for the commands after that."""
    found = {len(page.commands): "pluto-deploy destroy notary.toml"}
    if page == INCIDENT:
        off = [place for place, one in enumerate(page.commands) if "destroy notary" in one.command]
        found |= dict.fromkeys([0, *(place + 1 for place in off)], "pluto-deploy apply notary.toml")
    return found


@pytest.mark.parametrize(
    ("page", "place"),
    [(page, place) for page, place, _ in CASES],
    ids=[f"{page.name.rpartition('/')[2]}-{command[:50]}" for page, _, command in CASES],
)
def test_a_command_does_what_the_page_says(page: Page, place: int, outcomes: dict[Page, list[Outcome]]) -> None:
    check(page.commands[place], outcomes[page][place])


def test_a_finding_that_the_page_on_incidents_names_is_one() -> None:
    named = set(re.findall(r"`((?:deployment|policy|tcb)\.[a-z_]+)`", INCIDENT.text))
    known = (DOCS / "formats/policy.md").read_text() + (DOCS / "formats/deployment.md").read_text()
    assert named
    assert all(f"`{name}`" in known for name in named), named
