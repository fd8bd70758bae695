"""Whether a predicate holds of a value. Pure.

Comparisons are typed: two values of different kinds are neither equal nor unequal, nor in any order, and the predicate
does not hold. Numbers are compared exactly, texts by code points. Where case is ignored, texts are case-folded, in
whatever they are nested; names of members never are.
"""

from __future__ import annotations

from pluto_notary.manifest.document import kind_of
from pluto_notary.manifest.model import Predicate
from pluto_notary.manifest.violation import Work

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Any


def unmet(value: Any, predicate: Predicate, work: Work) -> str | None:
    """Why a predicate does not hold, in words that quote nothing; None if it holds. OverworkError."""
    judge = {"value": _value, "string": _value, "length": _length, "regex": _regex, "array": _array}[predicate.type]
    verdict = judge(value, predicate, work)
    if verdict is None:
        return f"{predicate.type} {predicate.comparison} cannot be asked of {_named(value)} here"
    return None if verdict else f"{predicate.type} {predicate.comparison} does not hold"


def same(one: Any, other: Any, work: Work, *, fold: bool = False) -> bool:
    """Whether two JSON values are equal: of one kind, numbers exactly, members in any order."""
    work.spend(1)
    if kind_of(one) != kind_of(other):
        return False
    if isinstance(one, str):
        work.text(len(one))
        return bool(one == other or (fold and one.casefold() == other.casefold()))
    if isinstance(one, list):
        return len(one) == len(other) and all(same(a, b, work, fold=fold) for a, b in zip(one, other, strict=True))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name], work, fold=fold) for name in one)
    return bool(one == other)


def _value(value: Any, predicate: Predicate, work: Work) -> bool | None:
    wanted, comparison, fold = predicate.value, predicate.comparison, not predicate.case_sensitive
    negated = comparison in ("notEqual", "notContains")
    if predicate.type == "string" and not isinstance(value, str):
        return None
    if comparison in ("contains", "notContains") and isinstance(value, list):
        return any(same(item, wanted, work, fold=fold) for item in value) != negated
    if kind_of(value) != kind_of(wanted):
        return None
    if comparison in ("equal", "notEqual"):
        return same(value, wanted, work, fold=fold) != negated
    if isinstance(value, str):
        work.text(len(value) + len(wanted))
        one, other = (value.casefold(), wanted.casefold()) if fold else (value, wanted)
        if comparison in ("contains", "notContains"):
            return (other in one) != negated
        if comparison in ("startsWith", "endsWith"):
            return bool(one.startswith(other) if comparison == "startsWith" else one.endswith(other))
        return _ordered(one, other, comparison)
    return _ordered(value, wanted, comparison) if kind_of(value) == "number" else None


def _ordered(one: Any, other: Any, comparison: str) -> bool | None:
    verdicts = {
        "equal": one == other,
        "notEqual": one != other,
        "greaterThan": one > other,
        "lessThan": one < other,
        "greaterThanOrEqual": one >= other,
        "lessThanOrEqual": one <= other,
    }
    return verdicts.get(comparison)


def _length(value: Any, predicate: Predicate, work: Work) -> bool | None:
    """Of a text its code points, of an array its items, of an object its members."""
    work.spend(1)
    return _ordered(len(value), predicate.value, predicate.comparison) if isinstance(value, str | list | dict) else None


def _regex(value: Any, predicate: Predicate, work: Work) -> bool | None:
    assert predicate.pattern is not None, "the manifest's reader compiled it"
    if not isinstance(value, str):
        return None
    return predicate.pattern.is_in(value, work) == (predicate.comparison in ("equal", "contains"))


def _array(value: Any, predicate: Predicate, work: Work) -> bool | None:
    if not isinstance(value, list):
        return None
    if predicate.comparison == "includes":
        return any(same(item, predicate.value, work, fold=not predicate.case_sensitive) for item in value)
    met = (unmet(item, predicate.nested, work) is None for item in value)
    return all(met) if predicate.comparison == "every" else any(met)


def _named(value: Any) -> str:
    kind = kind_of(value)
    return f"an {kind}" if kind[0] in "aeiou" else "null" if kind == "null" else f"a {kind}"
