"""Records behave as frozen, slotted dataclasses do."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest

from pluto_measure.record import record, replace


@record
class Pair:
    """Two numbers, of which the second is seldom given."""

    first: int
    second: int = 2

    def __post_init__(self) -> None:
        if self.first < 0:
            raise ValueError("negative")

    @property
    def total(self) -> int:
        return self.first + self.second


@dataclasses.dataclass(frozen=True, slots=True)
class Twin:
    first: int
    second: int = 2


def test_values_are_given_by_place_or_by_name_and_defaults_fill_in() -> None:
    assert Pair(1) == Pair(1, 2) == Pair(first=1, second=2) == Pair(1, second=2)
    assert Pair(1).total == 3
    assert Pair.__doc__ == "Two numbers, of which the second is seldom given."


@pytest.mark.parametrize(
    ("values", "named"),
    [((), {}), ((1, 2, 3), {}), ((1,), {"first": 1}), ((1,), {"third": 1}), ((), {"second": 1})],
)
def test_a_constructor_takes_what_a_dataclass_takes(values: tuple[int, ...], named: dict[str, int]) -> None:
    for kind in (Pair, Twin):
        with pytest.raises(TypeError):
            kind(*values, **named)


def test_a_record_is_frozen_and_has_no_place_for_more() -> None:
    pair = Pair(1)
    for name in ("first", "third"):
        with pytest.raises(AttributeError):
            setattr(pair, name, 5)
        with pytest.raises(AttributeError):
            delattr(pair, name)
    assert not hasattr(pair, "__dict__")
    assert pair == Pair(1)


def test_records_compare_hash_and_read_by_value_and_kind() -> None:
    assert len({Pair(1), Pair(1, 2), Pair(2)}) == 2
    others: list[object] = [Twin(1), (1, 2), Pair(2)]
    assert Pair(1) not in others
    assert repr(Pair(1)) == "Pair(first=1, second=2)"
    match Pair(3, 4):
        case Pair(first, second):
            assert (first, second) == (3, 4)


def test_a_record_is_checked_also_when_it_is_replaced_or_copied() -> None:
    assert replace(Pair(1), second=7) == Pair(1, 7)
    with pytest.raises(ValueError, match="negative"):
        replace(Pair(1), first=-1)
    with pytest.raises(TypeError):
        replace(Pair(1), third=1)
    assert copy.deepcopy(Pair(1)) == pickle.loads(pickle.dumps(Pair(1))) == Pair(1)
