"""docs/commands says what the parsers say; `make docs` writes it anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from architecture.command_pages import PAGES, pages


@pytest.mark.parametrize("path", sorted(pages()), ids=lambda path: path.stem)
def test_a_page_is_what_its_parser_gives(path: Path) -> None:
    assert path.read_text() == pages()[path], "run: make docs"


def test_there_is_no_other_page() -> None:
    assert {path for path in PAGES.iterdir() if path.suffix == ".md"} == set(pages())


@pytest.mark.parametrize("path", sorted(pages()), ids=lambda path: path.stem)
def test_every_option_is_explained(path: Path) -> None:
    unexplained = [line for line in pages()[path].splitlines() if line.startswith("| `") and line.endswith("|  |")]
    assert unexplained == []
