"""Words that all commands share."""

from __future__ import annotations

import io
import sys

import pytest

from pluto_measure.cli import main
from pluto_measure.command import counted


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 uncommitted files"), (1, "1 uncommitted file"), (2, "2 uncommitted files")]
)
def test_one_thing_is_named_in_the_singular(number: int, text: str) -> None:
    assert counted(number, "uncommitted file") == text


def test_a_terminal_that_cannot_show_a_character_gets_a_question_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", shown)
    assert main(["events", "acpi:tables"]) == 0
    shown.seek(0)
    assert shown.read().startswith("acpi:?\n")


class Full(io.StringIO):
    def flush(self) -> None:
        raise OSError(28, "No space left on device")


def test_output_that_nobody_takes_is_somebody_elses_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", Full())
    assert main(["events"]) == 6
    assert "cannot write to stdout: No space left on device" in capsys.readouterr().err
