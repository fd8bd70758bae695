"""The forms of a release difference: page, Markdown and text bear hostile text, and never grow beyond their limits."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_image.commands import diff
from pluto_image.difference import lines, markdown, whole
from pluto_image.difference.model import (
    Difference,
    FileChange,
    FileState,
    Identity,
    Locked,
    PackageChange,
    ScriptChange,
    SourceChange,
    Value,
)
from pluto_image.difference.outline import chapters
from pluto_image.difference.text import text
from pluto_image.pages.difference import LARGEST, page
from simulators.pages import WIDTHS, Parsed, drawn
from simulators.pages import check as check_page
from simulators.tiny_definition import DEFINITION
from simulators.tiny_releases import Version

COMMAND = "pluto-image diff A B --html page.html"
HOSTILE = "<script>alert(1)</script>|`x`\u202e\x1b[31m{{ 7*7 }}@team #1 https://a.example [l](m) **b**\n## no"
_SIDE = Identity("tiny", "1", "test", 1, "release", "0" * 64, "0" * 64)
_EMPTY = Difference(_SIDE, _SIDE, False, (), (), (), (), None, (), (), (), (), (), (), ())


@pytest.fixture(scope="module")
def found(make: Callable[[Version | None], Path], before: Path) -> Difference:
    text = DEFINITION.replace('"no-kvmclock",', '"no-kvmclock", "quiet",')
    after = make(Version(text=text, scripts={"init": {"postinst": b"#!/bin/sh\nexit 1\n"}}))
    sides = diff.read(before), diff.read(after)
    return whole.difference(*sides, diff._texts([after.parent / "store"], sides[0].lock, sides[1].lock))


def hostile(found: Difference) -> Difference:
    state = FileState("file", "0644", "0:0", 1, "0" * 64, HOSTILE, HOSTILE)
    package = Locked(HOSTILE, HOSTILE, HOSTILE, HOSTILE, 1, "0" * 64)
    script = ScriptChange("postinst", None, "0" * 64, lines.unified(b"", f"````\n{HOSTILE}\n".encode()))
    return replace(
        found,
        before=replace(found.before, name=HOSTILE),
        made_of=(Value(HOSTILE, HOSTILE, None),),
        packages=(PackageChange("image", HOSTILE, package, None, (script,)),),
        files=(FileChange(HOSTILE, state, None, ("content",), lines.of_texts(None, f"{HOSTILE}\n".encode())),),
        sources=(SourceChange(HOSTILE, HOSTILE, None, "0" * 64),),
    )


def huge(found: Difference, count: int = 1500) -> Difference:
    state = FileState("file", "0644", "0:0", 1, "0" * 64, "", "package init 257.1")
    files = tuple(FileChange(f"usr/lib/{at}", state, None, ("content",), ("+x" * 100,) * 300) for at in range(count))
    package = Locked("1", "x", "1", "main", 1, "0" * 64)
    script = ScriptChange("postinst", None, "0" * 64, ("+x" * 100,) * 300)
    packages = tuple(PackageChange("image", f"p{at}", None, package, (script,)) for at in range(count))
    return replace(found, files=files, packages=packages)


def parsed(html: str) -> Parsed:
    """This page breaks no line by a tag."""
    found = Parsed(html)
    assert not found.all("br")
    return found


def test_the_page_says_everything_that_the_outline_says(found: Difference) -> None:
    words = re.sub(r"\s+", " ", parsed(page(found, command=COMMAND)).words)
    for chapter in chapters(found):
        for part in (
            chapter.title,
            chapter.says,
            *(cell for one in chapter.tables for row in one.rows for cell in row),
        ):
            assert re.sub(r"\s+", " ", part).strip() in words, part
    assert "+exit 1" in words
    assert COMMAND in words


def test_a_page_is_well_formed_and_can_be_used_without_eyes(found: Difference) -> None:
    check_page(page(found, command=COMMAND), command=COMMAND)
    seen = parsed(page(found, command=COMMAND))
    tags = Counter(tag for tag, _ in seen.tags)
    named = [attributes["id"] for _, attributes in seen.tags if "id" in attributes]
    assert dict(seen.tags)["html"] == {"lang": "en"}
    assert tags["h1"] == tags["main"] == tags["title"] == 1
    assert len(named) == len(set(named))
    links = {str(attributes["href"]).removeprefix("#") for tag, attributes in seen.tags if tag == "a"}
    assert links <= set(named)
    assert {one.id for one in chapters(found)} <= links
    assert tags["caption"] == tags["table"] > 5
    assert all(attributes.get("scope") for tag, attributes in seen.tags if tag == "th")
    assert all(attributes.get("data-label") for tag, attributes in seen.tags if tag == "td")
    assert all(attributes.get("tabindex") == "0" for tag, attributes in seen.tags if tag == "pre")
    levels = [int(tag[1]) for tag, _ in seen.tags if re.fullmatch("h[1-6]", tag)]
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_hostile_text_stays_text_on_the_page(found: Difference) -> None:
    html = page(hostile(found), command=HOSTILE)
    seen = parsed(html)
    assert not {tag for tag, _ in seen.tags} & {"script", "link", "img", "iframe", "form", "object", "base"}
    assert not {name for _, given in seen.tags for name in given} & {"style", "src", "onclick"}
    assert "<script" not in html
    assert not set("\u202e\x1b") & set(html)
    assert "{{ 7*7 }}" in seen.words


def test_hostile_text_stays_text_in_a_pull_request_and_on_a_terminal(found: Difference) -> None:
    shown = markdown.markdown(hostile(found))
    tables = "\n".join(line for line in shown.splitlines() if line.startswith("|"))
    for line in tables.splitlines():
        spans = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "CODE", line)
        assert not re.search(r"@team|<script|https://|\[l\]|(?<!\\)\*\*", spans), line
        assert len(re.findall(r"(?<!\\)\|", line)) in {4, 5, 6, 7}, "no bar of theirs makes a cell"
    assert not re.search(r"^## no", shown, re.MULTILINE)
    assert not set("\u202e\x1b") & set(shown)
    terminal = text(hostile(found), HOSTILE, HOSTILE)
    assert not set("\u202e\x1b") & set(terminal)
    assert not re.search(r"^## no", terminal, re.MULTILINE)


@given(st.lists(st.text(alphabet="`~x\n #|", max_size=60), max_size=4), st.text(alphabet="`|x ", max_size=30))
@settings(max_examples=100, deadline=None)
def test_no_text_ends_its_own_fence_or_span(given_lines: list[str], value: str) -> None:
    script = lines.unified(b"", "\n".join(given_lines).encode() + b"\n")
    package = PackageChange("image", "p", None, Locked("1", "x", "1", "m", 1, "0" * 64), ())
    changed = replace(package, scripts=(ScriptChange("postinst", None, "0" * 64, script),))
    shown = markdown.markdown(replace(_EMPTY, packages=(changed,))).splitlines()
    at = next(number for number, line in enumerate(shown) if re.fullmatch("`{3,}diff", line))
    fence = shown[at].removesuffix("diff")
    assert [number for number, line in enumerate(shown) if line.strip() == fence and number > at] == [len(shown) - 1]
    span = markdown.code(value)
    run = re.match("`+", span)
    assert run is not None
    inside = span[len(run[0]) : -len(run[0])]
    assert len(run[0]) not in {len(one) for one in re.findall("`+", inside)}
    assert not re.search(r"(?<!\\)\|", span)


def test_forms_stay_within_their_limits_and_say_what_they_leave_out(found: Difference) -> None:
    everything = huge(found)
    html = page(everything, command=COMMAND)
    assert len(html.encode()) <= LARGEST < 300 * 1024
    assert "more, which <code>--json</code> has" in html
    parsed(html)
    shown = markdown.markdown(everything)
    assert len(shown) <= markdown.LARGEST
    assert shown.endswith("has all of it.**\n")
    assert "## Registers by machine" in shown, "tables come before texts"
    terminal = text(everything, "a", "b")
    assert "and 1460 more; --json has them" in terminal
    assert len(terminal) < 150_000


@pytest.mark.parametrize("limit", [300, 1000, 5000, 20_000])
def test_a_text_is_cut_between_its_parts(found: Difference, limit: int) -> None:
    shown = markdown.markdown(found, limit=limit)
    assert len(shown) <= limit
    assert shown.count("\n```") % 2 == 0


def test_a_single_backtick_is_shown_in_two(found: Difference) -> None:
    assert markdown.code("a`b") == "``a`b``"
    assert markdown.code("`a") == "`` `a ``"
    assert markdown.code("") == "`  `"
    assert markdown.escaped("a_b <c> @d #1 http://e") == "a\\_b &lt;c&gt; &#64;d &#35;1 http&#58;//e"


def test_lines_of_texts_are_bounded_and_binary_files_have_none() -> None:
    assert lines.of_texts(b"a\0", b"b") == ()
    assert lines.of_texts(b"\xff", b"b") == ()
    assert lines.of_texts(b"x" * 70_000, b"b") == ()
    assert lines.of_texts(b"x\n" * 5000, b"b") == ()
    found = lines.of_texts(None, b"x\n" * 1000)
    assert (len(found), found[-1]) == (401, "(cut; 601 more lines)")


def test_a_script_of_any_length_is_shown_whole_and_in_no_time() -> None:
    one, two = b"a\n" * 10_000 + b"x\n", b"b\n" * 10_000 + b"x\n"
    found = lines.unified(one, two)
    assert (len(found), found[0]) == (20_003, "@@ too long to be aligned @@")
    assert {found[1], found[-2]} == {"-a", "+b"}
    assert lines.unified(one, one) == ()


@pytest.mark.slow
@pytest.mark.interop
@pytest.mark.parametrize("width", WIDTHS)
def test_chromium_draws_the_page(found: Difference, tmp_path: Path, width: int) -> None:
    drawn(page(found, command=COMMAND), tmp_path, width)
