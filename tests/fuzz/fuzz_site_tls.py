"""Any bytes of a web site are a handshake that is verified, or one TlsError: whole and byte by byte alike.

The client's random bytes are the same each time, so that the seeds, which honest sites sent once, are taken again.
"""

from __future__ import annotations

import contextlib
import functools

from cryptography import x509

from pluto_notary.client.tls.client import TlsClient
from pluto_notary.client.tls.errors import TlsError
from pluto_notary.client.tls.groups import SECP256R1
from pluto_notary.client.tls.hello import TLS_12, TLS_13
from pluto_notary.client.tls.signatures import PublicKey
from simulators.notary.certificates import Authority
from simulators.notary.tls_server import Server

HOST = "shop.example"


@functools.cache
def said(version: int, group: int) -> tuple[bytes, ...]:
    """What an honest site said, flight by flight: the handshake, and an answer."""
    retry = group if version == TLS_13 else None
    client, pieces = new_client(), list[bytes]()
    server = Server(Authority().issue(HOST), version=version, group=group, retry=retry, request=True)
    while data := client.data_to_send():
        pieces.append(server.receive(data))
        client.feed(pieces[-1])
    assert client.established
    pieces.append(server.write(b"answer") + server.record(21, b"\1\0"))
    client.feed(pieces[-1])
    assert client.ended
    return tuple(pieces)


def seeds() -> list[bytes]:
    return [b"".join(said(version, SECP256R1)) for version in (TLS_13, TLS_12)]


def target(data: bytes) -> None:
    assert outcome([data]) == outcome([data[at : at + 1] for at in range(len(data))])


def outcome(pieces: list[bytes]) -> tuple[bool, bool, bytes, str]:
    client, problem = new_client(), ""
    try:
        for piece in pieces:
            client.feed(piece)
    except TlsError as error:
        problem = error.problem
    if problem:
        with contextlib.suppress(TlsError):
            client.feed(b"x")
            raise AssertionError("failed stays failed")
    assert client.data_to_send()
    return client.established, client.ended, client.read(), problem


def new_client() -> TlsClient:
    return TlsClient(HOST, judge=judged, random=lambda size: bytes(range(1, size + 1)))


def judged(chain: tuple[bytes, ...]) -> PublicKey:
    """The first key; what a real judge cannot read it refuses with an error of its own."""
    try:
        key = x509.load_der_x509_certificate(chain[0]).public_key()
    except Exception as error:
        raise TlsError("the certificate cannot be read") from error
    if not isinstance(key, PublicKey):
        raise TlsError("the certificate has a key of another kind")
    return key
