"""The page of an audit: true, small, well-formed, of use without eyes, and nobody's text gets out of its place."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pluto_image.cli import main
from simulators import audited_builds as builds
from simulators.pages import MARKUP, WIDTHS, Parsed, drawn
from simulators.pages import check as check_page

LIMIT = 300_000


def page(folder: Path, more: dict[str, Any], words: str = "") -> str:
    builds.lay(folder / "dist")
    (folder / "tracker.json").write_bytes(builds.tracker(more))
    (folder / "rebuilds.json").write_bytes(builds.rebuilds(("tool", builds.TOOL, "BAD"), ("tool", builds.TOOL, "GOOD")))
    entry = 'cve = "CVE-2026-0002", source = "tool", reason = "nobody calls it", until = 2027-01-01T00:00:00Z'
    (folder / "policy.toml").write_text(builds.POLICY.replace("accepted = []", f"accepted = [{{ {entry} }}]"))
    typed = f"audit dist --tracker tracker.json --policy policy.toml --at {builds.NOW} --fetched-at {builds.FETCHED}"
    main(shlex.split(f"{typed} {words} --html page.html"))
    return (folder / "page.html").read_text()


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


FLAWED = {"tool": {"CVE-2026-0001": builds.fixed("1:2"), "CVE-2026-0002": builds.issue(urgency="medium")}}


def test_the_page_says_what_was_found_and_by_what(tmp_path: Path) -> None:
    html = page(tmp_path, FLAWED, "--rebuilders rebuilds.json --running dist/launch.json")
    words = Parsed(html).words
    for expected in (
        "Refused", "small 1.2, release", "1 refused, 0 let through, 1 accepted by name", "CVE-2026-0001",
        "fixed in 1:2; a newer lock fixes it", "nobody calls it", "usr/lib/libtool.so.1", "yes: somebody else could",
        "what runs by dist/launch.json is affected", "coin 21.0 (Python wheel)", "unused", "2027-01-01",
        f"pluto-image audit dist --tracker tracker.json --fetched-at {builds.FETCHED} --rebuilders rebuilds.json",
    ):  # fmt: skip
        assert expected in words, expected


def test_a_clean_page_says_so_and_the_command_at_its_foot_makes_it_again(tmp_path: Path) -> None:
    first = page(tmp_path, {})
    assert "Accepted" in Parsed(first).words
    command = re.search(r"<footer>.*?<code>(.*?)</code>", first, re.DOTALL)
    assert command
    (tmp_path / "page.html").unlink()
    assert main(shlex.split(command[1])[1:]) == 0
    assert (tmp_path / "page.html").read_text() == first


def test_it_is_well_formed_and_can_be_used_without_eyes(tmp_path: Path) -> None:
    html = page(tmp_path, FLAWED, "--rebuilders rebuilds.json")
    check_page(html, command="pluto-image audit dist --tracker tracker.json")
    parsed = Parsed(html)
    tags = Counter(tag for tag, _ in parsed.tags)
    named = [attributes["id"] for _, attributes in parsed.tags if "id" in attributes]
    assert dict(parsed.tags)["html"] == {"lang": "en"}
    assert tags["h1"] == tags["main"] == tags["title"] == 1
    assert len(named) == len(set(named))
    links = {str(attributes["href"]) for tag, attributes in parsed.tags if tag == "a"}
    assert {link.removeprefix("#") for link in links} <= set(named)
    assert tags["caption"] == tags["table"] > 0
    assert all(attributes.get("scope") for tag, attributes in parsed.tags if tag == "th")
    assert all(attributes.get("aria-label") for tag, attributes in parsed.tags if tag == "nav")
    levels = [int(tag[1]) for tag, _ in parsed.tags if re.fullmatch("h[1-6]", tag)]
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_hostile_text_stays_text_and_nothing_is_loaded(tmp_path: Path) -> None:
    issue = builds.fixed("1:2", nodsa=MARKUP) | {"description": MARKUP, "scope": MARKUP}
    html = page(tmp_path, {"tool": {"CVE-2026-0001": issue}})
    parsed = Parsed(html)
    assert not {tag for tag, _ in parsed.tags} & {"script", "link", "img", "iframe", "form", "object", "base"}
    used = {name for _, attributes in parsed.tags for name in attributes}
    assert not used & {"style", "src", "srcset", "action"}
    assert not any(name.startswith("on") for name in used)
    assert "url(" not in html
    assert "\u202e" not in html
    assert "{{ 7*7 }}" in parsed.words
    assert "49" not in re.sub(r"[0-9a-f]{64}", "", parsed.words.split("Checks")[1])


@pytest.mark.parametrize("description", ["An issue was discovered in a function. " * 30, "<&'\"\u202e" * 100])
def test_it_stays_small_whatever_is_known(tmp_path: Path, description: str) -> None:
    many = {f"CVE-2026-{number}": builds.issue() | {"description": description} for number in range(10_000, 13_000)}
    html = page(tmp_path, {"linux": many, "tool": many, "edk2": many})
    assert len(html.encode()) < LIMIT
    assert "more are not shown here" in html
    assert "3000 of 3000 known refused" in html


@pytest.mark.slow
@pytest.mark.interop
@pytest.mark.parametrize("width", WIDTHS)
def test_chromium_draws_the_page(tmp_path: Path, width: int) -> None:
    drawn(page(tmp_path, FLAWED, "--rebuilders rebuilds.json"), tmp_path, width)
