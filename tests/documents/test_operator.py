"""docs/tutorials/operator.md: a reader who types it gets what it shows. Machines and releases are pretended, all else
is real; `make test-boots` types it once in the folder that make gives the reader, with the real ones.
"""

from __future__ import annotations

import re
import socket
import subprocess
from pathlib import Path

import pytest

from documents import folders
from documents.typed import Outcome, Page, check, typed
from pluto_image.inputs.store import default_root
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
    written(work, meant)
    programs.program(folder / "bin", "pluto-deploy", programs.of("simulators.pretend_tools"))
    more = {"XDG_STATE_HOME": str(folder / "state")}
    return typed(PAGE, work, bin_folder=folder / "bin", words=meant, more=more)


def written(work: Path, meant: dict[str, str]) -> None:
    """The file of the page, for another port, and for a computer where KVM does not work."""
    found = re.search(r"```toml file=notary.toml\n(.*?)```", PAGE.text, re.DOTALL)
    assert found
    text = found[1].replace("8443", meant["8443"]).replace('"local"', '"local"\naccelerator = "tcg"')
    (work / "notary.toml").write_text(text)


@PAGE.each
def test_a_command_does_what_the_page_says(place: int, outcomes: list[Outcome], meant: dict[str, str]) -> None:
    check(PAGE.commands[place], outcomes[place], meant)


@pytest.mark.more_boots
def test_the_page_in_the_folder_that_make_gives(tmp_path: Path, meant: dict[str, str]) -> None:
    folders.operator(tmp_path / "work")
    written(tmp_path / "work", meant)
    more = {"XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CACHE_HOME": str(default_root().parent)}
    found = typed(PAGE, tmp_path / "work", bin_folder=tmp_path / "bin", words=meant, more=more)
    for one, outcome in zip(PAGE.commands, found, strict=True):
        check(one, outcome, meant)


@pytest.mark.parametrize("reader", ["operator", "verifier"])
def test_make_gives_the_folder_that_the_page_says(reader: str) -> None:
    page, root = Page(f"tutorials/{reader}"), Path(__file__).resolve().parents[2]
    begin = f'make tutorial-{reader}\nexport PATH="$PWD/.venv/bin:$PATH"\ncd build/tutorial/{reader}\n'
    assert f"```sh\n{begin}```" in page.text
    told = ["make", "--dry-run", "--no-print-directory", f"tutorial-{reader}"]
    done = subprocess.run(told, cwd=root, capture_output=True, text=True, check=True)
    assert f"tests/documents/folders.py {reader} build/tutorial/{reader}" in done.stdout
