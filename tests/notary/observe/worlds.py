"""Recordings of TLS 1.3 sessions for tests: client and site played together, wrongly where a test wants it.

The key schedule is written out here once more, from RFC 8446, 7.1, on HKDF of `cryptography`, and shares nothing with
the code under test. `Tls13(...)` has played a handshake when it was made; `client` and `site` then say more. `change`
names messages and what becomes of them before they are sent: both sides take the changed message for what was said, so
that the rest of the session fits it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from notary.observe import wire
from notary.observe.keys import SCHEMES, certificate_of, key_of, sign
from pluto_notary.observe.errors import ObserveError
from pluto_notary.observe.limits import ObserveLimits
from pluto_notary.observe.opened import opened
from pluto_notary.observe.recording import Opened, Recording

HOST = "site.example"
LIMITS = ObserveLimits()
RETRY = hashlib.sha256(b"HelloRetryRequest").digest()
SUITES: dict[int, tuple[Any, Any, int]] = {
    0x1301: (hashes.SHA256, AESGCM, 16),
    0x1302: (hashes.SHA384, AESGCM, 32),
    0x1303: (hashes.SHA256, ChaCha20Poly1305, 32),
}
X25519, P256 = 0x001D, 0x0017
TO_P256 = {51: wire.u16(P256)}  # what a HelloRetryRequest says
QUESTION, ANSWER = b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\nthe answer"
Change = Mapping[str, Callable[[bytes], bytes]]
Extensions = Mapping[int, bytes | None]  # None: without it
Cut = Callable[[list[bytes]], list[bytes]]


def coalesced(messages: list[bytes]) -> list[bytes]:
    """All messages in one record."""
    return [b"".join(messages)]


def each_alone(messages: list[bytes]) -> list[bytes]:
    return messages


def pieces(size: int) -> Cut:
    """Records of at most `size` bytes, wherever messages end."""

    def cut(messages: list[bytes]) -> list[bytes]:
        whole = b"".join(messages)
        return [whole[at : at + size] for at in range(0, len(whole), size)]

    return cut


def judge(chain: tuple[bytes, ...]) -> Any:
    """Believes every first certificate."""
    return x509.load_der_x509_certificate(chain[0]).public_key()


class Schedule:
    """RFC 8446, 7.1, for one suite."""

    def __init__(self, suite: int) -> None:
        self.algorithm, self.aead, self.key_bytes = SUITES[suite]
        self.size = self.algorithm.digest_size

    def hash(self, data: bytes) -> bytes:
        return hashlib.new(self.algorithm.name, data).digest()

    def hmac(self, key: bytes, data: bytes) -> bytes:
        return hmac.new(key, data, self.algorithm.name).digest()

    def expand(self, secret: bytes, label: str, context: bytes, size: int) -> bytes:
        info = wire.u16(size) + wire.vec(1, b"tls13 " + label.encode()) + wire.vec(1, context)
        return HKDFExpand(self.algorithm(), size, info).derive(secret)

    def derive(self, secret: bytes, label: str, messages: bytes) -> bytes:
        return self.expand(secret, label, self.hash(messages), self.size)

    def handshake_secret(self, shared: bytes) -> bytes:
        early = self.hmac(bytes(self.size), bytes(self.size))
        return self.hmac(self.derive(early, "derived", b""), shared)

    def master_secret(self, handshake_secret: bytes) -> bytes:
        return self.hmac(self.derive(handshake_secret, "derived", b""), bytes(self.size))

    def finished(self, secret: bytes, messages: bytes) -> bytes:
        return self.hmac(self.expand(secret, "finished", b"", self.size), self.hash(messages))


@dataclass
class Side:
    """What one side sends: a list of records that tests may rearrange."""

    schedule: Schedule
    records: list[bytes] = field(default_factory=list)
    said: bytes = b""
    secret: bytes = b""
    sequence: int = 0

    def use(self, secret: bytes) -> None:
        self.secret, self.sequence = secret, 0

    def plain(self, kind: int, body: bytes, version: bytes = b"\3\3") -> None:
        self.records.append(wire.record(kind, body, version))

    def seal(self, kind: int, content: bytes, zeros: int = 0) -> None:
        """A protected record. The oversize is not looked at: that is for the reader."""
        inner = content + bytes([kind]) + bytes(zeros)
        head = bytes([23, 3, 3]) + wire.u16(len(inner) + 16)
        aead, nonce = self._next()
        self.records.append(head + aead.encrypt(nonce, inner, head))

    def opened(self, record: bytes) -> bytes:
        """The content of a record that this side sent; its sequence is this object's."""
        aead, nonce = self._next()
        return bytes(aead.decrypt(nonce, record[5:], record[:5]).rstrip(b"\0")[:-1])

    def _next(self) -> tuple[Any, bytes]:
        key = self.schedule.expand(self.secret, "key", b"", self.schedule.key_bytes)
        iv = self.schedule.expand(self.secret, "iv", b"", 12)
        nonce = bytes(a ^ b for a, b in zip(iv, bytes(4) + self.sequence.to_bytes(8, "big"), strict=True))
        self.sequence += 1
        return self.schedule.aead(key), nonce

    def data(self, content: bytes, zeros: int = 0) -> None:
        self.said += content
        self.seal(23, content, zeros)

    def handshake(self, *messages: bytes) -> None:
        self.seal(22, b"".join(messages))

    def update(self, requested: bytes = b"\0") -> None:
        self.handshake(wire.message(24, requested))
        self.use(self.schedule.expand(self.secret, "traffic upd", b"", self.schedule.size))

    def ticket(self) -> None:
        self.handshake(wire.message(4, bytes(8) + wire.vec(1, b"\1") + wire.vec(2, b"ticket") + wire.vec(2, b"")))

    def close(self) -> None:
        self.seal(21, wire.CLOSE_NOTIFY)


