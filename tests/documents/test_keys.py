"""docs/operations/keys.md: its commands make a key and a trust file that names it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from documents.typed import Page, check, typed
from pluto_measure.publish.trust import Trust
from simulators import programs

PAGE = Page("operations/keys")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="no peer: openssl"),
]


def test_the_page_makes_a_key_that_a_trust_file_names(tmp_path: Path) -> None:
    work = tmp_path / "work"
    (work / "build").mkdir(parents=True)
    programs.program(tmp_path / "bin", "pluto-measure", programs.of("pluto_measure.cli"))
    for one, outcome in zip(PAGE.commands, typed(PAGE, work, bin_folder=tmp_path / "bin"), strict=True):
        check(one, outcome)
    assert [one.name for one in Trust.parse((work / "build/new-trust.toml").read_text()).organisations] == ["me"]
    assert (work / "build/new.pem").stat().st_mode & 0o077 == 0
