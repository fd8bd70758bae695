"""Values as digests with openings: what an opening shows, and what the lack of one hides."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluto_measure.errors import FormatError
from pluto_notary.statement.keccak import keccak256
from pluto_notary.statement.values import (
    LONGEST_ID,
    MOST_VALUES,
    NO_SALT,
    Opening,
    check_ids,
    committed,
    digests,
    revealed,
    value_digest,
)
from simulators.notary.proofs import VALUES, salts

VECTORS = Path(__file__).parents[2] / "vectors/notary/statement"
TEXTS = st.text(max_size=40).filter(lambda text: text.isprintable())


def test_our_vectors() -> None:
    cases = json.loads((VECTORS / "commitments.json").read_text())
    assert len(cases) == 6
    for case in cases:
        salt, digest = bytes.fromhex(case["salt"][2:]), bytes.fromhex(case["digest"][2:])
        assert Opening(case["id"], salt, case["json"]).digest == digest == keccak256(salt + case["json"].encode())
    assert {case["salt"] == f"0x{'00' * 32}" for case in cases} == {True, False}


def test_revealed_values_have_no_salt_and_committed_ones_each_their_own() -> None:
    assert {opening.salt for opening in revealed(VALUES)} == {NO_SALT}
    hidden = committed(VALUES, salts())
    assert len({opening.salt for opening in hidden}) == len(VALUES)
    assert not any(opening.is_revealed for opening in hidden)
    assert {value.digest for value in digests(hidden)} & {value.digest for value in digests(revealed(VALUES))} == set()


def test_equal_values_do_not_show_that_they_are_equal() -> None:
    one, two = digests(committed([("a", b"1"), ("b", b"1")], salts()))
    assert one.digest != two.digest


@given(TEXTS, TEXTS, st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_a_digest_opens_one_way(text: str, other: str, salt: bytes, other_salt: bytes) -> None:
    same = (text, salt) == (other, other_salt)
    assert (value_digest(salt, text.encode()) == value_digest(other_salt, other.encode())) is same


def test_ids_are_few_short_and_told_apart() -> None:
    check_ids(["a", "b", "x" * LONGEST_ID], what="w")
    check_ids((str(number) for number in range(MOST_VALUES)), what="w")
    bad: list[list[str]] = [["a", "a"], [""], ["x" * (LONGEST_ID + 1)], ["\ud800"]]
    for names in [*bad, [str(number) for number in range(MOST_VALUES + 1)]]:
        with pytest.raises(FormatError):
            check_ids(names, what="w")
