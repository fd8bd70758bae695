"""docs/release.md: every command on it works, with the exit code and the output that it shows.

A tiny project stands in for the notary, under its name; git, openssl and all else is as a reader would type it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from simulators import audited_builds, tiny_project
from simulators.intel import Authority
from simulators.shown_commands import pattern, program, shown
from simulators.trust_domains import TrustDomain

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = tuple(shown((ROOT / "docs/release.md").read_text()))
# What Debian's tracker says of the tiny packages, and what it says later.
NEVER = audited_builds.fixed("0")
UNIMPORTANT = {"init": {"CVE-2026-0002": audited_builds.issue(urgency="unimportant")}}
FLAW = {"init": {"CVE-2026-0001": audited_builds.fixed("257.2")}}
# The quote is of a pretended machine, whose maker this program takes for Intel.
PLUTO_MEASURE = """\
import sys
from pluto_measure.verify import intel_pki
intel_pki.INTEL_ROOTS = frozenset({{bytes.fromhex({root!r})}})
from pluto_measure.cli import main
sys.exit(main(sys.argv[1:]))
"""
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is absent"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the page's commands were run: one file with the exit code and one with the output of each."""
    folder = tmp_path_factory.mktemp("release")
    work = folder / "project"
    work.mkdir()
    tiny_project.lay(work, folder / "cache")
    (work / "quote.bin").write_bytes(TrustDomain().quote())
    for name, more in (("tracker.json", UNIMPORTANT), ("tracker-later.json", FLAW)):
        (work / name).write_bytes(audited_builds.tracker({"systemd-boot-efi": {"CVE-2000-0001": NEVER}} | more))
    tiny_project.commit(work)
    script = "".join(
        f"{{ {one.command}\n}} > ../{place}.out 2> ../{place}.err; echo $? > ../{place}.code\n"
        for place, one in enumerate(COMMANDS)
    )
    code = PLUTO_MEASURE.format(root=hashlib.sha256(Authority.make().root_der).hexdigest())
    program(folder / "bin/pluto-measure", folder / "bin/under_pretend_intel.py", code)
    path = os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    env = {**os.environ, **tiny_project.GIT, "PATH": path, "XDG_CACHE_HOME": str(folder / "cache"), "HOME": str(folder)}
    subprocess.run(["bash", "-uc", script], cwd=work, env=env, check=True, timeout=300, capture_output=True)
    return folder


@pytest.mark.parametrize("place", range(len(COMMANDS)), ids=lambda place: COMMANDS[place].command[:50])
def test_a_command_of_the_page_does_what_the_page_says(place: int, folder: Path) -> None:
    one = COMMANDS[place]
    out, err = ((folder / f"{place}.{kind}").read_text() for kind in ("out", "err"))
    assert int((folder / f"{place}.code").read_text()) == one.code, err + out
    assert "Traceback" not in err
    if one.output:
        assert pattern(one.output).fullmatch(out), out


def test_the_page_shows_what_it_is_for() -> None:
    typed = "\n".join(one.command for one in COMMANDS)
    for words in (
        "pluto-image release",
        "pluto-image attest",
        "pluto-image audit",
        "pluto-measure sign",
        "pluto-measure release",
    ):
        assert words in typed
    assert {one.code for one in COMMANDS} == {0, 4, 5}
