"""Web sites that lie in one message, and what an honest one may do: our own error, the right alert, and no secret."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any

import pytest
from cryptography import x509
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pluto_measure.errors import RefusedError
from pluto_notary.client.tls import errors, messages, records
from pluto_notary.client.tls.client import TlsClient
from pluto_notary.client.tls.errors import TlsError
from pluto_notary.client.tls.groups import SECP256R1, SECP384R1, X25519
from pluto_notary.client.tls.hello import TLS_12, TLS_13
from pluto_notary.client.tls.messages import message, vector
from pluto_notary.client.tls.records import ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE, Record
from pluto_notary.client.tls.signatures import PublicKey
from simulators.notary.certificates import Authority
from simulators.notary.tls_server import RETRY_RANDOM, ClientRefusedError, Server

HOST = "shop.example"
IDENTITY = Authority().issue(HOST)
VERSIONS = pytest.mark.parametrize("version", [TLS_13, TLS_12])
CCS = bytes([CHANGE_CIPHER_SPEC]) + b"\3\3\0\1\1"


def judge(chain: tuple[bytes, ...]) -> PublicKey:
    assert chain == (IDENTITY.der,)
    key = x509.load_der_x509_certificate(chain[0]).public_key()
    assert isinstance(key, PublicKey)
    return key


def new_client(**changes: Any) -> TlsClient:
    return TlsClient(HOST, **{"judge": judge, "random": os.urandom, **changes})


def joined(client: TlsClient, server: Server) -> None:
    """Let both talk until nobody has anything to say."""
    while data := client.data_to_send():
        client.feed(server.receive(data))


def refused(server: Server, match: str, alert: int | None = None) -> None:
    """The client refuses this server, tells it so, stays failed and has no secret."""
    client = new_client()
    with pytest.raises(TlsError, match=match) as caught:
        joined(client, server)
    assert not client.established
    if alert is not None:
        assert caught.value.alert == alert
    server.receive(client.data_to_send())
    assert caught.value.heard is not None or server.alerts == [bytes([2, caught.value.alert])]
    with pytest.raises(TlsError, match=match):
        client.feed(b"")
    with pytest.raises(RuntimeError):
        _ = client.secret
    with pytest.raises(RuntimeError):
        client.write(b"secret")


def connected(**how: Any) -> tuple[TlsClient, Server]:
    client, server = new_client(), Server(IDENTITY, **how)
    joined(client, server)
    assert client.established
    assert server.established
    return client, server


def flipped(at: int) -> Callable[[bytes], bytes]:
    """A message with one bit another; `at` from the end, or behind the head."""

    def edit(raw: bytes) -> bytes:
        place = at % len(raw)
        return raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]

    return edit


def body(change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """A message with another body, and the length that it then has."""
    return lambda raw: message(raw[0], change(raw[4:]))


def put(place: int, new: bytes) -> Callable[[bytes], bytes]:
    """Bytes of the body replaced."""
    return body(lambda old: old[:place] + new + old[place + len(new) :])


@VERSIONS
@pytest.mark.parametrize("group", [X25519, SECP256R1, SECP384R1])
def test_an_honest_site(version: int, group: int) -> None:
    retry = group if version == TLS_13 and group != X25519 else None
    client, server = connected(version=version, group=group, retry=retry)
    client.write(b"question" * 9000)
    client.feed(server.receive(client.data_to_send()))
    assert server.read == b"question" * 9000
    client.feed(server.write(b"answer" * 9000))
    assert client.read() == b"answer" * 9000
    assert (client.secret, client.chain) == (server.secret, (IDENTITY.der,))
    assert client.version == {TLS_13: "TLSv1.3", TLS_12: "TLSv1.2"}[version]
    assert not client.ended
    client.feed(server.record(ALERT, b"\1\0"))
    assert client.ended
    client.end()
    client.close()
    client.close()
    server.receive(client.data_to_send())
    assert server.alerts == [b"\1\0"]
    with pytest.raises(RuntimeError):
        client.write(b"more")


@VERSIONS
def test_what_the_hello_offers_and_what_not(version: int) -> None:
    _, server = connected(version=version)
    (hello,) = server.hellos
    assert hello[messages.SERVER_NAME] == vector(2, b"\0" + vector(2, HOST.encode()))
    assert hello[messages.ALPN] == b"\0\x09\x08http/1.1"
    assert hello[messages.SUPPORTED_VERSIONS] == b"\4\3\4\3\3"
    tickets, pre_shared_key, early_data, psk_modes = 35, 41, 42, 45
    assert not hello.keys() & {tickets, pre_shared_key, early_data, psk_modes}


@VERSIONS
@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 900), min_size=1, max_size=40))
@example([1] * 4000)
def test_any_cuts_give_the_same(version: int, sizes: list[int]) -> None:
    client, server = new_client(), Server(IDENTITY, version=version, request=True)
    waiting, said = b"", False
    while not server.read or not client.ended:
        waiting += server.receive(client.data_to_send())
        if server.established and not said:
            said = True
            waiting += server.write(b"answer") + server.record(ALERT, b"\1\0")
        size = sizes.pop() if sizes else 1000
        client.feed(waiting[:size])
        waiting = waiting[size:]
        if client.established and not server.read:
            client.write(b"question")
    assert (client.read(), server.read) == (b"answer", b"question")


@VERSIONS
def test_a_request_for_a_certificate_gets_none(version: int) -> None:
    _, server = connected(version=version, request=True)
    (shown,) = [one for one in server.heard if one.kind == messages.CERTIFICATE]
    assert shown.body in (b"\0\0\0\0", b"\0\0\0")


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


@VERSIONS
def test_no_key_protects_more_records_than_it_may(version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    client, server = connected(version=version)
    data = [server.write(b"data") for _ in range(6)]
    monkeypatch.setattr(records, "_MOST", 5)
    with pytest.raises(TlsError, match="too many records"):
        for one in data:
            client.feed(one)
    client, server = connected(version=version)
    with pytest.raises(TlsError, match="too many records"):
        for _ in range(6):
            client.write(b"data")


@pytest.mark.parametrize("how", [{"retry": SECP256R1, "group": SECP256R1}, {"retry": 0, "cookie": b"crumb"}])
def test_a_site_that_asks_for_another_hello(how: dict[str, Any]) -> None:
    client, server = connected(**how)
    first, second = server.hellos
    share, cookie = messages.KEY_SHARE, messages.COOKIE
    assert second.get(cookie) == (b"\0\5crumb" if "cookie" in how else None)
    assert (first[share] == second[share]) is ("cookie" in how)
    for of in (first, second):
        of.pop(share)
        of.pop(cookie, None)
    assert first == second
    assert client.secret == server.secret


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


@pytest.mark.parametrize("version", [TLS_13, TLS_12])
def test_a_site_without_alpn_is_taken(version: int) -> None:
    connected(version=version, protocol=None)


@VERSIONS
def test_a_chain_that_the_judge_refuses_ends_it_with_the_judges_words(version: int) -> None:
    def refuse(_: tuple[bytes, ...]) -> PublicKey:
        raise RefusedError("not this site")

    client, server = new_client(judge=refuse), Server(IDENTITY, version=version)
    with pytest.raises(RefusedError, match="not this site"):
        joined(client, server)
    server.receive(client.data_to_send())
    assert server.alerts == [bytes([2, errors.BAD_CERTIFICATE])]
    with pytest.raises(RefusedError, match="not this site"):
        client.feed(b"x")


def test_tickets_are_passed_over_and_keys_change_on_both_sides() -> None:
    client, server = connected()
    ticket = message(messages.NEW_SESSION_TICKET, bytes(8) + b"\1n" + b"\0\2tt" + b"\0\0")
    client.feed(server.record(HANDSHAKE, ticket * 2))
    client.feed(server.write(b"one"))
    client.feed(server.key_update(wanted=False) + server.write(b"two"))
    assert client.data_to_send() == b""
    client.feed(server.key_update(wanted=True) + server.write(b"three"))
    client.write(b"heard")
    server.receive(client.data_to_send())
    assert (client.read(), server.read) == (b"onetwothree", b"heard")
    assert server.heard[-1].raw == message(messages.KEY_UPDATE, b"\0")


@pytest.mark.parametrize("version", [TLS_13, TLS_12])
def test_nothing_follows_our_goodbye(version: int) -> None:
    """Though we still listen, and the site may ask for new keys, or do something wrong."""
    client, server = connected(version=version)
    client.close()
    server.receive(client.data_to_send())
    assert server.alerts == [b"\1\0"]
    client.feed((server.key_update(wanted=True) if version == TLS_13 else b"") + server.write(b"late"))
    assert client.read() == b"late"
    with pytest.raises(TlsError):
        client.feed(server.record(ALERT, b"\1\1"))
    assert client.data_to_send() == b""


@pytest.mark.parametrize("version", [TLS_13, TLS_12])
def test_the_largest_record_and_one_byte_more(version: int) -> None:
    client, server = connected(version=version)
    client.feed(server.layer.writes.seal(Record(APPLICATION_DATA, bytes(2**14))))
    assert client.read() == bytes(2**14)
    with pytest.raises(TlsError, match="too long") as caught:
        client.feed(server.layer.writes.seal(Record(APPLICATION_DATA, bytes(2**14 + 1))))
    assert caught.value.alert == errors.RECORD_OVERFLOW


def padded(server: Server, inner: bytes) -> bytes:
    """A record of TLS 1.3 whose content, type and padding these are."""
    writes: Any = server.layer.writes
    head = b"\x17\3\3" + (len(inner) + 16).to_bytes(2, "big")
    return head + bytes(writes._aead.encrypt(next(writes._nonces), inner, head))


def test_padding_is_taken_off_and_counts() -> None:
    client, server = connected()
    client.feed(padded(server, b"data\x17" + bytes(1000)) + padded(server, b"\0more\x17"))
    assert client.read() == b"data\0more"
    for inner in (b"", bytes(100), b"data\x14", b"data\x18", b"x\x17" + bytes(2**14)):
        client, server = connected()
        with pytest.raises(TlsError):
            client.feed(padded(server, inner))


@pytest.mark.parametrize(
    ("raw", "match"),
    [
        (message(messages.KEY_UPDATE, b"\2"), "what there is not"),
        (message(messages.KEY_UPDATE, b""), "what there is not"),
        (message(messages.KEY_UPDATE, b"\0") + b"\4", "keys change"),
        (message(messages.NEW_SESSION_TICKET, bytes(9)), "malformed"),
        (message(messages.CERTIFICATE_REQUEST, b"\0\0\0"), "type 13"),
        (message(messages.FINISHED, bytes(32)), "type 20"),
        (message(messages.SERVER_HELLO, bytes(40)), "type 2 "),
    ],
)
def test_what_may_not_come_after_the_handshake_of_tls_13(raw: bytes, match: str) -> None:
    client, server = connected()
    with pytest.raises(TlsError, match=match):
        client.feed(server.record(HANDSHAKE, raw))


@pytest.mark.parametrize("kind", [0, 1, 2, 4, 11, 14, 20, 24])
def test_nothing_is_negotiated_twice_in_tls_12(kind: int) -> None:
    client, server = connected(version=TLS_12)
    with pytest.raises(TlsError, match=f"type {kind} "):
        client.feed(server.record(HANDSHAKE, message(kind, b"")))


@VERSIONS
@pytest.mark.parametrize(
    ("kind", "content", "match"),
    [
        (ALERT, b"\2\x28", "alert 40"),
        (ALERT, b"\1\x5a", "alert 90"),
        (ALERT, b"\1", "alert is malformed"),
        (ALERT, b"\3\0", "alert is malformed"),
        (ALERT, b"\1\0\1\0", "alert is malformed"),
    ],
)
def test_alerts_that_are_no_goodbye(version: int, kind: int, content: bytes, match: str) -> None:
    client, server = connected(version=version)
    with pytest.raises(TlsError, match=match):
        client.feed(server.record(kind, content))
    assert not client.ended


@VERSIONS
def test_a_goodbye_before_the_handshake_is_done_is_none(version: int) -> None:
    client = new_client()
    with pytest.raises(TlsError, match="left before") as caught:
        client.feed(bytes([ALERT]) + b"\3\3\0\2\1\0")
    assert caught.value.heard == errors.CLOSE_NOTIFY


@VERSIONS
def test_bytes_behind_the_goodbye(version: int) -> None:
    client, server = connected(version=version)
    with pytest.raises(TlsError, match="behind the end"):
        client.feed(server.record(ALERT, b"\1\0") + b"\x17")


@VERSIONS
def test_an_end_without_goodbye_is_no_end(version: int) -> None:
    client, server = connected(version=version)
    client.feed(server.write(b"half"))
    with pytest.raises(TlsError, match="without the site's goodbye"):
        client.end()
    with pytest.raises(TlsError, match="without the site's goodbye"):
        client.end()


@VERSIONS
def test_a_record_that_was_changed_dropped_repeated_or_moved(version: int) -> None:
    for change in (
        lambda one, _: one[:-1] + bytes([one[-1] ^ 1]),
        lambda one, _: one[:5] + bytes([one[5] ^ 1]) + one[6:],
        lambda _, two: two,
        lambda one, _: one + one,
        lambda one, two: two + one,
        lambda one, _: bytes([HANDSHAKE]) + one[1:],
        lambda one, _: one[:5] + b"",
    ):
        client, server = connected(version=version)
        changed = change(server.write(b"first"), server.write(b"second"))
        if len(changed) == 5:
            changed = changed[:3] + b"\0\0"
        with pytest.raises(TlsError):
            client.feed(changed)


@pytest.mark.parametrize("version", [TLS_13, TLS_12])
def test_empty_records_are_few(version: int) -> None:
    client, server = connected(version=version)
    client.feed(b"".join(server.layer.writes.seal(Record(APPLICATION_DATA, b"")) for _ in range(31)))
    client.feed(server.write(b"data"))
    assert client.read() == b"data"
    with pytest.raises(TlsError, match="too many records without data"):
        client.feed(server.layer.writes.seal(Record(APPLICATION_DATA, b"")))


def test_tickets_and_key_updates_are_few() -> None:
    for said in ("ticket", "update"):
        client, server = connected()
        ticket = message(messages.NEW_SESSION_TICKET, bytes(8) + b"\0\0\1t\0\0")
        with pytest.raises(TlsError, match="too many records without data"):
            for _ in range(33):
                client.feed(server.record(HANDSHAKE, ticket) if said == "ticket" else server.key_update(wanted=True))


def test_change_cipher_specs_are_few() -> None:
    client, server = new_client(), Server(IDENTITY, retry=SECP256R1, group=SECP256R1)
    client.feed(server.receive(client.data_to_send()) + CCS * 31)
    with pytest.raises(TlsError, match="too many records without data"):
        client.feed(CCS)


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


@pytest.mark.parametrize("sent", [CCS, CCS + CCS])
def test_a_change_cipher_spec_before_the_hello(sent: bytes) -> None:
    with pytest.raises(TlsError, match="where it may not"):
        new_client().feed(sent)


@VERSIONS
def test_a_change_cipher_spec_after_the_handshake(version: int) -> None:
    client, server = connected(version=version)
    with pytest.raises(TlsError):
        client.feed(CCS if version == TLS_13 else server.record(CHANGE_CIPHER_SPEC, b"\1"))


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


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.binary(max_size=80), max_size=6), st.sampled_from([b"", b"\x16\3\3", b"\x15\3\3", b"\x16\3\3\0\x40\2"])
)
def test_any_bytes_are_taken_or_refused_by_our_own_error(pieces: list[bytes], start: bytes) -> None:
    client = new_client()
    client.data_to_send()
    with contextlib.suppress(TlsError):
        client.feed(start)
        for piece in pieces:
            client.feed(piece)
    assert not client.established


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


@VERSIONS
@settings(max_examples=60, deadline=None)
@given(st.integers(20, 24), st.binary(max_size=60))
def test_any_record_after_the_handshake_is_taken_or_refused_by_our_own_error(
    version: int, kind: int, content: bytes
) -> None:
    client, server = connected(version=version)
    with contextlib.suppress(TlsError):
        client.feed(server.record(kind, content))
    assert client.read() == (content if kind == APPLICATION_DATA else b"")
