"""docs/threat-model.md names code, tests and findings that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/threat-model.md").read_text()
TESTS = re.findall(r"`(tests/[\w/.]+)(?:::(\w+))?`", TEXT)
CODE = re.findall(r"`((?:pluto_(?:measure|image|notary|deploy))/[\w/.]+)`", TEXT)
FINDINGS = set(re.findall(r"^\| `([a-z_.]+)` \|", (ROOT / "docs/formats/policy.md").read_text(), re.MULTILINE))


@pytest.mark.parametrize(("path", "name"), TESTS, ids=[name or path for path, name in TESTS])
def test_a_test_that_the_page_names_is_there(path: str, name: str) -> None:
    assert (ROOT / path).exists()
    if name:
        assert re.search(rf"^def {name}\(", (ROOT / path).read_text(), re.MULTILINE)


@pytest.mark.parametrize("path", sorted(set(CODE)))
def test_code_that_the_page_names_is_there(path: str) -> None:
    package = path.partition("/")[0]
    assert (ROOT / package.removeprefix("pluto_") / path).exists()


def test_every_attack_on_the_verifier_names_a_finding_and_a_test() -> None:
    section = TEXT.split("## Somebody deceives the verifier", 1)[1].split("\n## ", 1)[0]
    rows = [line.split(" | ") for line in section.splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 10
    for attack, findings, test in rows:
        named = set(re.findall(r"`([a-z_.]+)`", findings))
        assert named <= FINDINGS, attack
        assert named or findings.startswith("none"), attack
        assert "`tests/" in test, attack
