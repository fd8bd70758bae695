"""docs/tutorials/operator.md: a reader who types it gets what it shows. Machines are pretended, all else is real."""

from __future__ import annotations

import re
import socket
import sys
from pathlib import Path

import pytest

from simulators import deployments, pretend_machine
from simulators.shown_commands import program
from tutorials.typed import Outcome, Page, check, typed

PAGE = Page("tutorials/operator")
PLUTO_DEPLOY = f"""\
import os, sys
from pluto_deploy import session
from pluto_image.tools import ToolsTree
class Pretended(ToolsTree):
    def command(self, name, *args):
        return [sys.executable, {str(pretend_machine.__file__)!r}, name, *map(str, args)]
    def environment(self):
        return dict(os.environ)
session.tools_of = lambda *_: Pretended(None)
from pluto_deploy.cli import main
sys.exit(main(sys.argv[1:]))
"""

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
    code = "".join(f"sys.path.insert(0, {path!r})\n" for path in reversed(sys.path) if path)
    program(folder / "bin/pluto-deploy", folder / "bin/pretended.py", f"import sys\n{code}{PLUTO_DEPLOY}")
    more = {"XDG_STATE_HOME": str(folder / "state"), "PYTHONPATH": ":".join(sys.path)}
    return typed(PAGE, work, bin_folder=folder / "bin", meant=meant, more=more)


@pytest.mark.parametrize("place", range(len(PAGE.commands)), ids=lambda place: PAGE.commands[place].command[:50])
def test_a_command_does_what_the_page_says(place: int, outcomes: list[Outcome], meant: dict[str, str]) -> None:
    check(PAGE.commands[place], outcomes[place], meant)
