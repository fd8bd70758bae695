"""docs/operations/upgrade.md and incident.md: every command on them works, with the exit code and output shown.

Machines are pretended; everything else is as a reader would type it. Port 8443 of the pages is a free one.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from simulators import audited_builds, deployments, pretend_machine
from simulators.shown_commands import Shown, pattern, program, shown

ROOT = Path(__file__).resolve().parents[2]
PAGES = {name: (ROOT / f"docs/operations/{name}.md").read_text() for name in ("upgrade", "incident")}
CASES = [(page, place, one) for page, text in PAGES.items() for place, one in enumerate(shown(text))]
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
# What became known of a package in the release that serves.
FLAW = {"tool": {"CVE-2026-0001": audited_builds.fixed("1:1.0-1+deb13u3")}}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("openssl") is None or shutil.which("curl") is None, reason="no peer: curl, openssl"
    ),
]


def toml_of_the_page(port: int) -> str:
    found = re.search(r"```toml\n(.*?)```", PAGES["upgrade"], re.DOTALL)
    assert found
    text = found[1].replace("[8443]", f"[{port}]")
    return text.replace('kind = "local"', 'kind = "local"\naccelerator = "tcg"')


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where both pages' commands were run, one after the other: exit code and output of each."""
    folder = tmp_path_factory.mktemp("operations")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = "".join(f"sys.path.insert(0, {path!r})\n" for path in reversed(sys.path) if path)
    program(folder / "bin/pluto-deploy", folder / "bin/pretended.py", f"import sys\n{code}{PLUTO_DEPLOY}")
    path = os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    env = {**os.environ, "PATH": path, "HOME": str(folder)}
    env |= {"PYTHONPATH": os.pathsep.join(sys.path)}
    for page, text in PAGES.items():
        work = folder / page
        deployments.deployment(work, Path("release-1"), port=port)
        (work / "DEPLOYMENT.toml").unlink()
        deployments.release(work / "release-1", sequence=5, build="one", more=audited_builds.files())
        (work / "tracker.json").write_bytes(audited_builds.tracker(FLAW))
        deployments.release(work / "release-2", sequence=6, build="two", mode="other-image")
        deployments.release(work / "release-3", sequence=7, build="three")
        (work / "notary.toml").write_text(toml_of_the_page(port))
        begin = "" if page == "upgrade" else "pluto-deploy apply notary.toml\n"
        again = "pluto-deploy apply notary.toml\n"  # what the page took off comes back for the commands after that
        script = begin
        for place, one in enumerate(shown(text)):
            typed = one.command.replace(":8443", f":{port}")
            to = ">" if re.search(r"> \S+$", typed) else f"> ../{page}{place}.out"
            out = "" if to == ">" else to
            script += f"{{ {typed}\n}} {out} 2> ../{page}{place}.err; echo $? > ../{page}{place}.code\n"
            if "destroy notary" in typed and page == "incident":
                script += again
        script += "pluto-deploy destroy notary.toml\n"
        env |= {"XDG_STATE_HOME": str(folder / "state" / page)}
        subprocess.run(["bash", "-uc", script], cwd=work, env=env, check=True, timeout=300, capture_output=True)
    return folder


@pytest.mark.parametrize(("page", "place", "one"), CASES, ids=[f"{page}-{one.command[:50]}" for page, _, one in CASES])
def test_a_command_does_what_the_page_says(page: str, place: int, one: Shown, folder: Path) -> None:
    errors = (folder / f"{page}{place}.err").read_text()
    assert int((folder / f"{page}{place}.code").read_text()) == one.code, errors
    if (out := folder / f"{page}{place}.out").exists() and one.output:
        assert pattern(one.output).fullmatch(out.read_text()), out.read_text()


def test_a_finding_that_the_page_on_incidents_names_is_one() -> None:
    named = set(re.findall(r"`((?:deployment|policy|tcb)\.[a-z_]+)`", PAGES["incident"]))
    known = (ROOT / "docs/formats/policy.md").read_text() + (ROOT / "docs/formats/deployment.md").read_text()
    assert named
    assert all(f"`{name}`" in known for name in named), named