@dataclass
class Tls13:
    """One session. Its fields are what both sides do; the defaults are right."""

    suite: int = 0x1301
    host: str = HOST
    session: bytes = bytes(range(32))
    suites: tuple[int, ...] = (0x1301, 0x1302, 0x1303, 0xC02B)
    schemes: tuple[int, ...] = SCHEMES
    key: str = "p256"
    scheme: int = 0x0403
    chain: tuple[bytes, ...] | None = None
    offered: Extensions = field(default_factory=dict)  # changed in the ClientHello
    again: Extensions = field(default_factory=dict)  # changed in the second hello
    chosen: Extensions = field(default_factory=dict)  # changed in the ServerHello
    agreed: Extensions = field(default_factory=lambda: {0: b"", 16: wire.protocols(b"http/1.1")})
    retry: Mapping[int, bytes] | None = None  # extensions of a HelloRetryRequest
    asks: bool = False  # for a client's certificate
    shown: bytes = bytes(4)  # body of the client's Certificate, if asked
    dummies: bool = True  # change_cipher_spec of both sides
    cut: Cut = coalesced
    hello_cut: Cut = coalesced
    hello_version: bytes = b"\3\1"
    change: Change = field(default_factory=dict)
    behind: Mapping[str, bytes] = field(default_factory=dict)  # put into the last record of a flight
    wrong_context: bytes = b""

    def __post_init__(self) -> None:
        self.schedule = Schedule(self.suite)
        self.client, self.site = Side(self.schedule), Side(self.schedule)
        self.transcript = b""
        self.group = int.from_bytes((self.retry or {}).get(51, wire.u16(X25519)), "big")
        self._hellos()
        self._dummy(self.client)
        secret, schedule = self.secret, self.schedule
        ours = schedule.derive(secret, "c hs traffic", self.transcript)
        theirs = schedule.derive(secret, "s hs traffic", self.transcript)
        self.site.use(theirs)
        self._site_flight(theirs)
        until_finished = self.transcript
        self.client.use(ours)
        self._client_flight(ours)
        master = schedule.master_secret(secret)
        self.client.use(schedule.derive(master, "c ap traffic", until_finished))
        self.site.use(schedule.derive(master, "s ap traffic", until_finished))

    @property
    def recording(self) -> Recording:
        return Recording(b"".join(self.client.records), b"".join(self.site.records))

    def _made(self, name: str, message: bytes) -> bytes:
        return self.change[name](message) if name in self.change else message

    def _dummy(self, side: Side) -> None:
        if self.dummies and not any(one[0] == 20 for one in side.records):
            side.plain(20, b"\1")

    def _exchange(self, client: int, site: int) -> tuple[bytes, bytes, bytes]:
        """Both public keys and what they share, for the group in use."""
        if self.group == X25519:
            ours, theirs = (X25519PrivateKey.from_private_bytes(bytes([one]) * 32) for one in (client, site))
            raw = [one.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw) for one in (ours, theirs)]
            return raw[0], raw[1], ours.exchange(theirs.public_key())
        mine, other = (ec.derive_private_key(one, ec.SECP256R1()) for one in (client, site))
        points = [one.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint) for one in (mine, other)]
        return points[0], points[1], mine.exchange(ec.ECDH(), other.public_key())

    def _client_hello(self, share: bytes, changes: Extensions) -> bytes:
        found: dict[int, bytes | None] = {
            0: wire.server_name(self.host),
            10: wire.u16s(X25519, P256),
            13: wire.u16s(*self.schemes),
            43: wire.u16s(0x0304, 0x0303, size=1),
            51: wire.vec(2, share),
            45: wire.vec(1, b"\1"),
            16: wire.protocols(b"http/1.1"),
            **self.offered,
            **changes,
        }
        choice = wire.u16s(*self.suites) + wire.vec(1, b"\0")
        return wire.hello(1, bytes([7]) * 32, self.session, choice, _block(found))

    def _server_hello(self, random: bytes, found: Extensions) -> bytes:
        choice = wire.u16(self.suite) + b"\0"
        return wire.hello(2, random, self.session, choice, _block({43: b"\3\4", **found}))

    def _hellos(self) -> None:
        wanted, self.group = self.group, X25519
        first_share = wire.u16(X25519) + wire.vec(2, self._exchange(11, 12)[0])
        first = self._made("client_hello", self._client_hello(first_share, {}))
        self._send_hello(self.client, first, self.hello_version)
        if self.retry is None:
            self.transcript = first
        else:
            self.transcript = wire.message(254, self.schedule.hash(first))
            asks = self._made("retry", self._server_hello(RETRY, self.retry))
            self._send_hello(self.site, asks, b"\3\3")
            self.transcript += asks
            self._dummy(self.site)
            self._dummy(self.client)
            self.group = wanted
            share = wire.u16(self.group) + wire.vec(2, self._exchange(11, 12)[0])
            cookie = {44: self.retry[44]} if 44 in self.retry else {}
            second = self._made("second_hello", self._client_hello(share, {**cookie, **self.again}))
            self._send_hello(self.client, second, b"\3\3")
            self.transcript += second
        _, public, shared = self._exchange(11, 12)
        share = wire.u16(self.group) + wire.vec(2, public)
        answer = self._made("server_hello", self._server_hello(bytes([9]) * 32, {51: share, **self.chosen}))
        self._send_hello(self.site, answer, b"\3\3")
        self.transcript += answer
        self._dummy(self.site)
        self.secret = self.schedule.handshake_secret(shared)

    def _send_hello(self, side: Side, message: bytes, version: bytes) -> None:
        name = "client" if side is self.client else "site"
        for one in self.hello_cut([message + self.behind.get(f"{name}_hello", b"")]):
            side.plain(22, one, version)

    def _site_flight(self, secret: bytes) -> None:
        flight: list[bytes] = []

        def say(name: str, message: bytes) -> None:
            flight.append(self._made(name, message))
            self.transcript += flight[-1]

        say("encrypted_extensions", wire.message(8, _block(self.agreed)))
        if self.asks:
            say("certificate_request", wire.message(13, b"\0" + wire.extensions({13: wire.u16s(*SCHEMES)})))
        chain = (certificate_of(self.key),) if self.chain is None else self.chain
        entries = b"".join(wire.vec(3, one) + wire.vec(2, b"") for one in chain)
        say("certificate", wire.message(11, b"\0" + wire.vec(3, entries)))
        context = self.wrong_context or b"TLS 1.3, server CertificateVerify"
        signed = b" " * 64 + context + b"\0" + self.schedule.hash(self.transcript)
        signature = sign(self.scheme, key_of(self.key), signed)
        say("certificate_verify", wire.message(15, wire.u16(self.scheme) + wire.vec(2, signature)))
        say("site_finished", wire.message(20, self.schedule.finished(secret, self.transcript)))
        for one in self.cut([*flight[:-1], flight[-1] + self.behind.get("site_finished", b"")]):
            self.site.handshake(one)

    def _client_flight(self, secret: bytes) -> None:
        flight = []
        if self.asks:
            flight.append(self._made("client_certificate", wire.message(11, self.shown)))
            self.transcript += flight[-1]
        finished = wire.message(20, self.schedule.finished(secret, self.transcript))
        flight.append(self._made("client_finished", finished) + self.behind.get("client_finished", b""))
        for one in self.cut(flight):
            self.client.handshake(one)


def _block(found: Extensions) -> bytes:
    return wire.extensions({kind: content for kind, content in found.items() if content is not None})


def talked(**fields: Any) -> Tls13:
    """A session with a question, an answer in two records, and an end."""
    made = Tls13(**fields)
    head = len(ANSWER) - len(b"the answer")
    made.client.data(QUESTION)
    made.site.ticket()
    made.site.data(ANSWER[:head])
    made.site.data(ANSWER[head:])
    made.client.close()
    made.site.close()
    return made


def read(made: Any, *, host: str = HOST, secret: bytes | None = None, limits: ObserveLimits = LIMITS) -> Opened:
    """What the code under test makes of a session."""
    return opened(made.recording, made.secret if secret is None else secret, host=host, judge=judge, limits=limits)


def refusal(made: Any, **changes: Any) -> tuple[str, str]:
    """Code and problem of the error with which a session is refused. `changes`: as of `read`."""
    try:
        read(made, **changes)
    except ObserveError as error:
        return error.code, error.problem
    raise AssertionError("the session was opened")


def refused(made: Any, code: str = "tls", **changes: Any) -> str:
    """The problem of a session that is refused with this code."""
    found, problem = refusal(made, **changes)
    assert found == code, problem
    return problem
