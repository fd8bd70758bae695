"""The page of `pluto-image inspect --html`: what is inside a build, for people. Pure.

It shows `contents.facts` and decides nothing; the template is inspect.html.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from pluto_image.contents.boot import Step
from pluto_image.contents.facts import Contents
from pluto_image.contents.packages import Part
from pluto_image.pages import render
from pluto_image.pages.treemap import Box, squarify

SECTIONS: Final = (
    ("size", "Size"),
    ("boot", "Boot chain"),
    ("registers", "Registers"),
    ("packages", "Packages"),
    ("services", "Services"),
    ("ports", "Open ports"),
    ("modules", "Kernel modules"),
    ("command-line", "Command line"),
    ("users", "Users"),
)
_WIDE: Final = ("wide", 700, 520)
_NARROW: Final = ("narrow", 366, 480)
_LETTER: Final = 7.2  # mean width of a letter of a label, in units of the drawing


@dataclass(frozen=True, slots=True)
class Tile:
    """One box of the treemap, its numbers as they are written. `label` and `detail` are "" where they do not fit."""

    kind: str
    title: str
    x: str
    y: str
    width: str
    height: str
    text_x: str
    text_y: str
    detail_y: str
    label: str
    detail: str


@dataclass(frozen=True, slots=True)
class Map:
    """One treemap: for wide windows, or for narrow ones."""

    name: str
    width: int
    height: int
    tiles: tuple[Tile, ...]


@dataclass(frozen=True, slots=True)
class Stage:
    """Steps of the boot chain that one program makes."""

    title: str
    steps: tuple[Step, ...]


def page(facts: Contents, *, command: str) -> str:
    """The page. `command` is what made it."""
    services = [unit for unit in facts.units if unit.score is not None]
    total = max(sum(part.size for part in facts.parts), 1)
    shares = [(part, f"{100 * part.size / total:.1f} %") for part in facts.parts if part.size]
    return render.page(
        "inspect.html",
        styles=("inspect.css",),
        facts=facts,
        launch=facts.launch,
        command=command,
        sections=SECTIONS,
        dirty=any(token.text == "pluto.source=dirty" for token in facts.tokens),
        count_packages=sum(one.kind == "package" for one in facts.packages),
        count_services=len(services),
        maps=[treemap(facts.parts, *shape) for shape in (_WIDE, _NARROW)],
        shares=[{"name": _name(part), "size": part.size, "share": share} for part, share in shares],
        stages=[Stage(title, tuple(steps)) for title, steps in groupby(facts.chain, lambda step: step.stage)],
        services=services,
        others=[unit for unit in facts.units if unit.score is None],
        network=[one for one in facts.listeners if one.reach == "network"],
        local=[one for one in facts.listeners if one.reach != "network"],
    )


def treemap(parts: Sequence[Part], name: str, width: int, height: int) -> Map:
    """The treemap of all parts that have a size, in the order given."""
    shown = [part for part in parts if part.size]
    boxes = squarify([part.size for part in shown], Box(0, 0, width, height))
    return Map(name, width, height, tuple(_tile(part, box) for part, box in zip(shown, boxes, strict=True)))


def _tile(part: Part, box: Box) -> Tile:
    room = int((box.width - 10) / _LETTER)
    title = f"{_name(part)}: {render.size(part.size)}"
    if part.byte_code_size:
        title += f", of which {render.size(part.byte_code_size)} are byte code"
    label = _fitting(_name(part), room) if box.height >= 20 else ""
    detail = render.size(part.size) if label and box.height >= 38 and room >= 7 else ""
    return Tile(
        kind=part.kind,
        title=title,
        x=_number(box.x),
        y=_number(box.y),
        width=_number(box.width),
        height=_number(box.height),
        text_x=_number(box.x + 5),
        text_y=_number(box.y + 15),
        detail_y=_number(box.y + 30),
        label=label,
        detail=detail,
    )


def _fitting(text: str, room: int) -> str:
    """The text, or its beginning with a mark; nothing where hardly anything would be left."""
    if len(text) <= room:
        return text
    return f"{text[: room - 1]}…" if room >= 5 else ""


def _name(part: Part) -> str:
    return part.name if part.kind in ("package", "kernel") else f"{part.kind}: {part.name}"


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
