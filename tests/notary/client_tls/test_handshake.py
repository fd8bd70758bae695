"""Handshakes with an honest web site, whatever it may ask for; whom the judge refuses hears nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from notary.client_tls.certificates import HOST
from notary.client_tls.sessions import IDENTITY, VERSIONS, connected, joined, new_client
from pluto_measure.errors import RefusedError
from pluto_notary.client.tls import errors, messages
from pluto_notary.client.tls.groups import SECP256R1, SECP384R1, X25519
from pluto_notary.client.tls.hello import TLS_12, TLS_13
from pluto_notary.client.tls.messages import vector
from pluto_notary.client.tls.records import ALERT
from pluto_notary.client.tls.signatures import PublicKey
from simulators.notary.tls_server import Server


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
