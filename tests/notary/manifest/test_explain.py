"""`pluto-notary manifest check`: a stranger understands what it says, and a terminal does not obey it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from pluto_measure.command import Result
from pluto_measure.errors import FormatError, UsageError
from pluto_notary.commands import manifest as command
from pluto_notary.manifest.explain import explain
from simulators.notary.manifests import BANK, SHOP, asking, changed, extractor, parsed, predicate


def check(tmp_path: Path, document: Any) -> Result:
    file = tmp_path / "manifest.json"
    file.write_text(document if isinstance(document, str) else json.dumps(document))
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers())
    arguments = parser.parse_args(["manifest", "check", str(file)])
    result: Result = arguments.run(arguments)
    return result


def test_the_text_is_exactly_this(tmp_path: Path) -> None:
    assert (
        check(tmp_path, BANK).text
        == f"""\
manifest A balance at the example bank (version 2)
digest {parsed(BANK).digest().hex()}

What is asked:
  GET https://api.bank.example/v1/accounts?limit=2
  header accept: application/json
  header authorization: Bearer <token>
  no other header but what each request has: Host, Accept, Accept-Encoding, User-Agent, Connection, the body's length
  no body

What must hold, or nothing is signed:
  the certificate of the site is valid for api.bank.example
  the request is the one above and no other
  the answer has status 200, with the phrase OK or none
  the answer's header content-type is "application/json", once
  balance is there and is a number
  balance is at least 1000
  currency is there and is a string

What the statement shows, or commits to:
  balance: what stands at accounts > 0 > balance in the answer's JSON (balance in the account's currency)
  currency: what stands at accounts > 0 > currency in the answer's JSON

What a client must bring:
  token (required); access token; must match ^[a-z0-9]{{8}}$
"""
    )


def test_the_document_says_the_same(tmp_path: Path) -> None:
    document = check(tmp_path, SHOP).document
    assert document["digest"] == parsed(SHOP).digest().hex()
    assert (document["host"], document["port"], document["version"]) == ("shop.example", 443, 2)
    assert document["variables"] == [{"name": "sid", "required": True, "text": "sid (required)"}]
    assert document["notes"] == [
        "sid may be any text: it has no pattern",
        "all of orders is shown or committed to, not only the part that predicates are about",
    ]
    where = "the attribute data-points of the first element that matches #member [data-points] in the answer's page"
    assert f"points: {where}" in list(explain(parsed(SHOP)).shown)


def test_what_is_wrong_has_its_path_and_the_files_name(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"manifest\.json: request\.url: must begin with https"):
        check(tmp_path, changed(BANK, request__url="http://a.example/"))
    with pytest.raises(FormatError, match=r"selector\[0\]: is no CSS selector"):
        check(tmp_path, asking(extractor("p["), document=SHOP))
    with pytest.raises(FormatError, match="is not JSON"):
        check(tmp_path, "{")
    with pytest.raises(UsageError):
        check(tmp_path / "none", "{}") if (tmp_path / "none").exists() else command.run(
            argparse.Namespace(file=tmp_path / "none")
        )


def test_a_terminal_obeys_nothing_that_an_author_wrote(tmp_path: Path) -> None:
    hostile = asking(extractor("\x1b[31m", description="\x1b]0;x\x07", id="\u202eevil"))
    text = check(tmp_path, changed(hostile, title="\x1b[2J")).text
    assert all(character.isprintable() or character == "\n" for character in text)


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        (
            {"request__headers": {"Authorization": "Bearer secret", "A": "<% token %>"}},
            "stands in the manifest for everybody",
        ),
        ({"request__body": {"a": 1}}, "no Content-Type says so"),
        ({"request__vars": {"token": {"pattern": "a"}}}, "may match a part"),
        ({"request__version": "HTTP/1.1"}, "only HTTP/1.1 is spoken"),
    ],
)
def test_notes_about_requests(changes: dict[str, Any], note: str) -> None:
    assert any(note in one for one in explain(parsed(changed(BANK, **changes))).notes)


@pytest.mark.parametrize(
    ("kind", "stated", "why"),
    [
        ("number", predicate("value", "greaterThan", "5"), "of type number, and is compared with one of type string"),
        ("number", predicate("length", "equal", 5), "a number has no length"),
        ("number", predicate("regex", "equal", "5"), "not text"),
        ("string", predicate("array", "includes", "a"), "not an array"),
        ("boolean", predicate("value", "contains", True), "of type boolean"),
    ],
)
def test_what_can_never_hold_is_noted(kind: str, stated: dict[str, Any], why: str) -> None:
    notes = explain(parsed(asking(extractor("a", type=kind, predicates=[stated])))).notes
    assert any("can never fulfil" in note and why in note for note in notes)
    fine = extractor("a", type="array", predicates=[predicate("value", "contains", "a")])
    assert not any("never" in note for note in explain(parsed(asking(fine))).notes)


def test_every_kind_of_predicate_has_words() -> None:
    stated = [
        predicate("array", "every", nested_predicate=predicate("length", "lessThan", 9)),
        predicate("array", "some", nested_predicate=predicate("regex", "notEqual", "^a$", case_sensitive=False)),
        predicate("array", "includes", "x", case_sensitive=False),
        predicate("value", "notContains", {"a": 1.5}),
    ]
    document = asking(
        extractor("a", type="array", predicates=stated),
        extractor("b", id="y", required=False, predicates=[predicate("value", "equal", "x" * 500)]),
    )
    enforced = explain(parsed(changed(document, response__message="Fine", request__body=["<% token %>"]))).enforced
    assert "x has only items of the kind that has a length that is less than 9" in enforced
    assert "x has at least one item of the kind that does not match the pattern ^a$ (flags i)" in enforced
    assert 'x has an item that is "x", whatever the case of its letters' in enforced
    assert 'x does not contain {"a":1.5}' in enforced
    assert 'the answer has status 200, with the phrase "Fine"' in enforced
    (optional,) = [line for line in enforced if line.startswith("y ")]
    assert optional.startswith("y may be missing; it is shown only if it is a string and is ")
    assert len(optional) < 300


def test_version_1_is_explained_too() -> None:
    old = changed(BANK, manifestVersion="1", response__body={"json": ["a", 0]})
    said = explain(parsed(old))
    assert said.shown == ("json: what stands at a > 0 in the answer's JSON",)
    assert any("version 1" in note for note in said.notes)
