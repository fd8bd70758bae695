"""The difference of two releases as JSON: docs/formats/release-difference.md, schemas/release-difference.json. Pure."""

from __future__ import annotations

from pluto_image.contents.document import plain
from pluto_image.difference.model import Difference

VERSION = 1


def document(found: Difference) -> dict[str, object]:
    """All that was found."""
    members: dict[str, object] = plain(found)
    return {"version": VERSION, **members}
