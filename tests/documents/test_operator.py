"""docs/tutorials/operator.md: a reader who types it gets what it shows. Machines are pretended, all else is real."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from documents.typed import Outcome, Page, check, typed
from simulators import deployments, programs

PAGE = Page("tutorials/operator")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def meant() -> dict[str, str]:
    """Port 8443 of the page is a free one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return {"8443": str(probe.getsockname()[1])}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory, meant: dict[str, str]) -> list[Outcome]:
    folder = tmp_path_factory.mktemp("operator")
    work = folder / "work"
    deployments.deployment(work, Path("release-1"), port=int(meant["8443"]))
    (work / "DEPLOYMENT.toml").unlink()
    deployments.release(work / "release-1", sequence=5, build="one")
    deployments.release(work / "release-2", sequence=6, build="two", mode="other-image")
    deployments.release(work / "release-3", sequence=7, build="three")
    found = re.search(r"```toml file=notary.toml\n(.*?)```", PAGE.text, re.DOTALL)
    assert found
    text = found[1].replace("8443", meant["8443"]).replace('"local"', '"local"\naccelerator = "tcg"')
    (work / "notary.toml").write_text(text)
    programs.program(folder / "bin", "pluto-deploy", programs.of("simulators.pretend_tools"))
    more = {"XDG_STATE_HOME": str(folder / "state")}
    return typed(PAGE, work, bin_folder=folder / "bin", words=meant, more=more)


@PAGE.each
def test_a_command_does_what_the_page_says(place: int, outcomes: list[Outcome], meant: dict[str, str]) -> None:
    check(PAGE.commands[place], outcomes[place], meant)
