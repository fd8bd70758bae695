"""docs/operations/notary.md: every command on it works, with the exit code and the output that it shows.

A pretend trust domain answers as notary.example, a site of ours as shop.example. All else is as a reader would type it,
with an empty home.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pluto_measure.digests import Digests
from pluto_measure.measurements import measure
from simulators.launches import LAUNCH
from simulators.machines import bare_metal
from simulators.notary import sites, today
from simulators.notary.certificates import Authority
from simulators.shown_commands import pattern, program, shown

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/operations/notary.md").read_text()
COMMANDS = tuple(shown(TEXT))
FILES = dict(re.findall(r"```\w+ file=([\w.]+)\n(.*?)```", TEXT, re.DOTALL))
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
    return {f":{number}": f":{free_port()}" for number in (8443, 9443)}


def meant(text: str, ports: dict[str, str]) -> str:
    for name, value in ports.items():
        for mark in (":", " ", "=", "["):
            text = text.replace(f"{mark}{name[1:]}", f"{mark}{value[1:]}")
    return text


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, ports: dict[str, str]) -> Path:
    """Where the page's commands were run, one after the other: exit code, output and errors of each."""
    folder = tmp_path_factory.mktemp("notary")
    (folder / "home").mkdir()
    for name, content in FILES.items():
        (folder / name).write_text(meant(content, ports))
    authority = Authority()
    page = sites.page(b'{"price": "12.50"}', ("content-type", "application/json"))
    with sites.Site(authority.issue(HOST), page) as site, today.running(authority, {HOST: site}) as notary:
        today.Folder(folder, notary)
        (folder / "other.json").write_text(_other_reference())
        (folder / "roots.pem").write_text(authority.pem)
        places = {**ports, "https://notary.example": f"https://127.0.0.1:{notary.port}"}
        script = ""
        for place, one in enumerate(COMMANDS):
            typed = meant(one.command.replace("https://notary.example", places["https://notary.example"]), ports)
            kept = "" if re.search(r"(?<!2)> \S+", typed) else f"> {place}.out"
            script += f"{{ {typed}\n}} {kept} 2> {place}.err; echo $? > {place}.code\n"
        code = "".join(f"sys.path.insert(0, {path!r})\n" for path in reversed(sys.path) if path)
        command = f"import sys\n{code}from pluto_notary.cli import main\nsys.exit(main())"
        program(folder / "bin/pluto-notary", folder / "bin/run.py", command)
        path = os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent), "/usr/bin", "/bin"])
        env = {"PATH": path, "HOME": str(folder / "home"), "LC_ALL": "C.UTF-8"}
        subprocess.run(["bash", "-uc", script], cwd=folder, env=env, check=True, timeout=120, capture_output=True)
    return folder


def _other_reference() -> str:
    """Reference values of another build."""
    other = dataclasses.replace(LAUNCH, build_id="ab" * 32, handed_initrd=Digests.of(b"other"))
    return measure(other, bare_metal()).to_text()


@pytest.mark.parametrize("place", range(len(COMMANDS)), ids=lambda place: COMMANDS[place].command[:50])
def test_a_command_does_what_the_page_says(place: int, folder: Path, ports: dict[str, str]) -> None:
    one = COMMANDS[place]
    err = (folder / f"{place}.err").read_text()
    out = (folder / f"{place}.out").read_text() if (folder / f"{place}.out").exists() else ""
    assert int((folder / f"{place}.code").read_text()) == one.code, err + out
    assert "Traceback" not in err
    if one.output:
        wanted = tuple(meant(line, ports) for line in one.output)
        assert pattern(wanted).fullmatch(out.rstrip("\n") + "\n"), out


def test_the_home_is_left_empty(folder: Path) -> None:
    assert list((folder / "home").iterdir()) == []


def test_every_command_of_the_program_is_on_the_page() -> None:
    typed = "\n".join(one.command for one in COMMANDS)
    for words in ("prove", "verify-proof", "manifest check", "serve"):
        assert f"pluto-notary {words}" in typed
    assert "`pluto-notary appraise`" in TEXT
