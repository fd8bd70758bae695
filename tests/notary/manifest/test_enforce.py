"""Everything that a manifest states is enforced, and nothing but a Violation comes of it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notary.manifest.mutants import mutants
from pluto_measure.errors import FormatError
from pluto_measure.record import replace
from pluto_notary.manifest import OverworkError, Violation
from pluto_notary.web import WebRequest, WebResponse
from simulators.notary.manifests import (
    ACCOUNT_PAGE,
    ACCOUNTS,
    BANK,
    HTML_HEADERS,
    JSON_HEADERS,
    SHOP,
    answered,
    asked,
    asking,
    changed,
    extractor,
    found,
    judged,
    parsed,
    predicate,
)

ACCEPT = ("accept", "application/json")


def violated(document: dict[str, Any], *how: Any, **more: Any) -> str:
    with pytest.raises(Violation) as raised:
        judged(document, *how, **more)
    return str(raised.value.path)


@pytest.mark.parametrize(
    ("tampered", "path"),
    [
        ({"method": "POST"}, "manifest.request.method"),
        ({"host": "evil.example"}, "manifest.request.url"),
        ({"port": 8443}, "manifest.request.url"),
        ({"target": "/v1/accounts?limit=3"}, "manifest.request.url"),
        ({"body": b"x"}, "manifest.request.body"),
        ({"headers": (("accept", "application/json"),)}, "manifest.request.headers.authorization"),
        ({"headers": (ACCEPT, ("authorization", "Bearer abcd1235"))}, "manifest.request.headers.authorization"),
        ({"headers": (("accept", "*/*"), ("authorization", "Bearer abcd1234"))}, "manifest.request.headers.accept"),
    ],
)
def test_a_request_that_was_sent_otherwise_gives_no_values(tampered: dict[str, Any], path: str) -> None:
    manifest = parsed(BANK)
    request = asked(manifest)
    exchange = answered(request, ACCOUNTS)
    assert manifest.values(request, exchange)
    with pytest.raises(Violation) as raised:
        manifest.values(request, replace(exchange, request=replace(exchange.request, **tampered)))
    assert raised.value.path == path


@pytest.mark.parametrize(
    "header",
    [
        ("x-admin", "1"),
        ("cookie", "a=b"),
        ("authorization", "again"),
        ("host", "evil.example"),
        ("content-length", "7"),
    ],
)
def test_a_header_that_the_manifest_does_not_state_gives_no_values(header: tuple[str, str]) -> None:
    manifest = parsed(BANK)
    request = asked(manifest)
    exchange = answered(request, ACCOUNTS)
    sent = replace(exchange.request, headers=(*exchange.request.headers, header))
    with pytest.raises(Violation) as raised:
        manifest.values(request, replace(exchange, request=sent))
    assert raised.value.path == "manifest.request.headers"


def test_a_request_of_another_manifest_gives_no_values() -> None:
    other = parsed(changed(BANK, request__url="https://evil.example/v1/accounts?limit=2"))
    request = asked(other)
    with pytest.raises(Violation):
        parsed(BANK).values(request, answered(request, ACCOUNTS))


def test_headers_that_say_what_is_known_may_be_stated_and_dropped() -> None:
    stated = {"Host": "api.bank.example", "Connection": "close", "X": "<% token %>", "Accept-Encoding": "identity"}
    assert found(changed(BANK, request__headers=stated))["balance"] == 1234.5


@pytest.mark.parametrize(
    ("status", "reason", "version", "fits"),
    [
        (200, "OK", "HTTP/1.1", True),
        (200, "", "HTTP/1.1", True),
        (200, "", "HTTP/2", True),
        (200, "ok", "HTTP/1.1", False),
        (200, "Created", "HTTP/1.1", False),
        (201, "Created", "HTTP/1.1", False),
        (404, "OK", "HTTP/1.1", False),
    ],
)
def test_status_and_phrase(status: int, reason: str, version: str, fits: bool) -> None:
    if fits:
        assert judged(BANK, status=status, reason=reason, version=version)
    else:
        assert violated(BANK, status=status, reason=reason, version=version).startswith("manifest.response.")


def test_a_status_that_has_no_phrase_of_its_own() -> None:
    assert judged(changed(BANK, response__status="299"), status=299, reason="")
    assert violated(changed(BANK, response__status="299"), status=299, reason="OK") == "manifest.response.message"
    assert judged(changed(BANK, response__status="299", response__message="Mostly"), status=299, reason="Mostly")


@pytest.mark.parametrize("part", ["request", "response"])
def test_a_version_that_is_stated_is_spoken(part: str) -> None:
    document = changed(BANK, **{f"{part}__version": "HTTP/2"})
    assert judged(document, reason="", version="HTTP/2")
    assert violated(document) == f"manifest.{part}.version"


@pytest.mark.parametrize(
    ("stated", "given", "fits"),
    [
        ("application/json", "application/json", True),
        ("application/json", "APPLICATION/json ", True),
        ("application/json; charset=utf-8", 'application/json;charset="UTF-8"', True),
        ("application/json", "application/json; charset=utf-8", False),
        ("application/json; charset=utf-8", "application/json", False),
        ("application/json; v=A", "application/json; v=a", False),
    ],
)
def test_content_types_are_compared_as_such(stated: str, given: str, fits: bool) -> None:
    document, headers = changed(BANK, response__headers={"Content-Type": stated}), (("content-type", given),)
    if fits:
        assert judged(document, ACCOUNTS, headers)
    else:
        assert violated(document, ACCOUNTS, headers) == "manifest.response.headers.content-type"


def test_other_headers_are_compared_exactly_and_occur_once() -> None:
    document = changed(BANK, response__headers__Server="example")
    assert judged(document)
    for headers in (JSON_HEADERS[:1], (JSON_HEADERS[0], ("server", "Example")), (*JSON_HEADERS, JSON_HEADERS[1])):
        assert violated(document, ACCOUNTS, headers) == "manifest.response.headers.server"


@pytest.mark.parametrize(
    ("selector", "expected"),
    [(("a", "1", "b"), 2), (("", "x"), 3), (("1",), "one"), (("a", "0"), [True])],
)
def test_selectors_follow_names_and_indexes(selector: tuple[str, ...], expected: Any) -> None:
    kind = {int: "number", str: "string", list: "array"}[type(expected)]
    body = b'{"a":[[true],{"b":2}],"":{"x":3},"1":"one"}'
    assert found(asking(extractor(*selector, type=kind)), body) == {"x": expected}


@pytest.mark.parametrize(
    "selector",
    [("a", "2"), ("a", "01"), ("a", "-1"), ("a", "+0"), ("a", "length"), ("b",), ("a", "0", "x", "y"), ("a", "²")],
)
def test_selectors_that_lead_to_nothing(selector: tuple[str, ...]) -> None:
    assert violated(asking(extractor(*selector)), b'{"a":[{"x":"y"},1]}') == "manifest.response.body.extractors[0]"


@pytest.mark.parametrize("body", [b"null", b'"x"', b"5", b"true"])
@pytest.mark.parametrize("kind", ["string", "number", "boolean", "array", "object"])
def test_a_value_has_the_stated_type(kind: str, body: bytes) -> None:
    document = asking(extractor("v", type=kind))
    right = {"string": b'"x"', "number": b"5", "boolean": b"true"}.get(kind)
    if body == right:
        assert judged(document, b'{"v":' + body + b"}")[0].type == kind
    else:
        assert violated(document, b'{"v":' + body + b"}") == "manifest.response.body.extractors[0]"


def test_values_are_in_canonical_form_and_in_the_manifests_order() -> None:
    document = asking(extractor("o", id="z", type="object"), extractor("o", "b", id="a", type="array"))
    values = judged(document, b'{"o":{"b":[1.0,"\\u00e9"],"a":null}}')
    assert [(value.id, value.json.decode()) for value in values] == [("z", '{"a":null,"b":[1,"é"]}'), ("a", '[1,"é"]')]


def test_values_are_bounded_together() -> None:
    extractors = [extractor("v", id=str(n)) for n in range(20)]
    assert violated(asking(*extractors), b'{"v":"' + b"x" * 60_000 + b'"}') == "manifest.response.body"


def test_a_page_without_extractors_states_its_head_only() -> None:
    assert judged(asking(document=SHOP), b"\xff", HTML_HEADERS) == ()


def test_no_violation_quotes_what_a_site_or_a_client_says() -> None:
    documents = [
        asking(extractor("v", type="number")),
        asking(extractor("w")),
        asking(extractor("v", predicates=[predicate("value", "equal", "a"), predicate("regex", "equal", "^a")])),
        changed(BANK, response__headers__x="1"),
    ]
    for document in documents:
        with pytest.raises(Violation) as raised:
            judged(document, b'{"v":"hunter2"}', (*JSON_HEADERS, ("x", "hunter2")), reason="OK")
        assert "hunter2" not in f"{raised.value} {raised.value.fields()}"
        assert "abcd1234" not in str(raised.value)


def test_more_work_than_is_allowed_is_said_before_it_is_done() -> None:
    nested = predicate("array", "every", nested_predicate=predicate("value", "contains", "x"))
    manifest = parsed(asking(extractor("v", type="array", predicates=[nested] * 32)))
    request = asked(manifest)
    exchange = answered(request, b'{"v":[' + b'"x",' * 2000 + b'"x"]}')
    with pytest.raises(OverworkError):
        manifest.values(request, exchange, units=1000)
    assert manifest.values(request, exchange, units=1_000_000)


BODIES = st.sampled_from(
    [ACCOUNTS, ACCOUNT_PAGE, b"", b"null", b"[[[]]]", b'{"a":[["x"]],"b":5}', b"<html", b"\xff"]
) | st.binary(max_size=60)
HEADERS = st.sampled_from(
    [
        JSON_HEADERS,
        HTML_HEADERS,
        (),
        (("content-type", ";"), ("content-type", "=")),
        (("content-type", 'text/html;charset="'),),
    ]
)


@settings(max_examples=300, deadline=None)
@given(mutants(), BODIES, HEADERS, st.sampled_from([200, 404]), st.sampled_from(["HTTP/1.1", "HTTP/2"]))
def test_whatever_is_answered_there_are_values_or_a_violation(
    document: dict[str, Any], body: bytes, headers: Any, status: int, version: str
) -> None:
    with suppress(FormatError, Violation):
        manifest = parsed(document)
        request = asked(manifest)
        values = manifest.values(request, answered(request, body, headers, status=status, version=version))
        assert {value.id for value in values} <= {one.id for one in manifest.answered.extractors}


@given(st.text(max_size=5), st.text(max_size=5), st.binary(max_size=5), st.integers(-1, 1000))
def test_whatever_was_sent_there_is_a_violation(method: str, target: str, body: bytes, status: int) -> None:
    manifest = parsed(BANK)
    request = asked(manifest)
    exchange = answered(request, ACCOUNTS)
    sent = WebRequest(method, target, status, target, ((method, target),), body)
    with pytest.raises(Violation):
        manifest.values(request, replace(exchange, request=sent))
    with pytest.raises(Violation):
        manifest.values(
            request, replace(exchange, response=WebResponse(method, status, target, ((method, target),), body))
        )
