"""What made two logs differ, in one sentence: the causes of all differences, the one that explains most first. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pluto_measure.compare.explain.scene import Meaning

_MOST_CAUSES: Final = 3
_DECISIVE: Final = 1  # weight of a cause that everything else follows from


@dataclass(frozen=True, slots=True)
class Cause:
    """One sentence, and what to do about it where that is known."""

    text: str
    hint: str | None

    def to_json(self) -> dict[str, object]:
        return {"text": self.text, "hint": self.hint}


def cause_of(meanings: Iterable[Meaning]) -> Cause | None:
    """The likely cause of differences with these meanings; None where there is none.

    What is harmless is a cause only where nothing else is. Where another machine, firmware or boot chain was found, all
    the rest is taken to follow from it.
    """
    ordered = sorted(meanings, key=lambda meaning: meaning.weight)  # stable: the first in the log comes first
    serious = [meaning for meaning in ordered if not meaning.harmless] or ordered
    if not serious:
        return None
    if serious[0].weight <= _DECISIVE:
        serious = [meaning for meaning in serious if meaning.weight <= _DECISIVE]
    causes = list(dict.fromkeys(meaning.cause or meaning.text for meaning in serious))
    text = "; ".join(causes[:_MOST_CAUSES])
    if len(causes) > _MOST_CAUSES:
        text += f"; and {len(causes) - _MOST_CAUSES} more"
    first = next(meaning for meaning in serious if (meaning.cause or meaning.text) == causes[0])
    return Cause(text, first.hint)
