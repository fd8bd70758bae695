"""Weaknesses and bugs of an earlier notary that lie in manifests, by the numbers of docs/weaknesses.md."""

from __future__ import annotations

from typing import Any

import pytest

from pluto_measure.errors import FormatError
from pluto_measure.record import replace
from pluto_notary.manifest import Manifest, Violation
from simulators.notary.manifests import (
    ACCOUNT_PAGE,
    ACCOUNTS,
    BANK,
    HTML_HEADERS,
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

X = "manifest.response.body.extractors[0]"


def only(kind: str, stated: dict[str, Any], body: bytes, **members: Any) -> dict[str, Any]:
    return found(asking(extractor("v", type=kind, predicates=[stated], **members)), body)


def refused(kind: str, stated: dict[str, Any], body: bytes) -> None:
    with pytest.raises(Violation) as raised:
        only(kind, stated, body)
    assert raised.value.path == f"{X}.predicates[0]"


def test_weakness_02_a_violation_gives_nothing_to_sign() -> None:
    for how in (
        {"status": 500, "reason": "Internal Server Error"},
        {"reason": "No"},
        {"version": "HTTP/1.0", "reason": "No"},
    ):
        with pytest.raises(Violation):
            judged(BANK, **how)


def test_weakness_03_the_request_is_made_of_the_manifest_and_of_nothing_else() -> None:
    manifest = parsed(BANK)
    request = asked(manifest)
    assert request.url == BANK["request"]["url"]
    exchange = answered(request, ACCOUNTS)
    moved = replace(exchange, request=replace(exchange.request, host="evil.example"))
    with pytest.raises(Violation):
        manifest.values(request, moved)


@pytest.mark.parametrize(
    "member", ["contains", "request__extra", "response__trailer", "request__vars__token__minLength"]
)
def test_weakness_13_unknown_constraints_are_not_dropped(member: str) -> None:
    with pytest.raises(FormatError, match="is not a member"):
        parsed(changed(BANK, **{member: "x"}))


def test_weakness_13_the_body_and_the_variables_are_checked() -> None:
    document = changed(BANK, request__method="POST", request__body={"id": "<% token %>"})
    manifest = parsed(document)
    request = asked(manifest)
    exchange = answered(request, ACCOUNTS)
    assert manifest.values(request, exchange)
    forged = replace(exchange, request=replace(exchange.request, body=b'{"id":"other"}'))
    with pytest.raises(Violation):
        manifest.values(request, forged)
    with pytest.raises(Violation):
        manifest.request({"token": "not the pattern"})


def test_weakness_13_a_path_takes_a_value_and_not_only_a_keys_existence() -> None:
    old = changed(BANK, manifestVersion="1", response__body={"json": ["accounts", 0, "currency"]})
    assert found(old) == {"json": "EUR"}


def test_weakness_14_the_values_are_there_to_be_shown() -> None:
    assert found(BANK) == {"balance": 1234.5, "currency": "EUR"}


def test_weakness_20_the_digest_is_canonical() -> None:
    backwards = {name: BANK[name] for name in reversed(BANK)}
    backwards["request"] = {name: BANK["request"][name] for name in reversed(BANK["request"])}
    assert parsed(backwards).digest() == parsed(BANK).digest()
    assert Manifest.parse(parsed(BANK).canonical()).digest() == parsed(BANK).digest()


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("status", ["200", "201", "404"])
def test_weakness_26_more_methods_and_statuses(method: str, status: str) -> None:
    document = changed(BANK, request__method=method, response__status=status)
    assert judged(document, status=int(status), reason="", version="HTTP/2")


def test_weakness_26_bodies_of_forms() -> None:
    document = changed(
        BANK, request__body="a=<% token %>", request__headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    assert asked(parsed(document)).body == b"a=abcd1234"


@pytest.mark.parametrize("comparison", ["greaterThanOrEqual", "lessThanOrEqual"])
@pytest.mark.parametrize(
    ("kind", "body"),
    [("string", b'{"v":"5"}'), ("boolean", b'{"v":true}'), ("array", b'{"v":[5]}'), ("object", b'{"v":{}}')],
)
def test_weakness_28_comparisons_fail_closed(comparison: str, kind: str, body: bytes) -> None:
    refused(kind, predicate("value", comparison, 5), body)


def test_weakness_28_every_and_some_work() -> None:
    positive = predicate("value", "greaterThan", 0)
    assert only("array", predicate("array", "every", nested_predicate=positive), b'{"v":[1,2]}') == {"x": [1, 2]}
    assert only("array", predicate("array", "some", nested_predicate=positive), b'{"v":[-1,2]}') == {"x": [-1, 2]}
    refused("array", predicate("array", "every", nested_predicate=positive), b'{"v":[1,-2]}')
    refused("array", predicate("array", "some", nested_predicate=positive), b'{"v":[-1,-2]}')


def test_bug_nested_predicates_are_read() -> None:
    nested = predicate(
        "array",
        "every",
        nested_predicate=predicate("array", "some", nested_predicate=predicate("regex", "equal", "^a")),
    )
    assert only("array", nested, b'{"v":[["a"],["b","ab"]]}')
    refused("array", nested, b'{"v":[["a"],["b"]]}')


def test_bug_large_integers_keep_their_precision() -> None:
    refused("number", predicate("value", "equal", 9007199254740992), b'{"v":9007199254740993}')
    refused("number", predicate("value", "lessThanOrEqual", 9007199254740992), b'{"v":9007199254740993}')
    assert only("number", predicate("value", "greaterThan", 9007199254740992), b'{"v":9007199254740993}')
    (value,) = judged(asking(extractor("v", type="number")), b'{"v":18446744073709551615}')
    assert value.json == b"18446744073709551615"


def test_bug_close_numbers_are_not_equal() -> None:
    refused("number", predicate("value", "equal", 0.1), b'{"v":0.10000000000000000001}')
    assert only("number", predicate("value", "notEqual", 0), b'{"v":1e-300}')


@pytest.mark.parametrize("comparison", ["equal", "contains", "startsWith", "endsWith"])
def test_bug_case_sensitivity_is_honoured_by_all(comparison: str) -> None:
    body = b'{"v":"ADA"}'
    assert only("string", predicate("value", comparison, "ada", case_sensitive=False), body)
    refused("string", predicate("value", comparison, "ada"), body)


def test_bug_optional_extractors_are_optional() -> None:
    document = asking(extractor("gone", required=False), extractor("accounts", "0", "currency", id="y"))
    assert found(document) == {"y": "EUR"}


def test_bug_a_manifest_with_variables_can_be_fulfilled() -> None:
    assert BANK["request"]["vars"]
    assert found(BANK)


def test_bug_numbers_in_pages_are_exact_and_a_missing_attribute_is_none() -> None:
    page = ACCOUNT_PAGE.replace(b'data-points="1250"', b'data-points="9007199254740993"')
    assert found(SHOP, page, HTML_HEADERS)["points"] == 9007199254740993
    empty = asking(extractor("#member", attribute="title"), document=SHOP)
    with pytest.raises(Violation):
        judged(empty, ACCOUNT_PAGE, HTML_HEADERS)
    with pytest.raises(Violation):
        judged(asking(extractor("#member", type="array", attribute="title"), document=SHOP), ACCOUNT_PAGE, HTML_HEADERS)


def test_bug_patterns_of_ecmascript_mean_the_same_for_defaults_and_values() -> None:
    """The predecessor checked a pattern as one engine's and matched it with another."""
    variable = {"required": False, "default": "\u00e9", "pattern": r"^\w$"}
    with pytest.raises(FormatError):
        parsed(changed(BANK, request__vars__token=variable))
