"""TOML text: bounded, and FormatError for everything that is none."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.errors import FormatError
from pluto_measure.toml import LIMIT, table


def test_text_and_bytes_are_read_alike() -> None:
    assert table("a = 1\n[b]\nc = [2]\n", what="file") == {"a": 1, "b": {"c": [2]}}
    assert table(b"a = 1\n[b]\nc = [2]\n", what="file") == {"a": 1, "b": {"c": [2]}}


@pytest.mark.parametrize(
    "text",
    [b"\xff", b"\xef\xbb\xbfa = 1", "a =", "a = 1\na = 2", "a = " + "[" * 60_000, "a = " + "9" * 5000, "t = 25:00:00"],
    ids=["not UTF-8", "mark", "no value", "twice", "nested", "long number", "no time"],
)
def test_what_is_not_toml_is_refused_by_the_name_of_the_file(text: bytes | str) -> None:
    with pytest.raises(FormatError, match="file: not TOML"):
        table(text, what="file")


def test_a_document_beyond_the_limit_is_refused_unread() -> None:
    assert table(b"#" * LIMIT, what="file") == {}
    with pytest.raises(FormatError, match=f"{LIMIT + 1} bytes are more than {LIMIT}"):
        table(b"#" * (LIMIT + 1), what="file")


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=60), st.text(max_size=60)))
def test_any_bytes_are_a_table_or_a_format_error(data: bytes | str) -> None:
    with contextlib.suppress(FormatError):
        assert isinstance(table(data, what="file"), dict)


@pytest.mark.parametrize("text", ["a" + ".a" * 65 + " = 1", "[a" + ".a" * 65 + "]", "x = {a" + ".a" * 65 + " = 1}"])
def test_long_dotted_keys_are_refused_before_they_take_their_time(text: str) -> None:
    for form in (text, text.encode()):
        with pytest.raises(FormatError, match="file: line 1 has more than 64 dots"):
            table(form, what="file")
