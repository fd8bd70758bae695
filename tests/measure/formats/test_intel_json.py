"""The quick reader of Intel's JSON says what the strict one says, also of keys that occur twice."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import loads
from pluto_measure.formats.tcb_info import members

KEYS = st.sampled_from(["a", "b", "svn", 'a"', "\\", "ü", ""])
STRINGS = st.text('ab":{}[], \\\nü', max_size=4)
SPACES = st.sampled_from(["", " ", "\n", "\t "])


@st.composite
def texts(draw: st.DrawFn, depth: int = 3) -> str:
    """JSON text whose objects may have a key twice, and spaces where they may stand."""
    space = draw(SPACES)
    kind = draw(st.sampled_from(["number", "string", "word", "array", "object"] if depth else ["number", "string"]))
    if kind == "number":
        return f"{space}{draw(st.integers(-9, 300))}{space}"
    if kind == "string":
        return space + json.dumps(draw(STRINGS), ensure_ascii=draw(st.booleans())) + space
    if kind == "word":
        return draw(st.sampled_from(["true", "null", "1.5", "NaN", "Infinity"]))
    inner = draw(st.lists(texts(depth - 1), max_size=3))
    if kind == "array":
        return "[" + ",".join(inner) + "]"
    return an_object([(draw(KEYS), item) for item in inner], space)


def an_object(items: list[tuple[str, str]], space: str = "") -> str:
    return "{" + ",".join(f"{space}{json.dumps(key, ensure_ascii=False)}{space}:{item}" for key, item in items) + "}"


def said(reader: Any, text: str) -> Any:
    try:
        return reader(text.encode(), what="it", limit=10_000)
    except FormatError as error:
        return str(error)


@given(st.lists(st.tuples(KEYS, texts()), max_size=4).map(an_object))
@example('{"a":1,"a":1}')
@example('{"a":{"b":"c","b":"c"}}')
@example('{"a":[{"b":1},{"c":"","c":[]}],"d":"x"}')
@example('{"a" : "\\"" , "a" : ":"}')
@example('{"a":"b","a":NaN}')
def test_both_say_the_same_of_a_shallow_object(text: str) -> None:
    assert said(members, text) == said(loads, text)


@pytest.mark.parametrize("text", ['{"a":1', "", "{]", '{"a":"\ud800"}', "[" * 100_000, "{" * 9_000])
def test_both_refuse(text: str) -> None:
    data = text.encode("utf-8", "surrogatepass")
    for reader in (members, loads):
        with pytest.raises(FormatError):
            reader(data, what="it", limit=50_000)
