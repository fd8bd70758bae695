"""in-toto statements: one spelling of subjects, nothing unknown, and a round trip of all that is read."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluto_measure.digests import Digests
from pluto_measure.errors import FormatError
from pluto_measure.publish.statement import TYPE, Statement, of
from simulators.releases import schema

A, B = Digests.of(b"a"), Digests.of(b"b")
TEXT = """\
{
  "_type": "https://in-toto.io/Statement/v1",
  "subject": [
    {
      "name": "oci/index.json",
      "digest": {
        "sha256": "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb",
        "sha384": "54a59b9f22b0b80880d8427e548b7c23abd873486e1f035dce9cd697e85175033caa88e6d57bc35efae0b5afd3145f31"
      }
    }
  ],
  "predicateType": "https://example.com/p/v1",
  "predicate": {
    "b": 1,
    "a": null
  }
}
"""

part = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,20}", fullmatch=True)
names = st.lists(part, min_size=1, max_size=3).map("/".join)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


def document(**changes: Any) -> dict[str, Any]:
    subjects = [{"name": name, "digest": digests.to_json()} for name, digests in (("a", A), ("b/c", B))]
    whole = {"_type": TYPE, "subject": subjects, "predicateType": "https://example.com/p/v1", "predicate": {}}
    return {**whole, **changes}


def parse(**changes: Any) -> Statement:
    return Statement.parse(json.dumps(document(**changes)))


def subjects(*named: object) -> list[dict[str, object]]:
    return [{"name": name, "digest": A.to_json()} for name in named]


def test_the_bytes_of_a_statement() -> None:
    """These bytes are what is signed: they do not change with a newer version."""
    statement = of({"oci/index.json": A}, "https://example.com/p/v1", {"b": 1, "a": None})
    assert statement.to_text() == TEXT
    assert Statement.parse(TEXT.encode()) == statement


@given(st.dictionaries(names, st.binary(max_size=4), min_size=1, max_size=5), st.dictionaries(st.text(), json_values))
def test_what_is_written_is_read(files: dict[str, bytes], predicate: dict[str, Any]) -> None:
    statement = of({name: Digests.of(data) for name, data in files.items()}, "https://example.com/p/v1", predicate)
    text = statement.to_text()
    assert Statement.parse(text) == statement
    assert Statement.parse(text).to_text() == text
    for name, data in files.items():
        found = statement.subject(name)
        assert found is not None
        assert found.digests == Digests.of(data)
    assert statement.subject("") is None


ODD_NAMES = [
    "/etc/passwd",
    "../a",
    "a/../b",
    "a/./b",
    "a//b",
    "a/",
    "/",
    ".",
    "..",
    ".hidden",
    "a/.b",
    "a\\b",
    "é",
    "-rf",
    "C:\\a",
    "٣",
    "a:b",
    "*",
]


@pytest.mark.parametrize("name", [*ODD_NAMES, "", "a b", "a\n", "a\0", "a" * 256])
def test_a_name_that_leaves_the_folder_or_is_odd(name: str) -> None:
    with pytest.raises(FormatError, match=r"subject\[0\].*no plain relative path"):
        parse(subject=subjects(name))


def test_names_that_may_occur() -> None:
    listed = ["SHA256SUMS", "a+b_c-d.e", "oci/blobs/sha256/00", "x" * 255]
    assert [one.name for one in parse(subject=subjects(*sorted(listed))).subjects] == sorted(listed)


@pytest.mark.parametrize("names", [("b", "a"), ("a", "a"), ("a", "c", "b"), ("a/b", "a.b"), ("b", "B")])
def test_subjects_stand_in_order_and_once(names: tuple[str, ...]) -> None:
    with pytest.raises(FormatError, match="not sorted by name, or a name occurs twice"):
        parse(subject=subjects(*names))


@pytest.mark.parametrize("number", [0, 10_001])
def test_too_few_and_too_many_subjects(number: int) -> None:
    with pytest.raises(FormatError, match=f"{number} subjects are not between"):
        parse(subject=subjects(*(f"{index:06}" for index in range(number))))


@pytest.mark.parametrize(
    "digest",
    [
        {},
        {"sha256": A.sha256.hex()},
        {"sha384": A.sha384.hex()},
        {"sha512": "00" * 64, **A.to_json()},
        {**A.to_json(), "sha256": A.sha256.hex().upper()},
        {**A.to_json(), "sha256": A.sha256.hex()[:-2]},
        {**A.to_json(), "sha384": A.sha384.hex() + "00"},
        {**A.to_json(), "sha384": ""},
        {**A.to_json(), "sha384": None},
        A.sha384.hex(),
        None,
        [],
    ],
    ids=str,
)
def test_each_subject_has_both_digests_and_no_other(digest: object) -> None:
    """The place in the list is named, wherever it is."""
    with pytest.raises(FormatError, match=r"statement\.subject\[1\]"):
        parse(subject=[*subjects("a"), {"name": "b", "digest": digest}])


@pytest.mark.parametrize(
    "changes",
    [
        {"_type": "https://in-toto.io/Statement/v0.1"},
        {"_type": "https://in-toto.io/Statement/v1/"},
        {"_type": "https://in-toto.io/statement/v1"},
        {"_type": None},
        {"subject": {}},
        {"subject": None},
        {"subject": ["a"]},
        {"subject": [{"name": "a", "digest": A.to_json(), "uri": "x"}]},
        {"subject": [{"digest": A.to_json()}]},
        {"predicateType": None},
        {"predicate": None},
        {"predicate": []},
        {"added": 1},
    ],
    ids=str,
)
def test_what_is_unknown_or_of_another_kind(changes: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        parse(**changes)


@pytest.mark.parametrize("name", ["_type", "subject", "predicateType", "predicate"])
def test_each_member_is_required_and_there_once(name: str) -> None:
    whole = document()
    with pytest.raises(FormatError, match=f"{name} is missing"):
        Statement.parse(json.dumps({other: value for other, value in whole.items() if other != name}))
    twice = json.dumps(whole)[:-1] + f", {json.dumps(name)}: {json.dumps(whole[name])}}}"
    with pytest.raises(FormatError, match=f"key occurs twice: '{name}'"):
        Statement.parse(twice)


@pytest.mark.parametrize(
    "text",
    [
        TEXT.replace('"a": null', '"b": 1'),
        TEXT.replace('"name": "oci/index.json"', '"name": "oci/index.json", "name": "oci/index.json"'),
        TEXT.replace('"sha256"', '"sha256": "", "sha256"'),
        TEXT + "x",
        TEXT + TEXT,
        TEXT.replace("null", "NaN"),
        TEXT.replace("null", "[" * 100_000),
        TEXT.encode("utf-16"),
        b"\xef\xbb\xbf" + TEXT.encode(),
        b"",
        b"[]",
        b"null",
    ],
    ids=range(12),
)
def test_text_that_is_no_strict_json(text: str | bytes) -> None:
    with pytest.raises(FormatError):
        Statement.parse(text)


def test_a_statement_that_is_too_large() -> None:
    with pytest.raises(FormatError, match="bytes are more than"):
        Statement.parse(b" " * (16 * 1024 * 1024 + 1))


def test_the_schema_of_a_release_wants_the_same_of_subjects() -> None:
    whole: Any = schema("release").schema
    part = {**whole["properties"]["subject"], "$defs": whole["$defs"]}
    jsonschema.validate(subjects("a", "b/c"), part)
    for bad in (subjects("../a"), subjects("/a"), [], [{"name": "a", "digest": {"sha256": "00" * 32}}]):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(bad, part)
