"""The canonical form: RFC 8785 as another implementation has it, and exact where that would round."""

from __future__ import annotations

import json
import struct
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluto_measure.errors import FormatError
from pluto_notary.manifest.canonical import InexactError, _write, canonical, number_text
from pluto_notary.manifest.document import JsonLimits, read

LIMITS = JsonLimits(size=1 << 20, depth=64, values=1 << 16)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SCALARS = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT
VALUES = st.recursive(
    SCALARS | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


def exact(value: Any) -> Any:
    """The value as our reader gives it."""
    return read(json.dumps(value).encode(), LIMITS, what="value")


# RFC 8785, appendix B: IEEE 754 bits, and the number as text.
APPENDIX_B = {
    "0000000000000001": "5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308",
    "4340000000000000": "9007199254740992",
    "4430000000000000": "295147905179352830000",
    "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23",
    "44b52d02c7e14af7": "1.0000000000000001e+23",
    "444b1ae4d6e2ef4e": "999999999999999700000",
    "444b1ae4d6e2ef4f": "999999999999999900000",
    "444b1ae4d6e2ef50": "1e+21",
    "3eb0c6f7a0b5ed8c": "9.999999999999997e-7",
    "3eb0c6f7a0b5ed8d": "0.000001",
    "41b3de4355555553": "333333333.3333332",
    "becbf647612f3696": "-0.0000033333333333333333",
    "43143ff3c1cb0959": "1424953923781206.2",
}


@pytest.mark.parametrize(("bits", "text"), APPENDIX_B.items())
def test_doubles_are_written_as_ecmascript_does(bits: str, text: str) -> None:
    (double,) = struct.unpack(">d", bytes.fromhex(bits))
    assert number_text(Decimal(repr(double))) == text


@pytest.mark.parametrize(
    ("spelt", "text"),
    [
        ("-0", "0"), ("1.0", "1"), ("1e2", "100"), ("0.10", "0.1"), ("-1.5e-3", "-0.0015"), ("1E+21", "1e+21"),
        ("9007199254740993", "9007199254740993"), ("-1234567890123456789", "-1234567890123456789"),
        ("0.1000000000000000001", "0.1000000000000000001"), ("12345678901234567890.50", "12345678901234567890.5"),
        ("1000000000000000000000000000001", "1000000000000000000000000000001"),
    ],
)  # fmt: skip
def test_a_number_has_one_spelling_and_loses_nothing(spelt: str, text: str) -> None:
    assert canonical(read(spelt.encode(), LIMITS, what="number")).decode() == text


@given(VALUES)
def test_equal_to_another_implementation_of_rfc_8785(value: Any) -> None:
    rfc8785 = pytest.importorskip("rfc8785", reason="the other implementation of RFC 8785 is not installed")
    assert canonical(exact(value)) == rfc8785.dumps(value)


@given(VALUES | st.dictionaries(st.text(st.characters(max_codepoint=127)), SCALARS, max_size=8))
def test_the_short_way_and_the_long_one_lead_to_the_same(value: Any) -> None:
    pieces: list[str] = []
    _write(exact(value), pieces, exact=False)
    assert canonical(exact(value)) == "".join(pieces).encode()


@given(VALUES)
def test_the_canonical_form_is_its_own(value: Any) -> None:
    once = canonical(exact(value))
    assert canonical(read(once, LIMITS, what="value")) == once


@given(st.dictionaries(TEXT, SCALARS, max_size=8), st.randoms())
def test_the_order_of_members_does_not_matter(members: dict[str, Any], random: Any) -> None:
    names = list(members)
    random.shuffle(names)
    assert canonical({name: members[name] for name in names}) == canonical(members)


def test_names_sort_by_utf_16() -> None:
    """RFC 8785, section 3.2.3: code units, so that U+1F600 comes before U+FB33."""
    names = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\x80", "\xf6"]
    assert list(json.loads(canonical(dict.fromkeys(names, 0)))) == [
        "\r",
        "1",
        "\x80",
        "\xf6",
        "\u20ac",
        "\U0001f600",
        "\ufb33",
    ]


def test_a_number_that_would_be_rounded_is_found_where_it_is() -> None:
    with pytest.raises(InexactError) as raised:
        canonical({"a": [1, {"b": 2**53 + 1}]}, exact=True)
    assert raised.value.path == ["a", 1, "b"]
    assert canonical({"a": 2**53}, exact=True) == b'{"a":9007199254740992}'


@pytest.mark.parametrize(
    "text",
    [
        b"", b"{", b"[1,]", b"01", b"1.", b"+1", b"NaN", b"-Infinity", b'{"a":1,"a":1}', b'"\xff"', b'"\\ud800"',
        b'{"\\udc00":1}', b"[" * 65 + b"]" * 65, b"[" * 100_000, b"1e401", b"1e-401", b"1e99999999999999999999",
        b"0e99999999999999999999", b"1" * 401,
        b'"\n"', b"\xef\xbb\xbf1", b"1 2", b"'a'", b"//\n1",
    ],
)  # fmt: skip
def test_what_is_not_strict_json_is_refused(text: bytes) -> None:
    with pytest.raises(FormatError) as raised:
        read(text, LIMITS, what="answer")
    assert raised.value.what == "answer"


@pytest.mark.parametrize("text", [b"[" * 64 + b"]" * 64, b'"\\ud83d\\ude00"', b"1e400", b" [ 1 ] "])
def test_what_is_strict_json_is_read(text: bytes) -> None:
    assert read(text, LIMITS, what="answer") is not None


def test_size_and_count_are_bounded() -> None:
    for limits in (JsonLimits(5, 9, 99), JsonLimits(99, 9, 2)):
        with pytest.raises(FormatError, match="has more than"):
            read(b"[1,2,3]", limits, what="answer")


@given(st.binary(max_size=64))
def test_any_bytes_are_json_or_a_format_error(data: bytes) -> None:
    try:
        value = read(data, LIMITS, what="answer")
    except FormatError:
        return
    assert canonical(read(canonical(value), LIMITS, what="answer")) == canonical(value)
