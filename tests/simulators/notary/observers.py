"""A client that observes a web site through a notary, and does at each step what a test wants. Blocking; for tests.

with Observer(notary.client(manifest), authority) as observer:
    observer.connect().shake().ask(request).hear_all().close()
    assert observer.reveal() == "proof"
"""

from __future__ import annotations

import json
import os
import time
from types import TracebackType
from typing import Any, Self

from pluto_notary.client.tls.client import TlsClient
from pluto_notary.fetch.http1 import Http1Session
from pluto_notary.fetch.limits import FetchLimits
from pluto_notary.fetch.outgoing import prepared
from pluto_notary.manifest import Manifest
from pluto_notary.observe.roots import Roots
from pluto_notary.protocol.frames import encode
from pluto_notary.protocol.messages import Fetch, Observe
from pluto_notary.protocol.observe import CLOSED, CONNECTED, DATA, ENDED, Close, Data, Reveal
from simulators.notary.certificates import Authority
from simulators.notary.clients import ERROR, Client


def asking(manifest: Manifest, order: Fetch) -> bytes:
    """The request that the manifest makes, as `fetch` would send it over HTTP/1.1."""
    limits = FetchLimits()
    return Http1Session(prepared(manifest.request(dict(order.variables)), limits), limits).start()


class EndedError(Exception):
    """The notary ended the session with an error, whose code this is."""


class Observer:
    """One session. `sent` and `received`: what was said to the web site and by it; `order` what the client asks for."""

    def __init__(self, client: Client, authority: Authority, host: str) -> None:
        self.client = client
        roots, wall = Roots.load(authority.pem.encode()), int(time.time())
        self.tls = TlsClient(host, judge=lambda chain: roots.judge(chain, host, (wall, wall)), random=os.urandom)
        self.sent, self.received, self.heard = bytearray(), bytearray(), bytearray()
        self.ended = self.deaf = False  # deaf: what the web site says is no TLS, and not for ours
        self.counts: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.__exit__(kind, error, trace)

    def connect(self) -> Self:
        """Up to `connected`. EndedError."""
        self.client.go("evidence").send(encode(Observe(self.client._order)))
        while self.step() != CONNECTED:
            pass
        return self

    def shake(self) -> Self:
        """The handshake with the web site."""
        self.flush()
        while not self.tls.established:
            self.step()
        return self

    def ask(self, request: bytes) -> Self:
        """Say this inside of TLS."""
        self.tls.write(request)
        return self.flush()

    def hear(self, size: int) -> Self:
        """Until the web site said so many bytes inside of TLS."""
        while len(self.heard) < size and not self.tls.ended:
            self.step()
        return self

    def hear_all(self) -> Self:
        """Until the web site said goodbye inside of TLS; then we do."""
        while not self.tls.ended:
            self.step()
        self.tls.close()
        return self.flush()

    def close(self) -> Self:
        """The end of the recording, up to `closed`."""
        self.client.send(encode(Close()))
        while self.step() != CLOSED:
            pass
        return self

    def reveal(self, secret: bytes | None = None, exchange: int = 0) -> str:
        """How the session ends."""
        self.client.send(encode(Reveal(self.tls.secret if secret is None else secret, exchange)))
        return self.client.ending()

    def whole(self, request: bytes) -> str:
        """An honest session; how it ends."""
        self.connect().shake().ask(request).hear_all().close()
        return self.reveal()

    def say(self, data: bytes) -> Self:
        """Bytes for the web site, whatever they are."""
        for at in range(0, len(data), 65536):
            self.client.send(encode(Data(data[at : at + 65536])))
        self.sent += data
        return self

    def flush(self) -> Self:
        return self.say(self.tls.data_to_send())

    def step(self) -> int:
        """Take one frame; its type. EndedError, EOFError."""
        found = self.client.hear()
        if found is None:
            raise EOFError("the notary is gone")
        kind, body = found
        if kind == ERROR:
            raise EndedError(json.loads(body)["code"])
        if kind == DATA:
            self.received += body
            if not self.deaf:
                self.tls.feed(body)
                self.heard += self.tls.read()
                self.flush()
        elif kind == ENDED:
            self.ended = True
        elif kind == CLOSED:
            self.counts = json.loads(body)
        return kind
