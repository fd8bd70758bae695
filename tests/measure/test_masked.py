"""Fields of which some bits count: what fits, how they are written, and what is no such field."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields
from pluto_measure.masked import Masked

bits = st.integers(0, 2**64 - 1)


def parse(value: object, mask: object = "0xffff", **more: object) -> Masked:
    return Masked.parse(Fields({"value": value, "mask": mask, **more}, what="xfam"))


@given(bits, bits, bits)
def test_only_the_bits_under_the_mask_count(value: int, mask: int, other: int) -> None:
    masked = Masked(value & mask, mask)
    assert masked.fits(value)
    assert masked.fits((value & mask) | (other & ~mask))
    assert masked.fits(other) == all((value ^ other) >> bit & 1 == 0 for bit in range(64) if mask >> bit & 1)


@given(bits, bits)
def test_what_is_written_is_read(value: int, mask: int) -> None:
    masked = Masked(value & mask, mask)
    assert Masked.parse(Fields(masked.to_json(), what="xfam")) == masked


ODD = ["0x", "3", "0X3", "0x+3", "0x-3", "0x1_0", "0xg", "0x٣", "0b1", "0x10000000000000000", "0x00000000000000000"]


@pytest.mark.parametrize("text", [*ODD, "", " 0x3", "0x3 ", "0x3\n", "0x 3", 3, None, True, ["0x3"]], ids=repr)
def test_only_hex_digits_after_0x(text: object) -> None:
    for values in ((text, "0xffff"), ("0x0", text)):
        with pytest.raises(FormatError):
            parse(*values)


def test_a_value_outside_of_the_mask_would_accept_nothing() -> None:
    with pytest.raises(FormatError, match="value has bits outside mask"):
        parse("0x3", "0x1")
    assert parse("0x1", "0x1").fits(0xFF01)
    assert parse("0xAb", "0xff") == Masked(0xAB, 0xFF)


def test_nothing_else_may_stand_there() -> None:
    with pytest.raises(FormatError, match="unknown member note"):
        parse("0x1", note="x")
    with pytest.raises(FormatError, match="mask is missing"):
        Masked.parse(Fields({"value": "0x1"}, what="xfam"))
