"""docs/tutorials/verifier.md: a reader who types it gets what it shows, in the folder that make gives him."""

from __future__ import annotations

from pathlib import Path

import pytest

from documents import folders
from documents.typed import Outcome, Page, check, typed

PAGE = Page("tutorials/verifier")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    folder: Path = tmp_path_factory.mktemp("verifier")
    folders.verifier(folder / "work")
    return typed(PAGE, folder / "work", bin_folder=folder / "bin")


@PAGE.each
def test_a_command_does_what_the_page_says(place: int, outcomes: list[Outcome]) -> None:
    check(PAGE.commands[place], outcomes[place])


def test_the_page_ends_in_acceptance_and_in_each_refusal() -> None:
    assert {one.code for one in PAGE.commands} == {0, 4, 5}


def test_the_page_says_of_whom_its_warning_is(outcomes: list[Outcome]) -> None:
    accepted = outcomes[[one.code for one in PAGE.commands].index(0, 4)]
    assert "insecure_root" in accepted.out + accepted.err
    assert "WARNING" in PAGE.text
