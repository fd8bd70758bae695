"""docs/verify.md: every command that it shows works, with the exit code and the output that it shows.

A pretend Intel stands in for the real one: `pluto-measure` trusts its root, `collateral fetch` asks a service of its on
loopback, and `curl` is answered by a trust domain in memory. The rest is as a reader would type it.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pluto_measure.evidence import format_time
from simulators.intel import Authority, collateral, qe_identity, tcb_info
from simulators.pcs_server import serving
from simulators.pretend_curl import domain_at
from simulators.shown_commands import pattern, program, shown
from simulators.trust_domains import REFERENCE

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/verify.md").read_text()
PLUTO_MEASURE = """\
import sys
from pluto_measure.verify import intel_pki
intel_pki.INTEL_ROOTS = frozenset({{bytes.fromhex({root!r})}})
from pluto_measure.cli import main
more = ["--url", {url!r}] if sys.argv[1:3] == ["collateral", "fetch"] else []
sys.exit(main(sys.argv[1:] + more))
"""


COMMANDS = tuple(shown(TEXT))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the page's commands were run: one file with the exit code and one with the output of each."""
    folder = tmp_path_factory.mktemp("verify")
    now = datetime.now(UTC).replace(microsecond=0)
    domain, late = domain_at(now), domain_at(now, platform="OutOfDate")
    report_data = bytes(range(64))
    contents: dict[str, bytes] = {
        "quote.bin": domain.quoted(report_data).quote,
        "late.bin": late.quoted(report_data).quote,
        "ccel.bin": domain.log_bytes(),
        "measurements.json": REFERENCE.to_text().encode(),
        "reportdata.hex": report_data.hex().encode(),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    authority = Authority.make(now=now)
    day_old = now.replace(hour=0, minute=0, second=0)
    early = collateral(
        authority, info=tcb_info(issued=day_old, evaluation=21), identity=qe_identity(issued=day_old, evaluation=21)
    )
    with serving(domain.world.collateral, early) as service:
        code = PLUTO_MEASURE.format(root=hashlib.sha256(authority.root_der).hexdigest(), url=service.url)
        program(folder / "bin/pluto-measure", folder / "bin/under_pretend_intel.py", code)
        stand_in = f"import sys; from simulators.pretend_curl import main; main([{format_time(now)!r}] + sys.argv[1:])"
        program(folder / "bin/curl", folder / "bin/asked_notary.py", stand_in)
        script = "".join(
            f"{{ {one.command}\n}} > {place}.out 2> {place}.err; echo $? > {place}.code\n"
            for place, one in enumerate(COMMANDS)
        )
        path = os.pathsep.join(str(ROOT / part) for part in ("measure", "tests"))
        env = {**os.environ, "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": path}
        subprocess.run(["bash", "-uc", script], cwd=folder, env=env, check=True, timeout=120, capture_output=True)
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
    for words in ("inspect", "collateral fetch", "collateral import", "policy --reference", "verify evidence.json"):
        assert f"pluto-measure {words}" in typed
    assert {one.code for one in COMMANDS} == {0, 5}


def test_a_line_that_is_not_printed_would_be_noticed() -> None:
    assert pattern(("a …", "…", "z")).fullmatch("a b\nc\nd\nz\n")
    assert pattern(("a …", "…", "z")).fullmatch("a b\nz\n")
    assert not pattern(("a …", "z")).fullmatch("a b\nc\nz\n")
