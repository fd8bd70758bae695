"""Google's key set: RSA keys for RS256 by their name, and the time when they were fetched."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluto_measure.errors import FormatError
from pluto_measure.formats.jwks import GOOGLE_SOURCE, LARGEST, JwksDocument
from simulators.confidential_space import jwk, keys
from simulators.google_pki import NOW, rsa_key

KEY = jwk("a", rsa_key())
JSON = KEY.to_json()


def answer(*entries: Any, **more: Any) -> str:
    return json.dumps({"keys": list(entries), **more})


def parsed(*entries: Any) -> JwksDocument:
    return JwksDocument.of_answer(answer(*entries), source=GOOGLE_SOURCE, fetched_at=NOW)


def test_a_file_is_read_as_it_is_written() -> None:
    document = keys()
    assert JwksDocument.parse(document.to_text()) == document
    assert JwksDocument.parse(document.to_text()).to_text() == document.to_text()


def test_an_answer_gets_its_time_from_who_asked() -> None:
    document = JwksDocument.of_answer(answer(JSON, more=1), source=GOOGLE_SOURCE, fetched_at=NOW)
    assert (document.fetched_at, document.source, document.keys) == (NOW, GOOGLE_SOURCE, (KEY,))


def test_a_key_is_found_by_its_name_and_algorithm() -> None:
    """One service has the same name for a key of each of its algorithms."""
    other = [{**JSON, "alg": name, "n": "AQAB"} for name in ("PS384", "RS512")]
    document = parsed(
        *other, JSON, {"kty": "EC", "kid": "a"}, {**JSON, "kid": "b", "use": "enc"}, {**JSON, "kid": "b", "x5c": []}
    )
    assert document.key("a") == KEY
    assert document.key("b") is not None
    assert document.key("c") is None
    assert len(document.keys) == 2


@pytest.mark.parametrize("member", ["d", "p", "q", "k"])
def test_a_private_key_is_refused(member: str) -> None:
    with pytest.raises(FormatError, match="private key"):
        parsed({**JSON, member: "AQAB"})


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"e": "Aw"}, "not AQAB"),
        ({"n": "AQAB"}, "no modulus"),
        ({"n": JSON["n"][:-1] + "A"}, "no modulus|spelling"),
        ({"n": "AA" + JSON["n"]}, "no modulus|spelling|base64url"),
        ({"n": JSON["n"] + "="}, "spelling"),
        ({"n": JSON["n"] * 3}, "no modulus|spelling|base64url"),
        ({"kid": ""}, "kid"),
        ({"kid": "a" * 257}, "kid"),
        ({"kid": "ä"}, "kid"),
        ({"kid": 1}, "kid"),
        ({"kty": 1}, "kty"),
        ({"alg": 1}, "alg"),
    ],
)
def test_a_key_of_another_form_is_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        parsed({**JSON, **changes})


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ([], "no key for RS256"),
        ([{"kty": "EC"}], "no key for RS256"),
        ([JSON, JSON], "two keys of one name"),
        ([JSON] * 33, "33 keys"),
        (["a"], "must be an object"),
        ([{}], "kty is missing"),
        ([{**JSON, "n": None}], "n must be str"),
    ],
)
def test_a_set_of_another_form_is_refused(entries: list[Any], problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        parsed(*entries)


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("version", 2, "version 2"),
        ("fetchedAt", "2026-11-20", "not a time"),
        ("source", "", "source"),
        ("source", "a\nb", "source"),
        ("more", 1, "unknown member more"),
        ("keys", {}, "keys must be list"),
    ],
)
def test_a_file_of_another_form_is_refused(name: str, value: Any, problem: str) -> None:
    document = json.loads(keys().to_text())
    with pytest.raises(FormatError, match=problem):
        JwksDocument.parse(json.dumps({**document, name: value}))


def test_an_answer_alone_is_no_file() -> None:
    with pytest.raises(FormatError, match="version is missing"):
        JwksDocument.parse(answer(JSON))
    with pytest.raises(FormatError, match="more than"):
        JwksDocument.parse(" " * (LARGEST + 1))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_set_or_refused(data: bytes) -> None:
    with suppress(FormatError):
        JwksDocument.parse(data)
    with suppress(FormatError):
        JwksDocument.of_answer(data, source="x", fetched_at=NOW)
