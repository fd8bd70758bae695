"""Intel's JSON is read strictly; its quick reader says what the strict one says, also of keys that occur twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pluto_measure.errors import FormatError
from pluto_measure.formats import qe_identity as identities
from pluto_measure.formats import tcb_info as infos
from pluto_measure.formats.intel_json import Taker, members
from pluto_measure.formats.qe_identity import QeIdentity
from pluto_measure.formats.strict_json import loads
from simulators.intel import compact, qe_identity, tcb_info

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


def test_names_say_where_an_error_is() -> None:
    take = Taker(members(b'{"a":{"b":{}}}', what="x", limit=20), "x").object("a")
    with pytest.raises(FormatError, match=r"^x\.a\.b: c is missing$"):
        take.object("b").text("c")


# Both documents


class Document(NamedTuple):
    name: str
    honest: str
    read: Callable[[bytes], object]
    limit: int
    id: str

    def parse(self, text: str | bytes) -> object:
        return self.read(text if isinstance(text, bytes) else text.encode())

    def refused(self, text: str | bytes) -> str:
        with pytest.raises(FormatError) as caught:
            self.parse(text)
        return str(caught.value)


BOTH = [
    Document("TCB info", tcb_info(), infos.TcbInfo.parse, infos.LIMIT, "TDX"),
    Document("QE identity", qe_identity(), QeIdentity.parse, identities.LIMIT, "TD_QE"),
]
both = pytest.mark.parametrize("document", BOTH, ids=lambda document: document.id)


def nested(depth: int, kind: str) -> str:
    """A value that is nested so deep."""
    first, last = {"array": ("[", "]"), "object": ('{"a":', "}")}[kind]
    return first * (depth - 1) + ("[]" if kind == "array" else "{}") + last * (depth - 1)


@both
@pytest.mark.parametrize("kind", ["array", "object"])
def test_nesting_of_32_is_read_and_of_33_refused(document: Document, kind: str) -> None:
    in_whole = document.honest[:-1].replace("%", "%%") + ',"added":%s}'
    in_level = document.honest[:-1].replace('"tcbStatus"', '"added":%s,"tcbStatus"', 1) + "}"
    deep = 2 if document.id == "TD_QE" else 4  # TCB info's first is a level of a module's identity
    honest = document.parse(document.honest)
    assert document.parse(in_whole % nested(31, kind)) == honest
    assert document.parse(in_level % nested(31 - deep, kind)) == honest
    for text in (in_whole % nested(32, kind), in_whole % nested(400, kind), in_level % nested(32 - deep, kind)):
        assert document.refused(text) == f"{document.name}: is nested more than 32 deep"
    assert "not JSON" in document.refused(in_whole % nested(100_000 // len(kind), kind))


@both
def test_brackets_in_text_are_no_nesting(document: Document) -> None:
    text = document.honest[:-1] + ',"added":"' + "[{" * 100 + '\\"\\\\"}'
    assert document.parse(text) == document.parse(document.honest)


VERSION = '"version":'


@both
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('{"id"', '{"id":"other","id"', "key occurs twice"),
        ('{"id"', '{"\\u0069d":"other","id"', "key occurs twice"),
        ('{"isvsvn"', '{"isvsvn":0,"isvsvn"', "key occurs twice"),
        ('{"id"', '{"added":{"x":1,"x":1},"id"', "key occurs twice"),
        (VERSION, '"added":NaN,"version":', "NaN is not JSON"),
        (VERSION, '"added":Infinity,"version":', "Infinity is not JSON"),
        (VERSION, '"added":[-Infinity],"version":', "-Infinity is not JSON"),
        (VERSION, '"version":0', "not JSON"),
        (VERSION, ',"version":', "not JSON"),
        (VERSION, '"version":' + "3" * 5000, "not JSON"),
        (VERSION, "'version':", "not JSON"),
        (VERSION, '"added":"\t","version":', "not JSON"),
        (VERSION, '"added":"\\x","version":', "not JSON"),
        ('{"id"', '\ufeff{"id"', "not JSON"),
        ('{"id"', '{"added":"\\ud800","id"', "holds half of a surrogate pair"),
        ('{"id"', '{"\\udfff":1,"id"', "holds half of a surrogate pair"),
        ('{"id"', '{"added":["\\ude00\\ud83d"],"id"', "holds half of a surrogate pair"),
    ],
)  # fmt: skip
def test_json_is_read_strictly(document: Document, old: str, new: str, message: str) -> None:
    assert document.refused(document.honest.replace(old, new, 1)).startswith(f"{document.name}: {message}")


@both
def test_text_is_utf_8_and_one_object_of_limited_size(document: Document) -> None:
    honest, read = document.honest.encode(), document.parse(document.honest)
    fill = b" " * (document.limit - len(honest))
    assert document.parse(fill + honest) == read
    assert document.parse(b"\r\n\t " + honest + b"\n") == read
    assert f"{document.limit + 1} bytes are more than {document.limit}" in document.refused(fill + b" " + honest)
    for text in (
        document.honest.encode("utf-16"),
        honest[:-1] + b',"added":"\xed\xa0\x80"}',
        honest + b"{}",
        b"",
        b"\0",
    ):
        assert document.refused(text).startswith(f"{document.name}: not JSON")
    assert document.refused(b"[" + honest + b"]") == f"{document.name}: must be an object, not list"
    assert document.refused(b"null") == f"{document.name}: must be an object, not NoneType"


@both
def test_escapes_that_are_text_are_read_and_unknown_members_ignored(document: Document) -> None:
    added = '{"\\u0069d":"T\\u0044' + document.id[2:] + '","added":"\\ud83d\\ude00\\n"'
    assert document.parse(document.honest.replace(f'{{"id":"{document.id}"', added, 1)) == document.parse(
        document.honest
    )
    text = compact(json.loads(document.honest, object_hook=lambda value: {**value, "added": [{"later": 1.5e3}]}))
    assert document.parse(text) == document.parse(document.honest)


@both
@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 700), st.booleans())
def test_any_bytes_are_a_document_or_a_format_error(document: Document, data: bytes, at: int, alone: bool) -> None:
    honest = document.honest.encode()
    text = data if alone else honest[:at] + data[:4] + honest[at + len(data[:2]) :]
    with suppress(FormatError):
        document.parse(text)


@both
def test_every_truncation_is_refused(document: Document) -> None:
    honest = document.honest.encode()
    for size in range(0, len(honest), 1 if len(honest) < 2000 else 7):
        document.refused(honest[:size])
