"""A value from a JSON document. Pure."""

from __future__ import annotations

from pluto_notary.manifest.document import JsonLimits
from pluto_notary.manifest.model import LARGEST_BODY

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Any, Final

LIMITS: Final = JsonLimits(size=LARGEST_BODY["json"], depth=128, values=512 * 1024)


class NotFoundError(Exception):
    """There is no such value. The text says at which step; it quotes nothing."""


def value_at(document: Any, selector: tuple[str, ...]) -> Any:
    """Follow a selector: names of members, and indexes of arrays in decimal. NotFoundError."""
    value = document
    for number, step in enumerate(selector):
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and _is_index(step) and int(step) < len(value):
            value = value[int(step)]
        else:
            raise NotFoundError(f"step {number} of the selector leads to nothing")
    return value


def _is_index(step: str) -> bool:
    """A second spelling of an index, such as 01, is none."""
    return step.isascii() and step.isdigit() and len(step) <= 9 and str(int(step)) == step
