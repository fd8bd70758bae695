"""The rules that every page of ours keeps, whichever program made it. For tests alone.

check(html, command=…)     raises AssertionError with what is amiss
drawn(html, folder, 390)   in headless Chromium, in light and dark; skips where there is none
"""

from __future__ import annotations

import re
import shutil
import subprocess
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pluto_measure.page_kit import STYLE, policy

MOST_BYTES = 300 * 1024
_VOID = {"meta", "br", "img", "input", "wbr"}
_LOADS = {"src", "srcset", "data", "poster", "action", "formaction", "background"}


class _Reader(HTMLParser):
    """Tags, headings and what would be loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[int] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> ends nothing"
        assert self.open.pop() == tag, f"</{tag}> ends something else"


def check(html: str, *, command: str) -> None:
    """One file, in the one style, that loads and runs nothing, with headings in order and the command at its foot."""
    assert len(html.encode()) <= MOST_BYTES
    reader = _Reader()
    reader.feed(html)
    assert reader.open == [], f"left open: {reader.open}"
    names = [tag for tag, _ in reader.tags]
    assert ("html", {"lang": "en"}) in reader.tags
    assert names.count("main") == names.count("h1") == names.count("footer") == 1
    assert not {"script", "iframe", "object", "embed", "link", "form", "base"} & set(names)
    assert reader.headings[0] == 1
    assert all(after <= before + 1 for before, after in zip(reader.headings, reader.headings[1:], strict=False))
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
