"""The rules that every page of ours keeps, whichever program made it. For tests alone.

check(html, command=…)    raises AssertionError with what is amiss
"""

from __future__ import annotations

import re
from html import escape
from html.parser import HTMLParser

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
    assert escape(policy(found[1])) in html or policy(found[1]) in html
    foot = html.partition("<footer>")[2]
    assert escape(command) in foot or escape(command, quote=False) in foot or command in foot
