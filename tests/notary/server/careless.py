"""A client that overlooks whatever is wrong and reveals what it has, and somebody between the notary and a site."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any, Final

from cryptography import x509

from notary.server.observed import request
from notary.server.shared import BODY, HOST, JSON, QUICK
from pluto_notary.client.tls.client import TlsClient
from pluto_notary.client.tls.errors import TlsError
from pluto_notary.limits import Limits
from simulators.notary import sites, whole
from simulators.notary.certificates import Authority
from simulators.notary.meddler import Change, Meddler
from simulators.notary.observers import Observer
from simulators.notary.sites import Site, Visit

VERSIONS: Final = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
LONG: Final = b"\x17\x03\x03" + (2**14 + 257).to_bytes(2, "big") + bytes(2**14 + 257)


def leaves(*pieces: bytes, goodbye: bool = True) -> Callable[[Visit], None]:
    """A site that answers, says goodbye or not, and waits for none."""

    def act(visit: Visit) -> None:
        visit.read_request()
        for piece in pieces:
            visit.send(piece)
        visit.connection.settimeout(0)
        if goodbye:
            assert isinstance(visit.connection, ssl.SSLSocket)
            with contextlib.suppress(OSError):
                visit.connection.unwrap()
        visit.connection.shutdown(socket.SHUT_WR)

    return act


@contextlib.contextmanager
def between(
    authority: Authority,
    version: str,
    change: Change,
    act: Callable[[Visit], None] | None = None,
    limits: Limits = QUICK,
) -> Iterator[tuple[whole.Running, Meddler]]:
    """A notary, somebody who meddles, and an honest site of this version."""
    both = (VERSIONS[version], VERSIONS[version])
    with (
        Site(authority.issue(HOST), act or leaves(sites.whole(BODY, JSON)), versions=both) as site,
        Meddler(site.port, change) as path,
        whole.running(authority, {HOST: path.port}, limits=limits) as notary,
    ):
        yield notary, path


class Careless(TlsClient):
    """Looks at nothing behind the handshake, and reads records one by one, so that nothing behind it can fail it."""

    waiting = b""

    def feed(self, data: bytes) -> None:
        self.waiting += data
        while len(self.waiting) >= 5 and len(self.waiting) >= (size := 5 + int.from_bytes(self.waiting[3:5], "big")):
            one, self.waiting = self.waiting[:size], self.waiting[size:]
            if not self.established:
                super().feed(one)

    @property
    def known(self) -> bytes:
        """The secret, as soon as there is one: the handshake need not be done."""
        handshake: Any = self._handshake
        return handshake.secret if handshake is not None and handshake.secret else bytes(32)


def anybody(chain: tuple[bytes, ...]) -> Any:
    """Believes every certificate."""
    try:
        return x509.load_der_x509_certificate(chain[0]).public_key()
    except ValueError as error:
        raise TlsError("that is none") from error


def overlooked(one: Observer, host: str = HOST, *, secret: bytes | None = None) -> str:
    """A session of a client that goes as far as it can and takes whatever comes; how it ends, with its own secret or
    this one.
    """
    one.tls = careless = Careless(host, judge=anybody, random=os.urandom)
    one.connect()
    one.client.socket.settimeout(0.4)  # nothing more may come where something was taken away
    with contextlib.suppress(TlsError, TimeoutError):
        one.shake()
    one.client.socket.settimeout(20)
    one.deaf = True
    if careless.established:
        one.ask(request())
        while not one.ended:
            one.step()
    one.close()
    return one.reveal(secret or careless.known)
