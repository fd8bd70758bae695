"""Version 1: what it stated and nobody enforced is enforced, and what it did not have is refused."""

from __future__ import annotations

from typing import Any

import pytest

from pluto_measure.errors import FormatError
from pluto_notary.manifest import Violation
from pluto_notary.manifest.version1 import walk
from simulators.notary.manifests import answered, changed, parsed

OLD: dict[str, Any] = {
    "manifestVersion": "1",
    "id": "karma",
    "title": "Points at the example forum",
    "description": "",
    "prepareUrl": "https://forum.example/login",
    "request": {
        "method": "POST",
        "url": "https://forum.example/graph",
        "headers": {"authorization": "Bearer <% token %>"},
        "body": {"name": "<% name %>"},
        "vars": {"token": {"regex": "^[0-9a-f]+$", "length": 8, "type": "hex"}, "name": {"pattern": "^[a-z]{3,20}$"}},
        "extra": {"headers": {"User-Agent": "example", "Content-Type": "application/json"}},
    },
    "response": {
        "status": "200",
        "headers": {"content-type": "application/json"},
        "body": {"json": ["data", "points"]},
    },
}
GIVEN = {"token": "0123abcd", "name": "ada"}


def test_it_is_mapped_to_a_request_with_all_its_headers() -> None:
    manifest = parsed(OLD)
    request = manifest.request(GIVEN)
    assert manifest.version == 1
    assert request.headers == (
        ("authorization", "Bearer 0123abcd"),
        ("content-type", "application/json"),
        ("user-agent", "example"),
    )
    assert request.body == b'{"name":"ada"}'


def test_its_path_becomes_a_value_that_is_shown() -> None:
    manifest = parsed(OLD)
    request = manifest.request(GIVEN)
    exchange = answered(request, b'{"data":{"points":7}}', (("content-type", "application/json"),))
    (value,) = manifest.values(request, exchange)
    assert (value.id, value.type, value.json) == ("json", "number", b"7")


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("token", "0123abc", "8 characters"),
        ("token", "0123abcg", "must be hex"),
        ("token", "0123ABCD", "pattern"),
        ("name", "a", "pattern"),
    ],
)
def test_variables_were_never_checked_and_are_now(name: str, value: str, problem: str) -> None:
    with pytest.raises(Violation, match=problem) as raised:
        parsed(OLD).request({**GIVEN, name: value})
    assert raised.value.path == f"variables.{name}"
    assert value == "a" or value not in str(raised.value)


@pytest.mark.parametrize(
    ("encoding", "good", "bad"),
    [("base64", "aGk=", "aGk"), ("base64url", "-_-_", "+/+/"), ("hex", "0aFF", "0a f"), ("string", "?", None)],
)
def test_types_of_variables(encoding: str, good: str, bad: str | None) -> None:
    manifest = parsed(changed(OLD, request__vars__token={"type": encoding}))
    assert manifest.request({**GIVEN, "token": good})
    if bad is not None:
        with pytest.raises(Violation):
            manifest.request({**GIVEN, "token": bad})


@pytest.mark.parametrize(
    ("member", "value", "path"),
    [
        ("request__extra", {"cookies": {}}, "manifest.request.extra.cookies"),
        ("request__extra", {"headers": {"authorization": "x"}}, "manifest.request.headers.authorization"),
        ("request__vars__token", {"type": "uuid"}, "manifest.request.vars.token.type"),
        ("request__vars__token", {"length": -1}, "manifest.request.vars.token.length"),
        ("response__body__json", ["a", 1.5], "manifest.response.body.json[1]"),
        ("response__body__json", ["a", -1], "manifest.response.body.json[1]"),
        ("response__body__json", ["a", True], "manifest.response.body.json[1]"),
        ("response__body__json", ["a"] * 101, "manifest.response.body.json"),
        ("response__body__contains", "x", "manifest.response.body.contains"),
        ("response__headers", {"content-type": "text/html"}, "manifest.response.headers"),
    ],
)
def test_what_it_does_not_have_is_refused(member: str, value: Any, path: str) -> None:
    with pytest.raises(FormatError) as raised:
        parsed(changed(OLD, **{member: value}))
    assert raised.value.what == path


DOCUMENT = {"a": {"b": [10, "x", {"c": None}]}, "n": 9007199254740993, "t": True, "0": "zero"}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (("a", "b", 0), 10), (("a", "b", 0, 10), 10), (("a", "b", 1, "x"), "x"), (("a", "b", 2, "c"), None),
        (("0",), "zero"),        (("n", 9007199254740993), 9007199254740993), (("a",), DOCUMENT["a"]),
    ],
)  # fmt: skip
def test_a_path_ends_at_a_key_an_index_or_a_value(path: tuple[str | int, ...], expected: object) -> None:
    assert walk(DOCUMENT, path) == (True, expected)


@pytest.mark.parametrize(
    "path",
    [
        ("a", "b", 3), ("a", "b", 0, 11), ("a", "b", 1, "y"), ("n", 9007199254740992), ("t", 1), ("a", "b", 0, "10"),
        ("b",),        ("a", "b", 2, "c", 0), (0,), ("a", "b", "0"),
    ],
)  # fmt: skip
def test_a_path_that_leads_to_nothing(path: tuple[str | int, ...]) -> None:
    assert not walk(DOCUMENT, path)[0]
