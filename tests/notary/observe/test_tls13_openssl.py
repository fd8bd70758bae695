"""Recordings of sessions with OpenSSL as the site: what it makes of the RFC is opened too.

The client's part is played with the makers of `worlds`, because OpenSSL tells nobody the handshake secret.
"""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from OpenSSL import SSL

from notary.observe import wire
from notary.observe.keys import SCHEMES, certificate_of
from notary.observe.openssl import pem, showing
from notary.observe.worlds import HOST, LIMITS, P256, RETRY, SUITES, X25519, Schedule, Side, judge, read
from pluto_notary.observe.errors import ObserveError
from pluto_notary.observe.opened import opened
from pluto_notary.observe.recording import Recording


def site(key: str, *, asks: bool = False) -> SSL.Connection:
    """OpenSSL with memory for a wire."""
    context = showing(*pem(key))
    context.set_alpn_select_callback(lambda _, offered: b"http/1.1" if b"http/1.1" in offered else b"")
    if asks:
        context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
    connection = SSL.Connection(context, None)
    connection.set_accept_state()
    return connection


class Session:
    """A client that says what it should, to OpenSSL. `shares` False: it lets the site ask for a key."""

    def __init__(self, suite: int, connection: SSL.Connection, *, shares: bool = True) -> None:
        self._site, self.schedule = connection, Schedule(suite)
        self._suite, self._key = suite, X25519PrivateKey.generate()
        self._point = ec.generate_private_key(ec.SECP256R1())
        self.client, self._heard, self._at = Side(self.schedule), b"", 0
        self._hellos(shares)
        self._flight()

    @property
    def recording(self) -> Recording:
        return Recording(b"".join(self.client.records), self._heard)

    def exchange(self) -> None:
        """What was said goes to the site, and what it says comes back."""
        self._site.bio_write(b"".join(self.client.records[self._at :]))
        self._at = len(self.client.records)
        with contextlib.suppress(SSL.WantReadError):
            self._site.do_handshake()
        self.hear()

    def hear(self) -> None:
        with contextlib.suppress(SSL.WantReadError):
            while piece := self._site.bio_read(1 << 16):
                self._heard += piece

    def _hello(self, share: bytes, cookie: dict[int, bytes]) -> bytes:
        found = {
            0: wire.server_name(HOST),
            10: wire.u16s(P256, X25519),
            13: wire.u16s(*SCHEMES),
            16: wire.protocols(b"h2", b"http/1.1"),
            43: wire.u16s(0x0304, 0x0303, size=1),
            51: wire.vec(2, share),
            45: wire.vec(1, b"\1"),
            **cookie,
        }
        choice = wire.u16s(self._suite) + wire.vec(1, b"\0")
        return wire.hello(1, b"random" * 5 + b"!!", bytes(32), choice, wire.extensions(found))

    def _hellos(self, shares: bool) -> None:
        public = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        first = self._hello(wire.u16(X25519) + wire.vec(2, public) if shares else b"", {})
        self.transcript = first
        self.client.plain(22, first, b"\3\1")
        self.exchange()
        answer = wire.split(self._heard)[0][5:]
        if answer[6:38] == RETRY:
            assert wire.u16(51) + b"\0\2" + wire.u16(P256) in answer
            point = self._point.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
            second = self._hello(wire.u16(P256) + wire.vec(2, point), {})
            self.transcript = wire.message(254, self.schedule.hash(first)) + answer + second
            self.client.plain(20, b"\1")
            self.client.plain(22, second)
            self.exchange()
            answer = next(one[5:] for one in wire.split(self._heard)[1:] if one[0] == 22)
        self.transcript += answer
        self.secret = self.schedule.handshake_secret(self._shared(answer))

    def _shared(self, answer: bytes) -> bytes:
        raw = answer[answer.index(wire.u16(51), 75) + 4 :]
        key = raw[4 : 4 + int.from_bytes(raw[2:4], "big")]
        if raw[:2] == wire.u16(X25519):
            return self._key.exchange(X25519PublicKey.from_public_bytes(key))
        return self._point.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), key))

    def _flight(self) -> None:
        """Reads the site's flight, and answers with a Finished."""
        derive = self.schedule.derive
        ours = derive(self.secret, "c hs traffic", self.transcript)
        theirs = Side(self.schedule, secret=derive(self.secret, "s hs traffic", self.transcript))
        flight = b"".join(theirs.opened(one) for one in wire.split(self._heard) if one[0] == 23)
        asked = wire.message(13, b"\0")[:1] == flight[4 + int.from_bytes(flight[1:4], "big") :][:1]
        self.transcript += flight
        until_finished = self.transcript
        self.client.use(ours)
        if asked:
            self.client.handshake(wire.message(11, bytes(4)))
            self.transcript += wire.message(11, bytes(4))
        self.client.handshake(wire.message(20, self.schedule.finished(ours, self.transcript)))
        master = self.schedule.master_secret(self.secret)
        self.client.use(derive(master, "c ap traffic", until_finished))
        self.exchange()


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("key", ["p256", "p384", "rsa", "ed25519"])
@pytest.mark.parametrize("shares", [True, False])
def test_session(suite: int, key: str, shares: bool) -> None:
    server = site(key)
    made = Session(suite, server, shares=shares)
    made.client.data(b"question")
    made.exchange()
    assert server.recv(100) == b"question"
    server.sendall(b"answer" * 10_000)
    made.hear()
    assert read(made).site == b"answer" * 10_000
    assert not read(made).closed
    server.shutdown()
    made.client.close()
    made.exchange()
    seen = read(made)
    assert (seen.client, seen.site, seen.closed) == (b"question", b"answer" * 10_000, True)
    assert seen.chain == (certificate_of(key),)


def test_it_asks_for_a_certificate() -> None:
    server = site("p256", asks=True)
    made = Session(0x1301, server)
    server.sendall(b"answer")
    made.hear()
    assert read(made).site == b"answer"


def test_it_updates_its_keys() -> None:
    server = site("p256")
    made = Session(0x1302, server)
    for turn in range(3):
        made.client.update(b"\1")
        made.client.data(b"question")
        made.exchange()
        assert server.recv(100) == b"question"
        before = len(made.recording.site)
        server.sendall(b"answer %d" % turn)
        made.hear()
        assert len(wire.split(made.recording.site[before:])) == 2  # a KeyUpdate and the answer
    assert read(made).site == b"answer 0answer 1answer 2"


def test_it_is_not_another_session() -> None:
    made, other = (Session(0x1301, site("p256")) for _ in range(2))
    with pytest.raises(ObserveError, match="secret"):
        opened(made.recording, other.secret, host=HOST, judge=judge, limits=LIMITS)
    mixed: Any = Recording(made.recording.client, other.recording.site)
    for secret in (made.secret, other.secret):
        with pytest.raises(ObserveError):
            opened(mixed, secret, host=HOST, judge=judge, limits=LIMITS)
