"""JSON Web Tokens: one form, one spelling, one algorithm; whatever says where to find a key is refused."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluto_measure.errors import FormatError
from pluto_measure.formats.jwt import LARGEST, Jwt, unbase64url
from simulators.confidential_space import base64url, pem, signed_token
from simulators.google_pki import Google, rsa_key

DERS = Google().chain()
HEAD: dict[str, Any] = {
    "alg": "RS256",
    "typ": "JWT",
    "kid": "one",
    "x5c": [base64.b64encode(der).decode() for der in DERS],
}


def token(head: dict[str, Any], payload: Any = None) -> str:
    body = payload if isinstance(payload, bytes) else json.dumps({"iss": "x"} if payload is None else payload).encode()
    return signed_token(head, body, rsa_key())


def with_head(**changes: Any) -> str:
    return token({name: value for name, value in {**HEAD, **changes}.items() if value is not None})


def test_a_token_has_its_parts() -> None:
    text = with_head()
    parsed = Jwt.parse(text)
    assert (parsed.key_id, parsed.certificates, dict(parsed.payload)) == ("one", tuple(DERS), {"iss": "x"})
    assert f"{parsed.signed.decode()}.{base64url(parsed.signature)}" == text


def test_a_token_without_a_chain_names_its_key_alone() -> None:
    parsed = Jwt.parse(with_head(x5c=None, typ=None))
    assert (parsed.key_id, parsed.certificates) == ("one", None)
    assert Jwt.parse(with_head(kid=None)).key_id is None


def test_certificates_may_be_in_pem_as_google_wrote_them_once() -> None:
    assert Jwt.parse(with_head(x5c=[pem(der) for der in DERS])).certificates == tuple(DERS)


def test_what_one_may_ignore_is_ignored() -> None:
    parsed = Jwt.parse(with_head(x5t="thumb", cty="JSON", other=[1]))
    assert (parsed.key_id, parsed.certificates) == ("one", tuple(DERS))


@pytest.mark.parametrize("member", ["crit", "jku", "x5u", "jwk", "b64", "zip", "enc"])
@pytest.mark.parametrize("value", [["exp"], "https://keys.example/", {"kty": "RSA"}, False])
def test_a_header_that_brings_or_points_to_a_key_or_changes_the_meaning_is_refused(member: str, value: object) -> None:
    with pytest.raises(FormatError, match=f"{member} is not accepted"):
        Jwt.parse(with_head(**{member: value}))


@pytest.mark.parametrize("algorithm", ["none", "None", "", "HS256", "RS384", "PS256", "ES256", "rs256"])
def test_the_algorithm_is_no_choice_of_the_tokens(algorithm: str) -> None:
    with pytest.raises(FormatError, match="not RS256"):
        Jwt.parse(with_head(alg=algorithm))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"alg": None}, "alg is missing"),
        ({"alg": 1}, "alg must be str"),
        ({"typ": "JOSE"}, "not JWT"),
        ({"kid": ""}, "kid"),
        ({"kid": "a b"}, "kid"),
        ({"kid": "a" * 257}, "kid"),
        ({"kid": "ä"}, "kid"),
        ({"x5c": []}, "0 certificates"),
        ({"x5c": ["AA=="] * 9}, "9 certificates"),
        ({"x5c": "AA=="}, "x5c must be list"),
        ({"x5c": [1]}, "must be text"),
        ({"x5c": [""]}, "is empty"),
        ({"x5c": ["AA"]}, "neither base64 nor PEM"),
        ({"x5c": ["AB=="]}, "not the one spelling"),
        ({"x5c": ["A A=="]}, "neither base64 nor PEM"),
        ({"x5c": ["ä"]}, "not ASCII"),
        ({"x5c": [pem(DERS[0]) + pem(DERS[1])]}, "holds 2 certificates"),
        ({"x5c": ["x" + pem(DERS[0])]}, "neither base64 nor PEM"),
        ({"x5c": [pem(DERS[0]) + "x"]}, "other text"),
    ],
)
def test_a_header_of_another_form_is_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        Jwt.parse(with_head(**changes))


@pytest.mark.parametrize(
    ("payload", "problem"),
    [
        (b"[]", "must be an object"),
        (b'{"a": 1, "a": 2}', "key occurs twice"),
        (b'{"a": NaN}', "not JSON"),
        (b'{"a": "\\ud800"}', "no Unicode"),
        (b'{"\\udfff": [["\\ud83d\\ude00"]]}', "no Unicode"),
        (b'{"a": "\xff"}', "not JSON"),
        (b"{", "not JSON"),
        (b"[" * 20000, "not JSON"),
        (b'{"a": ' + b"9" * 9000 + b"}", "not JSON"),
    ],
)
def test_a_payload_that_is_no_object_or_can_be_read_twice_is_refused(payload: bytes, problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        Jwt.parse(token(HEAD, payload))


def test_what_is_beyond_the_basic_plane_is_a_text() -> None:
    assert Jwt.parse(token(HEAD, b'{"a": "\\ud83d\\ude00\xc3\xa4"}')).payload == {"a": "😀ä"}


def test_duplicate_members_of_the_header_are_refused() -> None:
    _, payload, signature = with_head().split(".")
    header = base64url(b'{"alg": "RS256", "alg": "none"}')
    with pytest.raises(FormatError, match="key occurs twice"):
        Jwt.parse(f"{header}.{payload}.{signature}")


@pytest.mark.parametrize("text", ["", "e30", "e30.e30", "e30.e30.e30.e30", "e30.e30.e30.", "a.b.c.d.e"])
def test_other_than_three_parts_are_refused(text: str) -> None:
    with pytest.raises(FormatError, match="parts"):
        Jwt.parse(text)


def test_a_token_beyond_the_limit_is_refused_before_it_is_read() -> None:
    with pytest.raises(FormatError, match="more than"):
        Jwt.parse("a" * (LARGEST + 1))


@pytest.mark.parametrize("text", ["e30=", "e3", "e", "e30\n", " e30", "e3 0", "e+0", "e/0", "", "e31", "ä", "\ud800"])
def test_base64url_has_one_spelling(text: str) -> None:
    with pytest.raises(FormatError):
        unbase64url(text, what="x")
    with pytest.raises(FormatError):
        Jwt.parse(f"{text}.e30.e30")


@given(st.binary(min_size=1, max_size=100))
def test_base64url_is_read_as_it_is_written(data: bytes) -> None:
    assert unbase64url(base64url(data), what="x") == data


@given(st.text(max_size=200) | st.from_regex(r"[A-Za-z0-9_-]{1,20}(\.[A-Za-z0-9_-]{0,20}){2}", fullmatch=True))
def test_any_text_is_a_token_or_refused(text: str) -> None:
    with suppress(FormatError):
        Jwt.parse(text)


@given(st.integers(0, len(with_head()) - 1))
def test_any_cut_is_refused_or_has_less_of_a_signature(at: int) -> None:
    whole = with_head()
    try:
        cut = Jwt.parse(whole[:at])
    except FormatError:
        return
    assert len(cut.signature) < 256
