"""The rules that every page of ours keeps, whichever program made it. For tests alone.

Parsed(html)               the page as a browser sees it; raises AssertionError where it is not well formed
check(html, command=…)     raises AssertionError with what is amiss
drawn(html, folder, 390)   in headless Chromium, in light and dark; skips where there is none
"""

from __future__ import annotations

import re
import shutil
import subprocess
from html import unescape
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from pluto_measure.page_kit import STYLE, policy

MOST_BYTES = 300 * 1024
# Text that would get out of its place: of a title, of the style, of an attribute, of a template.
MARKUP = "</title></style><script>alert(1)</script>\u202e'\"&<img src=x onerror=y>{{ 7*7 }}{% x %}"
HOSTILE = "\"'><script src=//x.example/a.js>alert(1)</script><img src=x onerror=alert(1)></td></style><!--&amp;"
_VOID = {"meta", "br"}  # of the tags that are never closed, those that our pages have
_LOADS = {"src", "srcset", "data", "poster", "action", "formaction", "background"}


class Parsed(HTMLParser):
    """The page as a browser sees it: tags in order, and the text. Anything that is not well formed fails here."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self._pieces: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"an attribute twice in {tag}"
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> ends nothing"
        assert self.open.pop() == tag, f"</{tag}> ends something else"

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self._pieces.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    @property
    def words(self) -> str:
        """The text as it stands."""
        return "".join(self._pieces)

    @property
    def text(self) -> str:
        """The text with one space between all words, and between what stands in two places."""
        return re.sub(r"\s+", " ", " ".join(self._pieces))

    @property
    def headings(self) -> list[int]:
        return [int(tag[1]) for tag, _ in self.tags if re.fullmatch(r"h[1-6]", tag)]

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


def sound(parsed: Parsed) -> Parsed:
    """What holds of every page, whatever it is about."""
    assert {tag for tag, _ in parsed.tags} <= {
        *(
            "html",
            "head",
            "meta",
            "title",
            "style",
            "body",
            "header",
            "main",
            "section",
            "footer",
            "h1",
            "h2",
            "h3",
            "p",
        ),
        *("span", "strong", "a", "code", "pre", "br", "ul", "ol", "li", "dl", "dt", "dd", "details", "summary", "div"),
        *("table", "thead", "tbody", "tr", "th", "td"),
    }
    levels = [int(tag[1]) for tag, _ in parsed.tags if tag in ("h1", "h2", "h3")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    names = [attributes["id"] for _, attributes in parsed.tags if "id" in attributes]
    assert len(set(names)) == len(names)
    for _, attributes in parsed.tags:
        assert not {"src", "style", "srcset", "action", "background"} & set(attributes)
        assert not [name for name in attributes if name.startswith("on")]
        if "href" in attributes:
            assert attributes["href"].removeprefix("#") in names
    assert parsed.all("html") == [{"lang": "en"}]
    return parsed


def check(html: str, *, command: str) -> None:
    """One file, in the one style, that loads and runs nothing, with headings in order and the command at its foot."""
    assert len(html.encode()) <= MOST_BYTES
    reader = Parsed(html)
    names = [tag for tag, _ in reader.tags]
    assert ("html", {"lang": "en"}) in reader.tags
    assert names.count("main") == names.count("h1") == names.count("footer") == 1
    assert not {"script", "iframe", "object", "embed", "link", "form", "base"} & set(names)
    assert reader.headings[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(reader.headings))
    for tag, attributes in reader.tags:
        assert not _LOADS & attributes.keys(), f"{tag} loads something"
        assert not any(name.startswith("on") or name == "style" for name in attributes), f"{tag} acts"
        assert tag != "a" or re.match(r"#|https?://", attributes.get("href") or "")
        assert tag != "th" or attributes.get("scope") in ("col", "row"), "a head of a table says of what it is"
    found = re.search(r"<style>(.*?)</style>", html, re.DOTALL)
    assert found
    assert found[1].startswith(STYLE)
    assert policy(found[1]) in unescape(html)
    assert command in unescape(html.partition("<footer>")[2])


WIDTHS = (390, 1280)  # a phone, a desk
# Says how wide the page is that it holds, and how wide the window.
_FRAME = """<!DOCTYPE html><body style="margin:0">
<iframe id=page src=page.html style="border:0;width:{width}px;height:900px"></iframe><p id=said></p>
<script>page.onload = () => {{ const seen = page.contentDocument.scrollingElement;
said.textContent = `page ${{seen.scrollWidth}} window ${{seen.clientWidth}}` }}</script>
"""


def drawn(html: str, folder: Path, width: int) -> None:
    """Chromium draws it, within its own policy, and nothing of it stands beside the window."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("no peer: chromium")
    (folder / "page.html").write_text(html, encoding="utf-8")
    (folder / "frame.html").write_text(_FRAME.format(width=width))
    words = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    words += ["--allow-file-access-from-files", f"--user-data-dir={folder / 'profile'}"]
    picture = folder / "page.png"
    for scheme in ("0", "1"):
        how = [f"--blink-settings=preferredColorScheme={scheme}", f"--window-size={width},900"]
        done = _run([*words, "--hide-scrollbars", *how, f"--screenshot={picture}", (folder / "page.html").as_uri()])
        assert picture.is_file(), done.stderr[-2000:]
        assert picture.stat().st_size > 10_000, "the page is not empty"
        assert "Content Security Policy" not in done.stderr, "the page keeps its own policy"
    done = _run([*words, "--virtual-time-budget=2000", "--dump-dom", (folder / "frame.html").as_uri()])
    said = re.search(r"page (\d+) window (\d+)", done.stdout)
    assert said, done.stderr[-2000:]
    assert int(said[1]) <= int(said[2]), f"the page is {said[1]} wide in a window of {said[2]}"


def _run(words: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
