"""Progress for people, also where nobody reads it."""

from __future__ import annotations

import io
import sys

import pytest

from pluto_measure.progress import on_stderr


class Gone(io.StringIO):
    def write(self, _: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def test_a_step_is_a_line_with_its_time(capsys: pytest.CaptureFixture[str]) -> None:
    with on_stderr() as progress:
        progress.doing("stopping machine a")
        progress.step("stop machine a")
    assert capsys.readouterr() == ("", "   0.0 s  stop machine a\n")


@pytest.mark.parametrize("stream", [None, Gone()])
def test_that_nobody_reads_it_stops_nothing(stream: io.StringIO | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    done = []
    with on_stderr() as progress:
        progress.doing("one")
        progress.step("one")
        done.append(1)
    assert done
