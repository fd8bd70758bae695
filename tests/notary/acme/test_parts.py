"""Signatures, thumbprints, answers and chains, by what others say of them."""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import os

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_notary.acme import answers, chain
from pluto_notary.acme.challenge import signing_request
from pluto_notary.acme.errors import AcmeError
from pluto_notary.acme.jose import AccountKey, b64
from pluto_notary.certificate import make_identity
from pluto_notary.events import CERTIFICATE_CODES
from pluto_notary.web import WebResponse
from simulators.acme_ca import thumbprint, unb64
from simulators.notary.certificates import Authority


def test_base64url_is_that_of_the_rfc() -> None:
    assert b64(bytes([3, 236, 255, 224, 193])) == "A-z_4ME"  # RFC 7515, appendix C


def test_a_signed_request_holds_by_another_reading() -> None:
    key = AccountKey()
    body = json.loads(key.signed(b"{}", url="https://ca.example/x", nonce="bm8", kid="https://ca.example/account/1"))
    header = json.loads(unb64(body["protected"]))
    assert header == {
        "alg": "ES256", "kid": "https://ca.example/account/1", "nonce": "bm8", "url": "https://ca.example/x",
    }  # fmt: skip
    raw = unb64(body["signature"])
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    x, y = (int.from_bytes(unb64(key.jwk[name]), "big") for name in "xy")
    public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    public.verify(der, f"{body['protected']}.{body['payload']}".encode(), ec.ECDSA(hashes.SHA256()))
    assert key.thumbprint == thumbprint(key.jwk)
    assert key.authorization("dG9rZW4") == hashlib.sha256(f"dG9rZW4.{key.thumbprint}".encode()).digest()


def test_a_request_to_sign_names_the_key_and_the_name_and_nothing_else() -> None:
    identity = make_identity(os.urandom)
    asked = x509.load_der_x509_csr(signing_request(identity.key, "notary.example"))
    assert asked.is_signature_valid
    assert asked.subject == x509.Name([])
    assert [extension.oid for extension in asked.extensions] == [x509.SubjectAlternativeName.oid]
    assert asked.public_key() == identity.key.public_key()


def response(status: int = 200, body: bytes = b"{}", *headers: tuple[str, str]) -> WebResponse:
    return WebResponse("HTTP/1.1", status, "", headers, body)


@pytest.mark.parametrize(
    "url",
    [
        "http://ca.example/x",
        "https://ca.example",
        "https://ca.example:443/x",
        "https://CA.example/x",
        "https://user@ca.example/x",
        "https://127.0.0.1/x",
        "https://[::1]/x",
        "https://localhost/x",
        "https://ca.example/x#y",
        "https://ca.example/x y",
        "https://ca.example/\r\nx",
        "https://ca.example/ä",
        "https://ca.example/" + "x" * 2048,
        "//ca.example/x",
        "",
    ],
)
def test_a_url_of_another_form_is_not_asked(url: str) -> None:
    with pytest.raises(AcmeError) as caught:
        answers.request_to(url)
    assert caught.value.code == "answer"


def test_a_url_is_asked_as_it_is() -> None:
    for url in ("https://ca.example/x?y=z", "https://ca.example:14000/", "https://a.b/~x/%20/;v"):
        assert answers.request_to(url).url == url


def test_a_header_comes_once() -> None:
    with pytest.raises(AcmeError):
        answers.nonce_of(response(200, b"", ("replay-nonce", "YQ"), ("replay-nonce", "Yg")))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 37.0),
        ("Sun, 06 Nov 1994 08:48:37 GMT", 0.0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", None),
        ("Sun, 00 Nov 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 08:49:37 CET", None),
        ("Sun, 06 Nov 0000 08:49:37 GMT", None),
        ("1.5", None),
        ("٣", None),
        ("", None),
    ],
)
def test_retry_after_is_read_in_both_forms(value: str, seconds: float | None) -> None:
    now = datetime.datetime(1994, 11, 6, 8, 49, tzinfo=datetime.UTC).timestamp()
    assert answers.retry_after(response(503, b"", ("retry-after", value)), now) == seconds


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
MEMBERS = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        (
            *("status", "identifiers", "identifier", "authorizations", "finalize", "certificate", "challenges"),
            *("error", "newNonce", "newAccount", "newOrder", "meta", "wildcard", "type"),
        ),
        JSON | st.just("https://ca.example/x"),
    ),
)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60) | MEMBERS.map(lambda value: json.dumps(value).encode()), st.sampled_from([200, 400]))
def test_any_answer_is_read_or_refused_with_a_code(body: bytes, status: int) -> None:
    found = response(status, body, ("content-type", "application/problem+json"))
    for read in (
        answers.directory,
        answers.account_is_valid,
        lambda one: answers.order(one, "notary.example"),
        lambda one: answers.authorization(one, "notary.example"),
        lambda one: answers.checked(one, 200, now=0),
    ):
        try:
            read(found)
        except AcmeError as error:
            assert error.code in CERTIFICATE_CODES  # noqa: PT017


AUTHORITY = Authority()
SITE = AUTHORITY.issue("notary.example")
NOW = datetime.datetime.now(datetime.UTC).timestamp()


def accepted(pem: bytes) -> chain.Chain:
    leaf = x509.load_der_x509_certificate(SITE.der)
    spki = leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return chain.accepted(pem, key_digest=hashlib.sha256(spki).digest(), domain="notary.example", latest=NOW)


@pytest.mark.parametrize(
    "text", [SITE.chain, f"# a comment\n{SITE.chain}\n\n{AUTHORITY.pem}", SITE.chain.replace("\n", "\r\n")]
)
def test_a_chain_is_read_leaf_first(text: str) -> None:
    found = accepted(text.encode())
    assert found.certificates[0] == SITE.der
    assert found.first < found.renew_at < found.last
    assert (found.last - found.renew_at) * 3 == pytest.approx(found.last - found.first)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        SITE.chain.partition("-----END")[0],
        SITE.chain.replace("M", "!", 1),
        SITE.chain * (chain.MOST + 1),
        "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        SITE.chain + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ],
)
def test_what_is_no_chain_is_refused(text: str) -> None:
    with pytest.raises(AcmeError) as caught:
        accepted(text.encode())
    assert caught.value.code == "chain"


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(SITE.der) - 1), st.integers(1, 255), st.booleans())
def test_a_changed_certificate_is_read_or_refused_with_a_code(at: int, change: int, cut: bool) -> None:
    der = SITE.der[:at] if cut else SITE.der[:at] + bytes([SITE.der[at] ^ change]) + SITE.der[at + 1 :]
    pem = b"-----BEGIN CERTIFICATE-----\n" + base64.b64encode(der) + b"\n-----END CERTIFICATE-----\n"
    try:
        accepted(pem)
    except AcmeError as error:
        assert error.code in ("chain", "key", "name", "validity")  # noqa: PT017
