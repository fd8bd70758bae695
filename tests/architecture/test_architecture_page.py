"""docs/architecture.md names every module, and no module that is not there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/architecture.md"
PACKAGES = ("measure/pluto_measure", "image/pluto_image", "notary/pluto_notary", "deploy/pluto_deploy")


def modules_in_tree() -> set[str]:
    return {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if path.name != "__init__.py" or len(path.read_text().splitlines()) > 12
    }


def modules_on_page() -> set[str]:
    return set(re.findall(r"^\| `([a-z_]+/[\w/]+\.py)` \|", PAGE.read_text(), re.MULTILINE))


def test_the_page_lists_exactly_the_modules_of_the_tree() -> None:
    assert modules_on_page() == modules_in_tree()


def test_the_page_says_of_every_room_what_lies_there() -> None:
    rooms = {
        str(path.parent.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).glob("*/__init__.py")
        if path.parent.name != "commands"
    }
    section = PAGE.read_text().split("\n## Rooms\n", 1)[1].split("\n## ", 1)[0]
    rows = [line.split(" | ")[0] for line in section.splitlines() if line.startswith("| `")]
    assert set(re.findall(r"`([\w/]+)`", " ".join(rows))) == rooms


def test_every_module_says_what_it_is_for() -> None:
    silent = [name for name in sorted(modules_in_tree()) if not (ROOT / name).read_text().startswith(('"""', 'r"""'))]
    assert silent == []


def test_every_place_that_the_page_names_is_there() -> None:
    places = re.findall(r"`((?:image|measure|notary|deploy|tests)/[\w/.-]+)`", PAGE.read_text())
    assert len(places) > 100
    assert [place for place in places if not (ROOT / place).exists()] == []
