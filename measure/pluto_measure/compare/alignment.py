"""Which event of one list stands for which of the other, in bounded time for lists that an attacker wrote. Pure.

What is equal is paired first, then what has the same role, then what at least could be the same. Pairs never cross. A
full search (Needleman and Wunsch) is made only between anchors, equal items that both lists have exactly once; where
even that is too much, or too often, equal items are taken greedily in their order.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

# A full search costs the product of both lengths; a log that nobody tampered with has gaps of a few events.
_MOST_CELLS: Final = 40_000  # of one search
_ALL_CELLS: Final = 200_000  # of all searches together
_EQUAL, _LIKE, _SIMILAR = 1_000_000, 1_000, 1

Pair = tuple[int | None, int | None]  # positions in both lists; None where one has nothing
Score = Callable[[int, int], int]


@dataclass(frozen=True, slots=True)
class Kinship:
    """How near two items are: `equal` by what counts, then `like` by role, then `similar`. Positions in both lists."""

    equal: Callable[[int, int], bool]
    like: Callable[[int, int], bool]
    similar: Callable[[int, int], bool]

    def same(self, ours: int, theirs: int) -> bool:
        """Whether a pair could not be better."""
        return self.equal(ours, theirs) and self.like(ours, theirs)

    def score(self, ours: int, theirs: int) -> int:
        """What a pair is worth: no number of pairs of a lower kind outweighs one of a higher."""
        if self.equal(ours, theirs):
            return _EQUAL + _LIKE * self.like(ours, theirs)
        if self.like(ours, theirs):
            return _LIKE
        return _SIMILAR if self.similar(ours, theirs) else 0


def align(ours: Sequence[Hashable | None], theirs: Sequence[Hashable | None], kinship: Kinship) -> tuple[Pair, ...]:
    """Pairs in the order of both lists; every position of both occurs exactly once.

    The lists hold keys: items with the same key are equal. None is a key that says nothing; `kinship` decides then.
    """
    start, shorter = 0, min(len(ours), len(theirs))
    while start < shorter and kinship.same(start, start):
        start += 1
    end = 0
    while end < shorter - start and kinship.same(len(ours) - 1 - end, len(theirs) - 1 - end):
        end += 1
    middle = _Search(ours, theirs, kinship).between((start, len(ours) - end), (start, len(theirs) - end))
    left, right = len(ours) - end, len(theirs) - end
    return (
        *((at, at) for at in range(start)),
        *middle,
        *((left + at, right + at) for at in range(end)),
    )


Span = tuple[int, int]


@dataclass(slots=True)
class _Search:
    """The pairs of what is left when equal ends are set aside, and how much may still be searched for them."""

    ours: Sequence[Hashable | None]
    theirs: Sequence[Hashable | None]
    kinship: Kinship
    cells: int = _ALL_CELLS

    def between(self, our: Span, their: Span) -> Iterator[Pair]:
        """All pairs of both spans, anchors first."""
        anchors = _anchors(self.ours, self.theirs, our, their) if _cells(our, their) > _MOST_CELLS else []
        a, b = our[0], their[0]
        for left, right in anchors:
            yield from self._gap((a, left), (b, right))
            yield left, right
            a, b = left + 1, right + 1
        yield from self._gap((a, our[1]), (b, their[1]))

    def _gap(self, our: Span, their: Span) -> Iterator[Pair]:
        cells = _cells(our, their)
        if cells <= min(_MOST_CELLS, self.cells):
            self.cells -= cells
            return _searched(self.kinship, our, their)
        return _greedy(self.ours, self.theirs, self.kinship, our, their)


def _cells(our: Span, their: Span) -> int:
    return (our[1] - our[0]) * (their[1] - their[0])


def _anchors(
    ours: Sequence[Hashable | None], theirs: Sequence[Hashable | None], our: Span, their: Span
) -> list[tuple[int, int]]:
    """Equal items that both have once, as many of them as are in the same order (patience sorting)."""
    mine, others = _once(ours, our), _once(theirs, their)
    candidates = [(at, others[key]) for key, at in mine.items() if key in others]
    ends: list[int] = []
    chain: list[tuple[int, int]] = []  # index into candidates, and of the link before in the chain
    tops: list[int] = []
    for _, right in candidates:
        place = bisect_left(ends, right)
        chain.append((len(chain), tops[place - 1] if place else -1))
        if place == len(ends):
            ends.append(right)
            tops.append(len(chain) - 1)
        else:
            ends[place], tops[place] = right, len(chain) - 1
    found = []
    at = tops[-1] if tops else -1
    while at >= 0:
        found.append(candidates[at])
        at = chain[at][1]
    return found[::-1]


def _once(keys: Sequence[Hashable | None], span: Span) -> dict[Hashable, int]:
    seen: dict[Hashable, int] = {}
    for at in range(*span):
        key = keys[at]
        if key is not None:
            seen[key] = -1 if key in seen else at
    return {key: at for key, at in seen.items() if at >= 0}


def _searched(kinship: Kinship, our: Span, their: Span) -> Iterator[Pair]:
    """The best alignment of all."""
    rows, columns = our[1] - our[0], their[1] - their[0]
    best = [[0] * (columns + 1) for _ in range(rows + 1)]
    scores = [[kinship.score(our[0] + i, their[0] + j) for j in range(columns)] for i in range(rows)]
    for i in range(rows - 1, -1, -1):
        below, here, score = best[i + 1], best[i], scores[i]
        for j in range(columns - 1, -1, -1):
            value = below[j] if below[j] >= here[j + 1] else here[j + 1]
            if score[j] and below[j + 1] + score[j] >= value:
                value = below[j + 1] + score[j]
            here[j] = value
    i = j = 0
    while i < rows or j < columns:
        if i < rows and j < columns and scores[i][j] and best[i][j] == best[i + 1][j + 1] + scores[i][j]:
            yield our[0] + i, their[0] + j
            i, j = i + 1, j + 1
        elif j == columns or (i < rows and best[i][j] == best[i + 1][j]):
            yield our[0] + i, None
            i += 1
        else:
            yield None, their[0] + j
            j += 1


def _greedy(
    ours: Sequence[Hashable | None], theirs: Sequence[Hashable | None], kinship: Kinship, our: Span, their: Span
) -> Iterator[Pair]:
    """Equal items as they come; between two of them, item by item what is alike."""
    places: dict[Hashable, list[int]] = {}
    for at in range(*their):
        key = theirs[at]
        if key is not None:
            places.setdefault(key, []).append(at)
    a, b = our[0], their[0]
    for at in range(*our):
        key = ours[at]
        found = places.get(key, []) if key is not None else []
        nth = bisect_left(found, b)
        if nth < len(found):
            yield from _side_by_side(kinship, (a, at), (b, found[nth]))
            yield at, found[nth]
            a, b = at + 1, found[nth] + 1
    yield from _side_by_side(kinship, (a, our[1]), (b, their[1]))


def _side_by_side(kinship: Kinship, our: Span, their: Span) -> Iterator[Pair]:
    shorter = min(our[1] - our[0], their[1] - their[0])
    for nth in range(shorter):
        left, right = our[0] + nth, their[0] + nth
        if kinship.score(left, right):
            yield left, right
        else:
            yield left, None
            yield None, right
    for at in range(our[0] + shorter, our[1]):
        yield at, None
    for at in range(their[0] + shorter, their[1]):
        yield None, at
