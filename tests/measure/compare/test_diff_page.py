"""The page of `pluto-measure diff --html`: the verdict first, then cause, differences and all events; text is text."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from measure.compare.worlds import diff, edited, predicted, written
from pluto_measure.cli import main
from pluto_measure.compare.page import page
from simulators import boot_logs
from simulators.boot_logs import MACHINES
from simulators.edited_logs import change
from simulators.pages import WIDTHS, check, drawn

NAME = next(iter(MACHINES))
HOSTILE = "</td><script src=//x.example></script>\u202e\x1b[2J"


def words(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html.partition("<body>")[2]))


def command(folder: Path, log: Path) -> list[str]:
    return ["diff", str(predicted(folder / "expected.json", NAME)), str(log), "--html", str(folder / "page.html")]


def test_equal_logs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    typed = command(tmp_path, written(tmp_path / "log", boot_logs.machine(NAME)[1]))
    assert main(typed) == 0
    html = (tmp_path / "page.html").read_text()
    check(html, command=shlex.join(["pluto-measure", *typed]))
    assert '<header class="good">' in html
    assert "The same" in words(html)
    assert "✗" not in words(html)
    assert f"wrote {tmp_path / 'page.html'}" in capsys.readouterr().err


def test_a_difference_is_said_with_its_cause_and_its_event_is_marked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = written(tmp_path / "log", edited(NAME, change(NAME, "initrd", b"something else")))
    typed = command(tmp_path, changed)
    code, found = diff(capsys, *typed[1:3])
    assert (code, main(typed)) == (5, 5)
    html = (tmp_path / "page.html").read_text()
    check(html, command=shlex.join(["pluto-measure", *typed]))
    said = words(html)
    assert '<header class="bad">' in html
    assert said.index("Different") < said.index("What differs") < said.index("Event by event")
    assert re.sub(r"\s+", " ", found["first"]["meaning"])[:60] in said.replace("&#x27;", "'").replace("&quot;", '"')
    assert "<details open>" in html


def test_what_a_log_says_is_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found: dict[str, Any] = {
        "equal": False,
        "profile": HOSTILE,
        "cause": {"text": HOSTILE, "hint": HOSTILE},
        "differences": [
            {
                **dict.fromkeys(("register", "role", "meaning", "attack", "kind"), HOSTILE),
                "index": 1,
                "expected": {"description": HOSTILE, "digests": {HOSTILE: HOSTILE}},
                "actual": None,
            }
        ],
        "registers": {HOSTILE: {"equal": None, "differences": 1}},
        "notCompared": [HOSTILE],
    }
    html = page(found, {}, command=HOSTILE, names=(HOSTILE, HOSTILE))
    check(html, command="pluto-measure diff")
    assert "<script" not in html
    assert "\u202e" not in html


def test_no_place_for_the_page_is_said_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diff", "no-such-file", "no-such-file", "--html", str(tmp_path / "none/page.html")]) == 2
    assert "--html" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.interop
@pytest.mark.parametrize("width", WIDTHS)
def test_chromium_draws_the_page(tmp_path: Path, width: int) -> None:
    changed = written(tmp_path / "log", edited(NAME, change(NAME, "initrd", b"something else")))
    assert main(command(tmp_path, changed)) == 5
    drawn((tmp_path / "page.html").read_text(), tmp_path, width)
