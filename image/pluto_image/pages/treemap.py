"""A squarified treemap: areas in proportion to sizes, as near to squares as they come. Pure.

M. Bruls, K. Huizing, J. van Wijk, "Squarified Treemaps" (2000). Plain arithmetic on IEEE doubles in a fixed order, so
the result is the same everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle; x to the right, y down."""

    x: float
    y: float
    width: float
    height: float

    @property
    def area(self) -> float:
        return self.width * self.height


def squarify(sizes: Sequence[float], box: Box) -> list[Box]:
    """One box for each size, in the order given, which together fill `box`; a size of zero gets an empty one.

    The result is good where sizes descend. ValueError for a negative size, or a box without an area.
    """
    if box.width <= 0 or box.height <= 0 or any(size < 0 for size in sizes):
        raise ValueError("sizes must not be negative, and the box must have an area")
    total = float(sum(sizes))
    found: list[Box] = []
    free, at = box, 0
    while at < len(sizes):
        left = sum(sizes[at:])
        if total == 0 or left == 0:
            return found + [Box(free.x, free.y, 0.0, 0.0)] * (len(sizes) - at)
        scale = free.area / left
        short = min(free.width, free.height)
        count = _row(sizes, at, scale, short)
        boxes, free = _lay(sizes[at : at + count], scale, free, is_last=at + count == len(sizes))
        found += boxes
        at += count
    return found


def _row(sizes: Sequence[float], at: int, scale: float, short: float) -> int:
    """How many sizes make the best row: as many as do not make its worst box longer than it was."""
    best, count = float("inf"), 0
    row = 0.0
    for size in sizes[at:]:
        row += size * scale
        worst = _worst(sizes[at], size, scale, row, short)
        if worst > best:
            break
        best, count = worst, count + 1
    return max(count, 1)


def _worst(largest: float, smallest: float, scale: float, row: float, short: float) -> float:
    """The worst ratio of sides in a row of this area along a side, of which the first box is the largest."""
    if smallest <= 0:
        return float("inf")
    square = short * short
    return max(square * largest * scale / (row * row), row * row / (square * smallest * scale))


def _lay(sizes: Sequence[float], scale: float, free: Box, *, is_last: bool) -> tuple[list[Box], Box]:
    """The boxes of a row along the short side of what is free, and what is free then."""
    area = sum(sizes) * scale
    is_column = free.width >= free.height
    along = free.height if is_column else free.width
    thick = (free.width if is_column else free.height) if is_last else area / along
    boxes: list[Box] = []
    place = 0.0
    for index, size in enumerate(sizes):
        length = along - place if index == len(sizes) - 1 else along * (size * scale / area if area else 0.0)
        if is_column:
            boxes.append(Box(free.x, free.y + place, thick, length))
        else:
            boxes.append(Box(free.x + place, free.y, length, thick))
        place += length
    if is_column:
        return boxes, Box(free.x + thick, free.y, free.width - thick, free.height)
    return boxes, Box(free.x, free.y + thick, free.width, free.height - thick)
