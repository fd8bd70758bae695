"""docs/operations/keys.md: its commands make a key and a trust file that names it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from pluto_measure.publish.trust import Trust
from simulators.shown_commands import program
from tutorials.typed import Page, check, typed

PAGE = Page("operations/keys")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="no peer: openssl"),
]


def test_the_page_makes_a_key_that_a_trust_file_names(tmp_path: Path) -> None:
    work = tmp_path / "work"
    (work / "build").mkdir(parents=True)
    code = "".join(f"sys.path.insert(0, {path!r})\n" for path in reversed(sys.path) if path)
    run = f"import sys\n{code}from pluto_measure.cli import main\nsys.exit(main())"
    program(tmp_path / "bin/pluto-measure", tmp_path / "bin/measure.py", run)
    for one, outcome in zip(PAGE.commands, typed(PAGE, work, bin_folder=tmp_path / "bin"), strict=True):
        check(one, outcome)
    assert [one.name for one in Trust.parse((work / "build/new-trust.toml").read_text()).organisations] == ["me"]
    assert (work / "build/new.pem").stat().st_mode & 0o077 == 0
