"""What changed in the units of two roots: what starts, what is masked, how exposed it is, and its very lines. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pluto_image.contents.services import services
from pluto_image.difference import lines
from pluto_image.difference.model import UnitChange, UnitState
from pluto_image.difference.side import Side
from pluto_image.lint import unit_files
from pluto_image.tree import Entry, Kind

STARTS: Final = "starts at boot"
WAITS: Final = "waits to be asked for"
MASKED: Final = "masked"


def units(before: Side, after: Side) -> tuple[UnitChange, ...]:
    """Units that are new, gone, enabled, disabled, masked, or have other lines, by name."""
    one, two = _states(before), _states(after)
    paths = _paths(before), _paths(after)
    found: list[UnitChange] = []
    for name in sorted({*one, *two}):
        both = sorted({*paths[0].get(name, ()), *paths[1].get(name, ())})
        changed = [path for path in both if _text(before.entries, path) != _text(after.entries, path)]
        if one.get(name) != two.get(name) or changed:
            compared = changed if len(found) < lines.MOST_TEXTS else ()
            shown = tuple(line for path in compared for line in _lines(path, before, after))
            why = after.reasons.units.get(name) or after.reasons.masks.get(name, "")
            found.append(UnitChange(name, one.get(name), two.get(name), tuple(changed), shown, why))
    return tuple(found)


def _states(side: Side) -> dict[str, UnitState]:
    entries = tuple(side.entries.values())
    masked = dict.fromkeys(unit_files.masked(entries), UnitState(MASKED, ""))
    known, _ = services(entries, side.reasons)
    states = {
        one.name: UnitState(STARTS if one.starts else WAITS, "" if one.score is None else one.score.text)
        for one in known
    }
    return states | masked


def _paths(side: Side) -> Mapping[str, tuple[str, ...]]:
    found = unit_files.units(tuple(side.entries.values())).values()
    return {unit.name: (unit.path, *unit.drop_ins) for unit in found}


def _text(entries: Mapping[str, Entry], path: str) -> bytes | None:
    entry = entries.get(path)
    if entry is None or entry.kind is Kind.DIRECTORY:
        return None
    # A link has no lines of its own: what it leads to is another unit's file.
    return entry.data if entry.kind is Kind.FILE else b"(a link to " + entry.data + b")\n"


def _lines(path: str, before: Side, after: Side) -> tuple[str, ...]:
    found = lines.of_texts(_text(before.entries, path), _text(after.entries, path))
    return (f"# {lines.shown(path.encode(errors='replace'))[0]}", *found) if found else ()
