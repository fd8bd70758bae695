"""docs/operations/notary.md: every command on it works, with the exit code and the output that it shows.

A pretend trust domain answers as notary.example, a site of ours as shop.example. All else is as a reader would type it,
with an empty home.
"""

from __future__ import annotations

import dataclasses
import re
import shutil
import socket
from pathlib import Path

import pytest

from documents.typed import Outcome, Page, check, meant, typed
from pluto_measure.digests import Digests
from pluto_measure.measurements import measure
from simulators import programs
from simulators.launches import LAUNCH
from simulators.machines import bare_metal
from simulators.notary import sites, today
from simulators.notary.certificates import Authority

PAGE = Page("operations/notary")
FILES = dict(re.findall(r"```\w+ file=([\w.]+)\n(.*?)```", PAGE.text, re.DOTALL))
HOST = "shop.example"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("openssl") is None or shutil.which("curl") is None, reason="no peer: curl, openssl"
    ),
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def ports() -> dict[str, str]:
    """What stands on the page, and what is meant here."""
    free = {number: free_port() for number in (8443, 9443)}
    return {f"{mark}{number}": f"{mark}{port}" for number, port in free.items() for mark in ": =["}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("notary")


@pytest.fixture(scope="module")
def outcomes(folder: Path, ports: dict[str, str]) -> list[Outcome]:
    work = folder / "work"
    work.mkdir()
    for name, content in FILES.items():
        (work / name).write_text(meant(content, ports))
    authority = Authority()
    page = sites.page(b'{"price": "12.50"}', ("content-type", "application/json"))
    with sites.Site(authority.issue(HOST), page) as site, today.running(authority, {HOST: site}) as notary:
        today.Folder(work, notary)
        (work / "other.json").write_text(_other_reference())
        (work / "roots.pem").write_text(authority.pem)
        programs.program(folder / "bin", "pluto-notary", programs.of("pluto_notary.cli"))
        here = {**ports, "https://notary.example": f"https://127.0.0.1:{notary.port}"}
        return typed(PAGE, work, bin_folder=folder / "bin", words=here)


def _other_reference() -> str:
    """Reference values of another build."""
    other = dataclasses.replace(LAUNCH, build_id="ab" * 32, handed_initrd=Digests.of(b"other"))
    return measure(other, bare_metal()).to_text()


@PAGE.each
def test_a_command_does_what_the_page_says(place: int, outcomes: list[Outcome], ports: dict[str, str]) -> None:
    check(PAGE.commands[place], outcomes[place], ports)


@pytest.mark.usefixtures("outcomes")
def test_the_home_is_left_empty(folder: Path) -> None:
    assert list((folder / "home").iterdir()) == []


def test_every_command_of_the_program_is_on_the_page() -> None:
    words = "\n".join(one.command for one in PAGE.commands)
    for command in ("prove", "verify-proof", "manifest check", "serve"):
        assert f"pluto-notary {command}" in words
    assert "`pluto-notary appraise`" in PAGE.text
