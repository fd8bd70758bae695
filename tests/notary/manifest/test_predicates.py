"""Predicates: typed, exact, and failing closed."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluto_notary.manifest.model import Predicate
from pluto_notary.manifest.patterns import Pattern
from pluto_notary.manifest.predicates import same, unmet
from pluto_notary.manifest.response import COMPARISONS
from pluto_notary.manifest.violation import OverworkError, Work

ORDER = ["greaterThan", "lessThan", "greaterThanOrEqual", "lessThanOrEqual"]


def holds(value: Any, kind: str, comparison: str, wanted: Any = None, *, fold: bool = False, **members: Any) -> bool:
    pattern = Pattern(wanted, members.pop("flags", "")) if kind == "regex" else None
    stated = Predicate(kind, comparison, wanted, not fold, pattern, members.pop("nested", None))
    return unmet(value, stated, Work(1_000_000)) is None


def is_(comparison: str, wanted: Any, kind: str = "value", *, fold: bool = False) -> Predicate:
    return Predicate(kind, comparison, wanted, not fold, None, None)


@pytest.mark.parametrize(
    ("value", "comparison", "wanted", "expected"),
    [
        (5, "equal", 5, True),
        (5, "equal", 6, False),
        (5, "notEqual", 6, True),
        (5, "notEqual", 5, False),
        (5, "greaterThan", 4, True),
        (5, "greaterThan", 5, False),
        (5, "lessThan", 6, True),
        (5, "lessThan", 5, False),
        (5, "greaterThanOrEqual", 5, True),
        (5, "greaterThanOrEqual", 6, False),
        (5, "lessThanOrEqual", 5, True),
        (5, "lessThanOrEqual", 4, False),
        (Decimal("0.1"), "lessThan", Decimal("0.10000000000000000001"), True),
        (Decimal("1.5"), "greaterThan", 1, True),
        (2**64 + 1, "equal", 2**64, False),
        (2**64 + 1, "greaterThan", 2**64, True),
        ("b", "greaterThan", "a", True),
        ("a", "greaterThan", "B", True),
        ("\ufb33", "lessThan", "\U0001f600", True),
        ("abc", "contains", "bc", True),
        ("abc", "contains", "BC", False),
        ("abc", "notContains", "x", True),
        ("abc", "notContains", "b", False),
        ("abc", "startsWith", "ab", True),
        ("abc", "startsWith", "b", False),
        ("abc", "endsWith", "bc", True),
        ("abc", "endsWith", "b", False),
        ("abc", "contains", "", True),
        ([1, "a"], "contains", "a", True),
        ([1, "a"], "contains", "1", False),
        ([1, "a"], "notContains", "b", True),
        ([1, True], "contains", True, True),
        ([1], "contains", True, False),
        ([[1], {}], "contains", [1], True),
        (True, "equal", True, True),
        (False, "notEqual", True, True),
        ({"a": 1}, "equal", {"a": 1}, True),
        ([1, 2], "equal", [2, 1], False),
        ([1, 2], "notEqual", [2, 1], True),
    ],
)
def test_values(value: Any, comparison: str, wanted: Any, expected: bool) -> None:
    assert holds(value, "value", comparison, wanted) == expected


@pytest.mark.parametrize("comparison", COMPARISONS["value"])
@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("5", 5),
        (5, "5"),
        (1, True),
        (True, 1),
        (None, 0),
        (None, "x"),
        ({}, []),
        ("a", ["a"]),
        (0, False),
        ("true", True),
    ],
)
def test_a_mismatch_of_types_fails_whatever_is_asked(value: Any, comparison: str, wanted: Any) -> None:
    assert not holds(value, "value", comparison, wanted)


@pytest.mark.parametrize("comparison", ORDER)
@pytest.mark.parametrize("value", [True, None, [1], {"a": 1}])
def test_what_has_no_order_is_in_none(value: Any, comparison: str) -> None:
    assert not holds(value, "value", comparison, value)


@pytest.mark.parametrize(
    ("value", "comparison", "wanted", "expected"),
    [
        ("Straße", "equal", "STRASSE", True),
        ("ABC", "notEqual", "abc", False),
        ("ABC", "contains", "bc", True),
        ("ABC", "notContains", "bc", False),
        ("ABC", "startsWith", "ab", True),
        ("ABC", "endsWith", "bc", True),
        ("a", "lessThan", "B", True),
        (["Admin"], "contains", "admin", True),
        (["Admin"], "notContains", "admin", False),
        ({"Role": "ADMIN"}, "equal", {"Role": "admin"}, True),
        ({"Role": "x"}, "equal", {"role": "x"}, False),
        (["A", ["B"]], "equal", ["a", ["b"]], True),
        (5, "equal", 5, True),
    ],
)
def test_case_is_ignored_everywhere_if_it_is_at_all(value: Any, comparison: str, wanted: Any, expected: bool) -> None:
    assert holds(value, "value", comparison, wanted, fold=True) == expected


def test_case_is_ignored_by_includes_and_string_predicates_too() -> None:
    assert holds(["Admin"], "array", "includes", "ADMIN", fold=True)
    assert not holds(["Admin"], "array", "includes", "ADMIN")
    assert holds("Admin", "string", "startsWith", "aD", fold=True)
    assert not holds("Admin", "string", "startsWith", "aD")


@pytest.mark.parametrize(("value", "length"), [("é😀", 2), ([1, 2, 3], 3), ({"a": 1}, 1), ("", 0)])
def test_lengths_are_of_code_points_items_and_members(value: Any, length: int) -> None:
    assert holds(value, "length", "equal", length)
    assert holds(value, "length", "lessThanOrEqual", length)
    assert holds(value, "length", "notEqual", length + 1)
    assert holds(value, "length", "greaterThan", length - 1)
    assert not holds(value, "length", "lessThan", length)


@pytest.mark.parametrize("value", [5, True, None, Decimal("1.5")])
@pytest.mark.parametrize(
    ("kind", "comparison", "wanted"),
    [
        ("length", "notEqual", 7),
        ("regex", "notContains", "x"),
        ("regex", "notEqual", "x"),
        ("string", "notEqual", "x"),
        ("string", "notContains", "x"),
        ("array", "includes", 5),
    ],
)
def test_what_cannot_be_asked_of_a_value_fails(value: Any, kind: str, comparison: str, wanted: Any) -> None:
    assert not holds(value, kind, comparison, wanted)


def test_a_pattern_is_found_anywhere_or_nowhere() -> None:
    assert holds("xaby", "regex", "equal", "ab")
    assert holds("xaby", "regex", "contains", "AB", flags="i")
    assert holds("xaby", "regex", "notEqual", "ba")
    assert not holds("xaby", "regex", "notContains", "ab")


def test_every_and_some_ask_their_nested_predicate() -> None:
    more = is_("greaterThan", 2)
    assert holds([3, 4], "array", "every", nested=more)
    assert not holds([3, 2], "array", "every", nested=more)
    assert holds([], "array", "every", nested=more)
    assert holds([1, 3], "array", "some", nested=more)
    assert not holds([1, 2], "array", "some", nested=more)
    assert not holds([], "array", "some", nested=more)
    assert not holds([3, "4"], "array", "every", nested=more)
    assert holds(["4", 3], "array", "some", nested=more)
    assert not holds("34", "array", "every", nested=more)


def test_predicates_nest() -> None:
    inner = Predicate("array", "some", None, True, None, is_("equal", "x"))
    assert holds([["x"], ["a", "x"]], "array", "every", nested=inner)
    assert not holds([["x"], ["a"]], "array", "every", nested=inner)
    assert holds([["x"], ["a"]], "array", "some", nested=inner)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=3)
    | st.decimals(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=6,
)
NESTED = st.none() | st.just(is_("equal", 1))
PREDICATES = st.sampled_from([(kind, comparison) for kind, all_ in COMPARISONS.items() for comparison in all_])


@given(JSON, PREDICATES, JSON, st.booleans())
def test_any_value_is_judged_and_never_both_ways(value: Any, asked: tuple[str, str], wanted: Any, fold: bool) -> None:
    kind, comparison = asked
    pattern = Pattern("a") if kind == "regex" else None
    wanted = {"length": 1, "string": "a", "regex": "a"}.get(kind, wanted)
    stated = Predicate(kind, comparison, wanted, not fold, pattern, is_("equal", wanted))
    problem = unmet(value, stated, Work(1_000_000))
    assert problem is None or (len(problem) < 100 and problem.isprintable())
    opposite = {
        "equal": "notEqual",
        "contains": "notContains",
        "greaterThan": "lessThanOrEqual",
        "lessThan": "greaterThanOrEqual",
    }
    if other := opposite.get(comparison):
        contrary = unmet(value, Predicate(kind, other, wanted, not fold, pattern, None), Work(1_000_000))
        assert problem is not None or contrary is not None


@given(JSON, JSON)
def test_equality_is_that_of_json(one: Any, other: Any) -> None:
    assert same(one, one, Work(10_000))
    assert same(one, other, Work(10_000)) == same(other, one, Work(10_000))
    if same(one, other, Work(10_000)):
        assert json.dumps(one, default=str, sort_keys=True).count("true") == json.dumps(other, default=str).count(
            "true"
        )


def test_work_is_bounded() -> None:
    many = [[["x"] * 100] * 100] * 100
    with pytest.raises(OverworkError):
        same(many, many, Work(1000))
    with pytest.raises(OverworkError):
        unmet(many, Predicate("array", "every", None, True, None, is_("contains", 5)), Work(50))
