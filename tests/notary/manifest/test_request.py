"""What goes out: exactly what the manifest states, with the client's variables in their places and nowhere else."""

from __future__ import annotations

import json
import urllib.parse
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluto_measure.errors import FormatError
from pluto_notary.fetch.limits import FetchLimits
from pluto_notary.fetch.outgoing import prepared
from pluto_notary.manifest import Violation
from pluto_notary.manifest.request import CONNECTION, split_url
from simulators.notary.manifests import BANK, changed, parsed

TOKEN = {"token": "abcd1234"}


def sending(body: Any, content_type: Any = "application/json", **variables: Any) -> dict[str, Any]:
    headers = {} if content_type is None else {"Content-Type": content_type}
    return changed(BANK, request__method="POST", request__headers=headers, request__body=body, request__vars=variables)


def test_it_is_exactly_what_the_manifest_states() -> None:
    request = parsed(BANK).request(TOKEN)
    assert (request.method, request.url) == ("GET", "https://api.bank.example/v1/accounts?limit=2")
    assert request.headers == (("accept", "application/json"), ("authorization", "Bearer abcd1234"))
    assert request.body == b""


def test_fetch_takes_whatever_a_manifest_can_state() -> None:
    headers = {"Host": "api.bank.example", "Connection": "close", "Accept-Encoding": "identity", "X": "<% token %>"}
    sent = prepared(parsed(changed(BANK, request__headers=headers)).request(TOKEN), FetchLimits())
    assert dict(sent.headers)["x"] == "abcd1234"
    assert "host" not in dict(sent.headers)


@pytest.mark.parametrize("name", sorted(CONNECTION))
def test_what_fetch_would_refuse_is_refused_when_the_manifest_is_read(name: str) -> None:
    with pytest.raises(FormatError):
        parsed(changed(BANK, request__headers={name: "x", "a": "<% token %>"}))


def test_a_json_body_is_canonical_and_variables_stay_texts() -> None:
    body = {"z": 1.50, "a": ["<% v %>", "x<%v%>y"], "n": None}
    given = {"v": '","admin":true,"x":"'}
    sent = parsed(sending(body, v={})).request(given).body
    assert (
        sent == json.dumps({"a": [given["v"], f"x{given['v']}y"], "n": None, "z": 1.5}, separators=(",", ":")).encode()
    )


@pytest.mark.parametrize("content_type", [None, "application/json; charset=utf-8", "application/vnd.x+json"])
def test_a_body_is_json_unless_its_type_says_otherwise(content_type: str | None) -> None:
    assert parsed(sending("<% v %>", content_type, v={})).request({"v": 'a"b'}).body == b'"a\\"b"'


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_a_variable_of_a_form_ends_neither_its_value_nor_its_name(text: str) -> None:
    manifest = parsed(sending("user=<% v %>&amount=5", "application/x-www-form-urlencoded", v={}))
    sent = manifest.request({"v": text}).body.decode()
    assert urllib.parse.parse_qsl(sent, keep_blank_values=True, strict_parsing=True) == [
        ("user", text),
        ("amount", "5"),
    ]


def test_a_body_of_text_is_sent_as_it_is() -> None:
    assert parsed(sending("a=1 & b\n", "text/plain")).request({}).body == b"a=1 & b\n"
    with pytest.raises(FormatError, match="must be text"):
        parsed(sending({"a": 1}, "text/plain"))


@pytest.mark.parametrize("value", ["a\r\nHost: evil.example", "a\nb", "a\0", "ä", "a" * 9000, " a", "a\t"])
def test_a_variable_does_not_leave_its_header(value: str) -> None:
    manifest = parsed(changed(BANK, request__headers={"X": "<% token %>"}, request__vars={"token": {}}))
    with pytest.raises(Violation) as raised:
        manifest.request({"token": value})
    assert raised.value.path == "manifest.request.headers.x"
    assert value.strip() == "a" or value.strip() not in str(raised.value)


@pytest.mark.parametrize(
    ("variables", "path"),
    [
        ({}, "variables.token"),
        ({"token": "ABCD1234"}, "variables.token"),
        ({"token": "xabcd1234"}, "variables.token"),
        ({**TOKEN, "other": "x"}, "variables.other"),
        ({**TOKEN, "<script>": "x"}, "variables.'<script>'"),
        ({"token": "\ud800"}, "variables.token"),
        ({"token": "a" * 70_000}, "variables.token"),
        ({"token": 12345678}, "variables.token"),
    ],
)
def test_variables_are_the_declared_ones_and_fit(variables: Any, path: str) -> None:
    with pytest.raises(Violation) as raised:
        parsed(BANK).request(variables)
    assert raised.value.path == path


def test_a_variable_that_is_not_required_has_its_default() -> None:
    document = changed(BANK, request__vars={"token": {"required": False, "default": "guest", "pattern": "^[a-z]*$"}})
    assert dict(parsed(document).request({}).headers)["authorization"] == "Bearer guest"
    assert dict(parsed(document).request({"token": "ada"}).headers)["authorization"] == "Bearer ada"
    with pytest.raises(Violation):
        parsed(document).request({"token": "7"})


def test_an_optional_variable_may_be_unused_but_is_checked() -> None:
    manifest = parsed(changed(BANK, request__vars__other={"required": False, "default": "a", "pattern": "^a$"}))
    assert manifest.request(TOKEN) == manifest.request({**TOKEN, "other": "a"})
    with pytest.raises(Violation):
        manifest.request({**TOKEN, "other": "b"})


def test_a_stated_length_is_the_bodys() -> None:
    document = changed(BANK, request__body="<% token %>", request__headers={"content-length": "10"})
    assert parsed(document).request(TOKEN)
    with pytest.raises(Violation) as raised:
        parsed(changed(document, request__headers={"content-length": "11"})).request(TOKEN)
    assert raised.value.path == "manifest.request.headers.content-length"


def test_a_completed_body_is_bounded() -> None:
    names = [f"v{n}" for n in range(20)]
    document = sending([f"<% {name} %>" for name in names], **{name: {} for name in names})
    with pytest.raises(Violation) as raised:
        parsed(document).request(dict.fromkeys(names, "x" * 64_000))
    assert raised.value.path == "manifest.request.body"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://a.example", ("a.example", 443, "/")),
        ("https://A.Example:443/B?c=%2F", ("a.example", 443, "/B?c=%2F")),
        ("https://xn--mnchen-3ya.example:8443?q=[1]", ("xn--mnchen-3ya.example", 8443, "/?q=[1]")),
        ("https://localhost/a/.well-known/..x", ("localhost", 443, "/a/.well-known/..x")),
    ],
)
def test_parts_of_a_url(url: str, expected: tuple[str, int, str]) -> None:
    assert split_url(url, "url") == expected


@pytest.mark.parametrize(
    "rest",
    [
        "", "/", "a.example:0/", "a.example:65536/", "a.example:/", "a.example:08443/", "a_b.example/", "-a.example/",
        "a..example/", "a.example./", "[::1]/", "127.0.0.1/", "1.2.3/", "a.example/%zz", "a.example/é", "ä.example/",
        "a.example/..", "a.example/./b", "a.example/a/%2e.?x", "a.example\\@b.example/", "a.example/\\b",
        "a.example/a\tb", "a.example/?a=<b>", "u:p@a.example/", "a.example#x", "a.example/?x#",
        "a" * 64 + ".example/", "a." * 127 + "example/",
    ],
)  # fmt: skip
def test_a_url_with_a_second_reading_is_refused(rest: str) -> None:
    with pytest.raises(FormatError):
        split_url(f"https://{rest}", "url")
