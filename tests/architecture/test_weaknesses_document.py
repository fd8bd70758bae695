"""docs/weaknesses.md: every weakness has its row, and each row names the files with the tests of its number."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROWS = {
    int(number): set(re.findall(r"`(tests/[\w/.]+)`", tests))
    for number, tests in re.findall(r"^\| (\d+) \|.*\| ([^|]+) \|$", (ROOT / "docs/weaknesses.md").read_text(), re.M)
}


def by_number() -> dict[int, set[str]]:
    found: dict[int, set[str]] = defaultdict(set)
    for path in (ROOT / "tests").rglob("test_*.py"):
        for number in re.findall(r"^(?:async )?def test_weakness_(\d\d)_", path.read_text(), re.M):
            found[int(number)].add(str(path.relative_to(ROOT)))
    return found


def test_each_has_its_row() -> None:
    assert sorted(ROWS) == list(range(1, 30))


@pytest.mark.parametrize("number", range(1, 30))
def test_a_row_names_the_files_with_its_tests_and_no_other(number: int) -> None:
    assert ROWS[number] == by_number()[number] != set()
