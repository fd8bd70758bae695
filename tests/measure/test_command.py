"""Words that all commands share."""

from __future__ import annotations

import pytest

from pluto_measure.command import counted


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 uncommitted files"), (1, "1 uncommitted file"), (2, "2 uncommitted files")]
)
def test_one_thing_is_named_in_the_singular(number: int, text: str) -> None:
    assert counted(number, "uncommitted file") == text
