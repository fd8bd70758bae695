"""Records of a web site: what may come after the handshake, ends that are none, and how many say nothing."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notary.client_tls.sessions import CCS, IDENTITY, VERSIONS, connected, new_client
from pluto_notary.client.tls import errors, messages, records
from pluto_notary.client.tls.errors import TlsError
from pluto_notary.client.tls.groups import SECP256R1
from pluto_notary.client.tls.hello import TLS_12, TLS_13
from pluto_notary.client.tls.messages import message
from pluto_notary.client.tls.records import ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE, Record
from simulators.notary.tls_server import Server


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


# After the handshake.


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
@settings(max_examples=60, deadline=None)
@given(st.integers(20, 24), st.binary(max_size=60))
def test_any_record_after_the_handshake_is_taken_or_refused_by_our_own_error(
    version: int, kind: int, content: bytes
) -> None:
    client, server = connected(version=version)
    with contextlib.suppress(TlsError):
        client.feed(server.record(kind, content))
    assert client.read() == (content if kind == APPLICATION_DATA else b"")


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


# Ends.


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


# Sizes and numbers.


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


# Changes of ciphers.


def test_change_cipher_specs_are_few() -> None:
    client, server = new_client(), Server(IDENTITY, retry=SECP256R1, group=SECP256R1)
    client.feed(server.receive(client.data_to_send()) + CCS * 31)
    with pytest.raises(TlsError, match="too many records without data"):
        client.feed(CCS)


@pytest.mark.parametrize("sent", [CCS, CCS + CCS])
def test_a_change_cipher_spec_before_the_hello(sent: bytes) -> None:
    with pytest.raises(TlsError, match="where it may not"):
        new_client().feed(sent)


@VERSIONS
def test_a_change_cipher_spec_after_the_handshake(version: int) -> None:
    client, server = connected(version=version)
    with pytest.raises(TlsError):
        client.feed(CCS if version == TLS_13 else server.record(CHANGE_CIPHER_SPEC, b"\1"))
