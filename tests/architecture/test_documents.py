"""Documents for people: short lines, links to headings that are there, and modules by the names that they have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
GENERATED = {ROOT / "docs/measurements.md", *(ROOT / "docs/commands").glob("*.md")}
WRITTEN = [path for path in DOCUMENTS if path not in GENERATED]
WIDTH = 120
LINK_ALONE = re.compile(r"[-*·\s]*\[[^\]]*\]\([^)\s]+\)[.·\s]*")
PACKAGES = {name: ROOT / name.removeprefix("pluto_") / name for name in
            ("pluto_measure", "pluto_image", "pluto_notary", "pluto_deploy")}  # fmt: skip


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def outside_of_code(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their numbers, without what stands in fences, or is indented as code is."""
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced and not line.startswith("    "):
            yield number, line


def too_long(text: str) -> list[int]:
    """Numbers of prose lines over the width; rows of tables and links that stand alone cannot be broken."""
    return [
        number
        for number, line in outside_of_code(text)
        if len(line) > WIDTH and not line.lstrip().startswith("|") and not LINK_ALONE.fullmatch(line)
    ]


def anchors(text: str) -> set[str]:
    """What a link may say behind `#`: headings as forges spell them."""
    found: set[str] = set()
    for _, line in outside_of_code(text):
        if line.startswith("#"):
            plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", line.lstrip("#")).strip().lower()
            name = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
            found.add(name if name not in found else f"{name}-1")
    return found


def is_there(name: str) -> bool:
    """Whether a dotted name is that of a package, a module, or something that a module has."""
    package, *parts = name.split(".")
    place = PACKAGES[package]
    while parts and (place / parts[0]).is_dir():
        place /= parts.pop(0)
    module = place / "__init__.py"
    if parts and (place / f"{parts[0]}.py").is_file():
        module = place / f"{parts.pop(0)}.py"
    return not parts or re.search(rf"\b{parts[0]}\b", module.read_text()) is not None


@pytest.mark.parametrize("path", WRITTEN, ids=shown)
def test_no_line_of_prose_is_longer_than_a_screen_is_wide(path: Path) -> None:
    assert too_long(path.read_text()) == []


def test_what_cannot_be_broken_may_be_longer() -> None:
    word, row, link = "word " * 30, "| cell " * 30, f"- [text](docs/{'x' * 120}.md)"
    assert too_long("\n".join([word, row, link, "```", word, "```", f"    {word}"])) == [1]


def test_the_readme_is_read_in_five_minutes() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


@pytest.mark.parametrize("path", DOCUMENTS, ids=shown)
def test_every_link_into_a_page_leads_to_a_heading(path: Path) -> None:
    text = path.read_text()
    lost = []
    for target, heading in re.findall(r"\]\(([^)#\s]*)#([^)\s]+)\)", text):
        page = path.parent / target if target else path
        if "://" not in target and page.suffix == ".md" and heading not in anchors(page.read_text()):
            lost.append(f"{target}#{heading}")
    assert lost == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=shown)
def test_every_module_that_a_page_names_is_there(path: Path) -> None:
    names = set(re.findall(r"\bpluto_(?:measure|image|notary|deploy)(?:\.\w+)+", path.read_text()))
    assert [name for name in sorted(names) if not is_there(name)] == []


def test_a_module_that_is_not_there_is_noticed() -> None:
    assert is_there("pluto_measure.registers.replay")
    assert is_there("pluto_measure.registers.replay.replay_expected")
    assert is_there("pluto_image.lock")
    assert not is_there("pluto_image.lockfile")
    assert not is_there("pluto_measure.no.such.room")
