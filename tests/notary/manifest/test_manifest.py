"""A manifest as a whole: digest, bounds, and that what is read can be read again."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notary.manifest.mutants import SHORT, mutants
from pluto_measure.errors import FormatError
from pluto_notary.manifest import Manifest
from pluto_notary.statement.keccak import keccak256
from simulators.notary.manifests import BANK, SCHEMA, SHOP, asking, changed, extractor, parsed, predicate


def test_the_digest_is_keccak_of_the_canonical_form() -> None:
    rfc8785 = pytest.importorskip("rfc8785", reason="the other implementation of RFC 8785 is not installed")
    manifest = parsed(BANK)
    assert manifest.canonical() == rfc8785.dumps(BANK)
    assert manifest.digest() == keccak256(rfc8785.dumps(BANK))


def test_the_digest_does_not_change() -> None:
    assert parsed(BANK).digest().hex() == "2ba83167361678e4475a171e69d053067f15b6a19c912f044d9600290763fe99"
    assert parsed(SHOP).digest().hex() == "64e6744ab0fe2dccb42d53f3144907fbbfce8a4e7431393b0453f722ae85b77f"


def test_host_port_and_version_are_said() -> None:
    manifest = parsed(changed(BANK, request__url="https://API.bank.example:8443", response__version="HTTP/1.1"))
    assert (manifest.host, manifest.port, manifest.asked.target) == ("api.bank.example", 8443, "/")
    assert manifest.http_version == "HTTP/1.1"
    assert manifest.version == 2
    assert parsed(BANK).http_version is None


def test_null_is_the_same_as_nothing_but_not_for_the_digest() -> None:
    document = changed(BANK, description=None, request__body=None, response__message=None)
    assert parsed(document).answered == parsed(BANK).answered
    assert parsed(document).digest() != parsed(BANK).digest()


@given(st.randoms())
def test_order_and_spaces_do_not_change_the_digest(random: Any) -> None:
    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            names = list(value)
            random.shuffle(names)
            return {name: shuffled(value[name]) for name in names}
        return [shuffled(item) for item in value] if isinstance(value, list) else value

    text = json.dumps(shuffled(BANK), indent=random.choice([None, 1, 4]), ensure_ascii=random.choice([True, False]))
    assert Manifest.parse(text.encode()) == parsed(BANK)


@settings(max_examples=300, deadline=None)
@given(mutants())
def test_what_is_read_can_be_read_again_and_follows_the_schema(document: dict[str, Any]) -> None:
    with suppress(FormatError):
        manifest = parsed(document)
        again = Manifest.parse(manifest.canonical())
        assert again == manifest
        assert again.digest() == manifest.digest()
        jsonschema.validate(document, SCHEMA)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_manifest_or_a_format_error(data: bytes) -> None:
    with pytest.raises(FormatError) as raised:
        Manifest.parse(data)
    assert raised.value.what.startswith("manifest")


def test_what_a_path_shows_of_foreign_names_is_bounded_and_printable() -> None:
    for name in ("x" * 10_000, "\x1b[31m", "a.b", "ä"):
        with pytest.raises(FormatError) as raised:
            parsed({**BANK, name: 1})
        assert len(raised.value.what) < 500
        assert raised.value.what.isprintable()
        assert raised.value.what.isascii()


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({**BANK, "description": "x" * 300_000}, "manifest"),
        ({**BANK, "x": list(range(20_000))}, "manifest"),
        (asking(*[extractor("a", id=str(n)) for n in range(101)]), "manifest.response.body.extractors"),
        (asking(extractor(*["a"] * 33)), "manifest.response.body.extractors[0].selector"),
        (asking(extractor("a", predicates=[SHORT] * 33)), "manifest.response.body.extractors[0].predicates"),
        (changed(BANK, response__headers={f"h{n}": "" for n in range(26)}), "manifest.response.headers"),
        (changed(BANK, request__headers={f"h{n}": "" for n in range(65)}), "manifest.request.headers"),
        (changed(BANK, request__vars={f"v{n}": {} for n in range(101)}), "manifest.request.vars"),
        (changed(BANK, request__url="https://a.example/" + "a" * 8192), "manifest.request.url"),
    ],
)  # fmt: skip
def test_everything_is_bounded(document: dict[str, Any], path: str) -> None:
    with pytest.raises(FormatError) as raised:
        parsed(document)
    assert raised.value.what == path


def test_predicates_nest_so_deep_and_no_deeper() -> None:
    inner = predicate("value", "equal", 1)
    for _ in range(7):
        inner = predicate("array", "some", nested_predicate=inner)
    assert parsed(asking(extractor("a", type="array", predicates=[inner])))
    with pytest.raises(FormatError, match="deeper than 8"):
        parsed(asking(extractor("a", type="array", predicates=[predicate("array", "some", nested_predicate=inner)])))


def test_patterns_are_bounded_together() -> None:
    many = [predicate("regex", "equal", "a")] * 32
    with pytest.raises(FormatError, match="at most 32"):
        parsed(asking(extractor("a", predicates=many)))  # one more is the variable's
    large = [predicate("regex", "equal", ".{1,500}")] * 4
    with pytest.raises(FormatError, match="together with"):
        parsed(asking(extractor("a", predicates=large)))


@pytest.mark.parametrize(
    "text", [b"", b"null", b"[]", b'"manifest"', b'{"manifestVersion":"2"}', b'{"manifestVersion":null}']
)
def test_what_is_no_manifest(text: bytes) -> None:
    with pytest.raises(FormatError):
        Manifest.parse(text)


def test_a_path_that_grows_too_long_is_cut() -> None:
    body: Any = {"deepest": "<% no variable"}
    for _ in range(20):
        body = {"a" * 60: [body]}
    for wrong in (body, json.loads(json.dumps(body).replace('"<% no variable"', str(2**60 + 1)))):
        with pytest.raises(FormatError) as raised:
            parsed(changed(BANK, request__body=wrong))
        assert len(raised.value.what) < 400
        assert raised.value.what.startswith("manifest.request.body.aaa")
        assert raised.value.what.endswith("..")
