"""Web sites that lie in one message of the handshake: our own error, the right alert, and no secret."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notary.client_tls.sessions import CCS, IDENTITY, VERSIONS, body, flipped, joined, judge, new_client, put, refused
from pluto_notary.client.tls import errors, messages
from pluto_notary.client.tls.errors import TlsError
from pluto_notary.client.tls.groups import SECP256R1, X25519
from pluto_notary.client.tls.hello import TLS_12
from pluto_notary.client.tls.messages import vector
from simulators.notary.tls_server import RETRY_RANDOM, ClientRefusedError, Server

SIGNATURES = b"\0\x0d\0\4\0\2\4\3"


@pytest.mark.parametrize(
    ("request_body", "match"),
    [
        (b"\1x" + vector(2, SIGNATURES), "context"),
        (b"\0" + vector(2, SIGNATURES * 2), "comes twice"),
        (b"\0" + vector(2, b"\0\x63\0\0"), "names no signatures"),
        (b"\0\0\0", "names no signatures"),
        (b"\0" + vector(2, SIGNATURES) + b"x", "malformed"),
    ],
)
def test_a_false_request_for_a_certificate(request_body: bytes, match: str) -> None:
    refused(Server(IDENTITY, request=True, edit={"request": body(lambda _: request_body)}), match)


def test_a_false_request_for_a_certificate_in_tls_12() -> None:
    refused(Server(IDENTITY, version=TLS_12, request=True, edit={"request": body(lambda old: old[:-1])}), "malformed")


RETRIES: list[tuple[dict[str, Any], str]] = [
    ({"retry": X25519}, "was sent"),
    ({"retry": 0x0019}, "not offered"),
    ({"retry": 0}, "same hello"),
    ({"retry": 0, "extensions": {messages.COOKIE: b"\0\0"}}, "cookie is empty"),
    ({"retry": SECP256R1, "group": X25519}, "another group"),
    ({"retry": SECP256R1, "group": SECP256R1, "extensions": {messages.ALPN: b"\0\2\1h"}}, "where it may not"),
    ({"retry": SECP256R1, "group": SECP256R1, "edit": {"hello": put(2, RETRY_RANDOM)}}, "again"),
    ({"retry": SECP256R1, "group": SECP256R1, "edit": {"hello": put(68, b"\x03")}}, "changed its mind"),
]


@pytest.mark.parametrize(("how", "match"), RETRIES)
def test_a_false_wish_for_another_hello(how: dict[str, Any], match: str) -> None:
    refused(Server(IDENTITY, **how), match)


ILLEGAL, DECRYPT = errors.ILLEGAL_PARAMETER, errors.DECRYPT_ERROR
MALFORMED, UNEXPECTED = errors.DECODE_ERROR, errors.UNEXPECTED_MESSAGE


def repeated(of: int) -> Callable[[bytes], bytes]:
    """A hello whose last extension, of `of` bytes with its head, comes twice."""

    def edit(old: bytes) -> bytes:
        place = 2 + 32 + 1 + old[34] + 3
        return old[:place] + vector(2, old[place + 2 :] + old[-of:])

    return body(edit)


LIES_13: dict[str, tuple[str, Callable[[bytes], bytes], str, int]] = {
    "wrong signature": ("verify", flipped(-1), "did not sign", DECRYPT),
    "scheme that was not offered": ("verify", put(0, b"\2\1"), "not offered", ILLEGAL),  # SHA-1
    "scheme of TLS 1.2 alone": ("verify", put(0, b"\4\1"), "does not know", ILLEGAL),
    "scheme of another curve": ("verify", put(0, b"\5\3"), "not for its key", ILLEGAL),
    "scheme of another kind of key": ("verify", put(0, b"\x08\4"), "not for its key", ILLEGAL),
    "signature that is cut": ("verify", body(lambda old: old[:-1]), "malformed", MALFORMED),
    "no signature": ("verify", lambda _: b"", "type 20", UNEXPECTED),
    "wrong Finished": ("finished", flipped(-1), "Finished", DECRYPT),
    "short Finished": ("finished", body(lambda old: old[:-1]), "Finished", DECRYPT),
    "empty Finished": ("finished", body(lambda _: b""), "Finished", DECRYPT),
    "no certificate message": ("certificate", lambda _: b"", "type 15", UNEXPECTED),
    "no certificate": ("certificate", body(lambda _: bytes(4)), "no certificate", MALFORMED),
    "empty certificate": ("certificate", body(lambda _: b"\0" + vector(3, bytes(5))), "empty", ILLEGAL),
    "certificate with a context": ("certificate", body(lambda old: b"\1\1" + old[1:]), "nobody made", ILLEGAL),
    "certificate with an extension": (
        "certificate",
        body(lambda _: b"\0" + vector(3, vector(3, IDENTITY.der) + b"\0\6\0\5\0\2\1\0")),
        "not offered",
        errors.UNSUPPORTED_EXTENSION,
    ),
    "eleven certificates": (
        "certificate",
        body(lambda _: b"\0" + vector(3, (vector(3, IDENTITY.der) + b"\0\0") * 11)),
        "too many",
        ILLEGAL,
    ),
    "too long a message": ("certificate", lambda raw: raw[:1] + b"\1\0\1" + raw[4:], "too long", MALFORMED),
    "other protocol": ("encrypted_extensions", put(9, b"http/1.0"), "protocol", ILLEGAL),
    "extension that was not offered": (
        "encrypted_extensions",
        body(lambda _: b"\0\4\0\x31\0\0"),
        "not offered",
        errors.UNSUPPORTED_EXTENSION,
    ),
    "extension in the wrong message": (
        "encrypted_extensions",
        body(lambda _: b"\0\4\0\x33\0\0"),
        "not offered",
        errors.UNSUPPORTED_EXTENSION,
    ),
    "extension that comes twice": (
        "encrypted_extensions",
        body(lambda _: b"\0\x08" + b"\0\0\0\0" * 2),
        "comes twice",
        ILLEGAL,
    ),
    "name that is said back": (
        "encrypted_extensions",
        body(lambda _: b"\0\5" + b"\0\0\0\1x"),
        "nothing to say",
        MALFORMED,
    ),
    "bytes behind the extensions": ("encrypted_extensions", body(lambda old: old + b"x"), "malformed", MALFORMED),
    "no extensions message": ("encrypted_extensions", lambda _: b"", "type 11", UNEXPECTED),
    "another session id": ("hello", put(40, b"\xff\xff\xff\xff\xff\xff\xff\xff"), "another session", ILLEGAL),
    "suite that was not offered": ("hello", put(67, b"\x13\4"), "not offered", ILLEGAL),
    "suite of the other version": ("hello", put(67, b"\xc0\x2b"), "not offered", ILLEGAL),
    "compression": ("hello", put(69, b"\1"), "compression", ILLEGAL),
    "key share that comes twice": ("hello", repeated(40), "comes twice", ILLEGAL),
    "zero key share": ("hello", lambda raw: raw[:-32] + bytes(32), "key share is not valid", ILLEGAL),
    "version that was not offered": ("hello", put(76, b"\3\5"), "a way that there is not", ILLEGAL),
    "resumption": (
        "hello",
        body(lambda old: old[:70] + vector(2, old[72:] + b"\0\x29\0\2\0\0")),
        "not offered",
        errors.UNSUPPORTED_EXTENSION,
    ),
    "hello that goes on": ("hello", lambda raw: raw + b"\x08", "keys change", UNEXPECTED),
    "Finished that goes on": ("finished", lambda raw: raw + b"\4", "keys change", UNEXPECTED),
    "message that there is not": ("encrypted_extensions", lambda raw: b"\x63" + raw[1:], "type 99", UNEXPECTED),
}
LIES_12: dict[str, tuple[str, Callable[[bytes], bytes], str, int]] = {
    "wrong signature": ("key_exchange", flipped(-1), "did not sign", DECRYPT),
    "another key exchange than was signed": ("key_exchange", flipped(10), "did not sign", DECRYPT),
    "scheme that was not offered": ("key_exchange", put(36, b"\2\3"), "not offered", ILLEGAL),
    "scheme of another kind of key": ("key_exchange", put(36, b"\x08\4"), "not for its key", ILLEGAL),
    "curve without a name": ("key_exchange", put(0, b"\1"), "no name", ILLEGAL),
    "curve that was not offered": ("key_exchange", put(1, b"\0\x19"), "not offered", ILLEGAL),
    "no key exchange": ("key_exchange", lambda _: b"", "type 14", UNEXPECTED),
    "wrong Finished": ("finished", flipped(-1), "Finished", DECRYPT),
    "short Finished": ("finished", body(lambda old: old[:-1]), "Finished", DECRYPT),
    "done that says something": ("done", body(lambda _: b"x"), "says something", MALFORMED),
    "no certificate": ("certificate", body(lambda _: bytes(3)), "no certificate", MALFORMED),
    "no certificate message": ("certificate", lambda _: b"", "type 12", UNEXPECTED),
    "old version": ("hello", put(0, b"\3\2"), "not offered", errors.PROTOCOL_VERSION),
    "downgrade from 1.3": ("hello", put(26, b"DOWNGRD\1"), "older version", ILLEGAL),
    "downgrade to 1.1": ("hello", put(26, b"DOWNGRD\0"), "older version", ILLEGAL),
    "another hello wanted": ("hello", put(2, RETRY_RANDOM), "without it", ILLEGAL),
    "suite of the other version": ("hello", put(35, b"\x13\1"), "not offered", ILLEGAL),
    "suite for another kind of key": ("hello", put(35, b"\xc0\x2f"), "kind", ILLEGAL),
    "suite without forward secrecy": ("hello", put(35, b"\0\x9c"), "not offered", ILLEGAL),
    "compression": ("hello", put(37, b"\1"), "compression", ILLEGAL),
    "no extended master secret": (
        "hello",
        body(lambda old: old[:38] + vector(2, old[44:])),
        "extended master secret",
        errors.HANDSHAKE_FAILURE,
    ),
    "no word of renegotiation": (
        "hello",
        body(lambda old: old[:38] + vector(2, old[40:44] + old[49:])),
        "secure renegotiation",
        errors.HANDSHAKE_FAILURE,
    ),
    "no extensions at all": ("hello", body(lambda old: old[:38]), "extended master", errors.HANDSHAKE_FAILURE),
    "hello that goes on": ("done", lambda raw: raw + b"\0", "keys change", UNEXPECTED),
}


@pytest.mark.parametrize("lie", LIES_13.values(), ids=LIES_13)
def test_a_lie_of_tls_13(lie: tuple[str, Callable[[bytes], bytes], str, int]) -> None:
    name, edit, match, alert = lie
    refused(Server(IDENTITY, edit={name: edit}), match, alert)


@pytest.mark.parametrize("lie", LIES_12.values(), ids=LIES_12)
def test_a_lie_of_tls_12(lie: tuple[str, Callable[[bytes], bytes], str, int]) -> None:
    name, edit, match, alert = lie
    refused(Server(IDENTITY, version=TLS_12, edit={name: edit}), match, alert)


@pytest.mark.parametrize(
    ("extensions", "match"),
    [
        ({messages.RENEGOTIATION_INFO: b"\x0c" + bytes(12)}, "another handshake"),
        ({messages.POINT_FORMATS: b"\1\1"}, "points"),
        ({35: b""}, "not offered"),  # a session ticket
        ({messages.KEY_SHARE: b""}, "where it may not"),
        ({messages.EXTENDED_MASTER_SECRET: b"x"}, "nothing to say"),
    ],
)
def test_extensions_that_a_hello_of_tls_12_may_not_have(extensions: dict[int, bytes], match: str) -> None:
    refused(Server(IDENTITY, version=TLS_12, extensions=extensions), match)


def test_a_session_that_would_be_resumed() -> None:
    """The site says our session id back, which in TLS 1.2 means that it remembers a session."""
    client, server = new_client(), Server(IDENTITY, version=TLS_12)
    data = client.data_to_send()
    session_id = data[5 + 4 + 2 + 32 :][:33]
    server._edit["hello"] = body(lambda old: old[:34] + session_id + old[35:])
    with pytest.raises(TlsError, match="another session"):
        client.feed(server.receive(data))


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "not records"),
        (b"\x16\3\3\x41\1", "too long"),
        (b"\x16\2\3\0\1", "not records"),
        (b"\x18\3\3\0\1", "not records"),
        (b"\x17\3\3\0\1x", "before there were keys"),
        (b"\x16\3\3\0\0", "empty"),
        (b"\x16\3\3\0\1\2" + CCS, "broken off"),
        (b"\x16\3\3\0\4\x0b\0\0\0", "type 11"),
        (b"\x16\3\3\0\4\2\0\0\0", "malformed"),
        (b"\x15\3\3\0\2\2\x46", "alert 70"),
    ],
)
def test_what_is_no_hello(data: bytes, match: str) -> None:
    with pytest.raises(TlsError, match=match):
        new_client().feed(data)


def test_a_handshake_that_does_not_end() -> None:
    """Each message has its bound, and so have all of them."""
    filled = b"\0\x0d\0\0" + b"\0\x63" + vector(2, bytes(65400))

    edit = {
        "request": body(lambda _: b"\0" + vector(2, filled)),
        "certificate": body(lambda _: b"\0" + vector(3, (vector(3, bytes(8180)) + b"\0\0") * 8)),
    }
    client = new_client(judge=lambda _: judge((IDENTITY.der,)))
    with pytest.raises(TlsError, match="the handshake is too long"):
        joined(client, Server(IDENTITY, request=True, edit=edit))


@VERSIONS
@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(
        ["hello", "encrypted_extensions", "request", "certificate", "verify", "key_exchange", "done", "finished"]
    ),
    st.lists(st.tuples(st.integers(0, 2000), st.binary(max_size=5)), min_size=1, max_size=4),
)
def test_any_change_of_a_message_is_refused_by_our_own_error(
    version: int, name: str, changes: list[tuple[int, bytes]]
) -> None:
    def edit(raw: bytes) -> bytes:
        new = raw
        for place, piece in changes:
            place %= len(new) + 1
            new = new[:place] + piece + new[place + len(piece) // 2 :]
        return new

    client = new_client(judge=lambda _: judge((IDENTITY.der,)))
    server = Server(IDENTITY, version=version, request=True, edit={name: edit})
    try:
        joined(client, server)
        assert server.established or not client.established
    except TlsError:
        assert not client.established
    except ClientRefusedError:
        assert not server.established
