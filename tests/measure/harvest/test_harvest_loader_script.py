"""The loader script: names in their order, and no other bytes pass."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluto_measure.errors import FormatError
from pluto_measure.harvest.loader_script import allocated
from simulators import harvests
from simulators.harvests import record


def test_blobs_come_in_the_order_of_the_script() -> None:
    assert allocated(harvests.script(("b", "etc/a", "c"))) == ("b", "etc/a", "c")
    assert allocated(b"") == allocated(bytes(256)) == ()


def test_a_name_may_fill_its_field() -> None:
    assert allocated(record(1, b"n" * 56)) == ("n" * 56,)


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        (record(5), "command 5"),
        (record(0xFFFFFFFF), "is not known"),
        (record(0, b"\1"), "not empty"),
        (record(1), "not ASCII"),
        (record(1, b"\xff" + bytes(55)), "not ASCII"),
        (record(1, b"a\0b" + bytes(53)), "not ASCII"),
        (record(1, b"a".ljust(56, b"\0")) * 2, "twice"),
        (record(2)[:-1], "needs 128 bytes"),
    ],
)
def test_other_scripts_are_refused(script: bytes, problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        allocated(script)


@given(st.binary(max_size=400))
def test_any_bytes_are_a_script_or_an_error(data: bytes) -> None:
    try:
        assert len(allocated(data)) <= len(data) // 128
    except FormatError:
        return
