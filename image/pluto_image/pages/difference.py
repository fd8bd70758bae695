"""The page of `pluto-image diff --html`: what changed between two releases, for people. Pure.

It shows the outline and decides nothing but what it has room for; the template is difference.html.
"""

from __future__ import annotations

from typing import Final

from pluto_image.difference.model import Difference
from pluto_image.difference.outline import chapters, headline, identities
from pluto_image.pages import render

LARGEST: Final = 290 * 1024  # bytes of a page
# What is shown of one table and of all texts, tried in turn until the page is small enough: rows, texts, lines of each.
_ROOMS: Final = ((400, 80, 200), (200, 40, 100), (100, 20, 60), (40, 10, 40), (15, 4, 20), (5, 1, 10))


def page(found: Difference, *, command: str) -> str:
    """The page, of at most 290 KiB unless single values are huge. `command` is what made it."""
    html, listed = "", () if found.equal else chapters(found)
    for rows, blocks, lines in _ROOMS:
        html = render.page(
            "difference.html",
            styles=("difference.css",),
            found=found,
            command=command,
            headline=headline(found),
            identities=identities(found),
            chapters=listed,
            most={"rows": rows, "blocks": blocks, "lines": lines},
        )
        if len(html.encode()) <= LARGEST:
            break
    return html
