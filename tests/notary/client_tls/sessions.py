"""The client with a site in memory, honest or lying (`simulators.notary.tls_server`), and what lies are made of."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from cryptography import x509

from notary.client_tls.certificates import HOST
from pluto_notary.client.tls.client import TlsClient
from pluto_notary.client.tls.errors import TlsError
from pluto_notary.client.tls.hello import TLS_12, TLS_13
from pluto_notary.client.tls.messages import message
from pluto_notary.client.tls.records import CHANGE_CIPHER_SPEC
from pluto_notary.client.tls.signatures import PublicKey
from simulators.notary.certificates import Authority
from simulators.notary.tls_server import Server

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
