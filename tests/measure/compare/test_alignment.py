"""Alignment: nothing is lost or paired twice, equal items first, and any two lists are done with soon."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluto_measure.compare.alignment import Kinship, Pair, align


def aligned(ours: Sequence[str], theirs: Sequence[str]) -> tuple[Pair, ...]:
    """Of words: equal as they are, alike without case, similar by their first letter; "?" is a key of nothing."""
    keys = [[None if word == "?" else word for word in words] for words in (ours, theirs)]
    return align(
        keys[0],
        keys[1],
        Kinship(
            equal=lambda i, j: ours[i] == theirs[j] or ours[i] == "?",
            like=lambda i, j: ours[i].lower() == theirs[j].lower() or ours[i] == "?",
            similar=lambda i, j: ours[i][0] == theirs[j][0],
        ),
    )


def spelled(ours: str, theirs: str) -> str:
    first, second = ours.split(), theirs.split()
    return " ".join(
        f"{'-' if i is None else first[i]}/{'-' if j is None else second[j]}" for i, j in aligned(first, second)
    )


@pytest.mark.parametrize(
    ("ours", "theirs", "pairs"),
    [
        ("", "", ""),
        ("a b", "a b", "a/a b/b"),
        ("a b c", "a c", "a/a b/- c/c"),
        ("a c", "a b c", "a/a -/b c/c"),
        ("a b c", "a B c", "a/a b/B c/c"),
        ("a b c", "a x c", "a/a b/- -/x c/c"),
        ("a bx c", "a by c", "a/a bx/by c/c"),
        ("a b", "B a", "-/B a/a b/-"),
        ("u c s k", "c s u k", "u/- c/c s/s -/u k/k"),
        ("a ? c", "a x c", "a/a ?/x c/c"),
    ],
)
def test_examples(ours: str, theirs: str, pairs: str) -> None:
    assert spelled(ours, theirs) == pairs


WORDS = st.lists(st.sampled_from(["a", "A", "ab", "b", "B", "c", "?"]), max_size=9)


def check(ours: Sequence[str], theirs: Sequence[str]) -> int:
    """The number of equal pairs. Every position occurs once, in order, and no pair is of strangers."""
    pairs = aligned(ours, theirs)
    assert [i for i, _ in pairs if i is not None] == list(range(len(ours)))
    assert [j for _, j in pairs if j is not None] == list(range(len(theirs)))
    both = [(ours[i], theirs[j]) for i, j in pairs if i is not None and j is not None]
    assert all(a == "?" or a[0].lower() == b[0].lower() for a, b in both)
    return sum(a in (b, "?") for a, b in both)


@given(WORDS, WORDS)
def test_nothing_is_lost_and_as_much_as_can_be_is_equal(ours: list[str], theirs: list[str]) -> None:
    best = [[0] * (len(theirs) + 1) for _ in range(len(ours) + 1)]
    for i, a in enumerate(ours):
        for j, b in enumerate(theirs):
            best[i + 1][j + 1] = best[i][j] + 1 if a in (b, "?") else max(best[i][j + 1], best[i + 1][j])
    assert check(ours, theirs) == best[-1][-1]


@given(WORDS)
def test_a_list_is_aligned_with_itself(words: list[str]) -> None:
    assert aligned(words, words) == tuple((i, i) for i in range(len(words)))


@pytest.mark.parametrize("form", ["shuffled", "changed", "two words", "long gaps", "none in common"])
def test_long_lists_are_aligned_soon_and_nothing_is_lost(form: str) -> None:
    chance = random.Random(form)
    ours = [f"a{n}" for n in range(3000)]
    theirs = {
        "shuffled": lambda: chance.sample(ours, len(ours)),
        "changed": lambda: [word if n % 50 else word.upper() for n, word in enumerate(ours)],
        "two words": lambda: [chance.choice(["a0", "a1"]) for _ in ours],
        "long gaps": lambda: [word if n % 150 == 0 else f"b{n}" for n, word in enumerate(ours)],
        "none in common": lambda: [f"b{n}" for n in range(2500)],
    }[form]()
    if form == "two words":
        ours = [chance.choice(["a0", "a1"]) for _ in ours]
    started = time.perf_counter()
    equal = check(ours, theirs)
    assert time.perf_counter() - started < 5
    assert equal >= {"shuffled": 50, "changed": 2940, "two words": 1000, "long gaps": 20, "none in common": 0}[form]
