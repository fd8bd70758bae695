"""The project's TLS client with OpenSSL as the site, and what is made of the recording: two readings of the RFCs."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from typing import Any

import pytest
from OpenSSL import SSL

from notary.observe import wire
from notary.observe.keys import certificate_of
from notary.observe.openssl import pem, showing
from notary.observe.worlds import HOST, LIMITS, judge
from pluto_notary.client.tls.client import TlsClient
from pluto_notary.observe.errors import ObserveError
from pluto_notary.observe.opened import opened
from pluto_notary.observe.recording import Opened, Recording

VERSIONS = {"TLSv1.2": SSL.TLS1_2_VERSION, "TLSv1.3": SSL.TLS1_3_VERSION}


def site(key: str, version: str) -> SSL.Connection:
    context = showing(*pem(key))
    context.set_min_proto_version(VERSIONS[version])
    context.set_max_proto_version(VERSIONS[version])
    connection = SSL.Connection(context, None)
    connection.set_accept_state()
    return connection


@dataclass
class Wire:
    """Client and site, joined, with a recorder between them."""

    site: SSL.Connection
    client: TlsClient = field(default_factory=lambda: TlsClient(HOST, judge=judge, random=os.urandom))
    sent: bytes = b""
    heard: bytes = b""

    def settle(self) -> bytes:
        """Carries bytes until nobody has more. Gives what the site's application read."""
        read = b""
        while True:
            outgoing = self.client.data_to_send()
            if outgoing:
                self.sent += outgoing
                self.site.bio_write(outgoing)
            with contextlib.suppress(SSL.WantReadError, SSL.ZeroReturnError):
                while True:
                    read += self.site.recv(1 << 14)
            incoming = b""
            with contextlib.suppress(SSL.WantReadError):
                while True:
                    incoming += self.site.bio_read(1 << 14)
            self.heard += incoming
            if incoming:
                self.client.feed(incoming)
            if not outgoing and not incoming:
                return read

    def read(self, **changes: Any) -> Opened:
        given = {"client": self.sent, "site": self.heard, "secret": self.client.secret, **changes}
        secret = given.pop("secret")
        return opened(Recording(**given), secret, host=HOST, judge=judge, limits=LIMITS)


def talked(key: str, version: str) -> Wire:
    joined = Wire(site(key, version))
    joined.settle()
    joined.client.write(b"question")
    assert joined.settle() == b"question"
    joined.site.sendall(b"answer" * 1000)
    joined.settle()
    assert joined.client.read() == b"answer" * 1000
    joined.site.shutdown()
    joined.settle()
    joined.client.close()
    joined.settle()
    return joined


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("key", ["p256", "p384", "rsa"])
def test_session(key: str, version: str) -> None:
    joined = talked(key, version)
    seen = joined.read()
    assert (seen.version, seen.closed) == (version, True)
    assert (seen.client, seen.site) == (b"question", b"answer" * 1000)
    assert seen.chain == joined.client.chain == (certificate_of(key),)


@pytest.mark.parametrize("version", VERSIONS)
def test_tampered(version: str) -> None:
    joined, other = (talked("p256", version) for _ in range(2))
    with pytest.raises(ObserveError, match="secret"):
        joined.read(secret=other.client.secret)
    for side, raw in (("client", joined.sent), ("site", joined.heard)):
        records = wire.split(raw)
        for at in range(len(records) - 1):  # without its last record a direction is whole too, only shorter
            if version == "TLSv1.3" and records[at][0] == wire.CHANGE_CIPHER_SPEC:
                continue  # which says nothing there
            for changed in (records[:at] + records[at + 1 :], [*records[: at + 1], *records[at:]]):
                with pytest.raises(ObserveError):
                    joined.read(**{side: b"".join(changed)})
