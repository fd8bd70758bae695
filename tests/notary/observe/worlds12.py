"""Recordings of TLS 1.2 sessions for tests: played by hand, wrongly where a test wants it.

The pseudorandom function and the records are written out here once more, from RFC 5246, and share nothing with the code
under test. `Tls12(...)` has played a handshake when it was made; `client` and `site` then say more. `change` names
messages and what becomes of them before they are sent (nothing: b""); both sides take the changed message for what was
said, so that the rest of the session fits it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from notary.observe import wire
from notary.observe.keys import SCHEMES, certificate_of, key_of, sign
from notary.observe.worlds import HOST, coalesced
from pluto_notary.observe.recording import Recording

ECDSA_128, ECDSA_256, ECDSA_CHACHA = 0xC02B, 0xC02C, 0xCCA9
RSA_128, RSA_256, RSA_CHACHA = 0xC02F, 0xC030, 0xCCA8
# Hash, cipher, bytes of a key, of the fixed IV, of the nonce in each record.
SUITES: dict[int, tuple[str, Any, int, int, int]] = {
    ECDSA_128: ("sha256", AESGCM, 16, 4, 8),
    ECDSA_256: ("sha384", AESGCM, 32, 4, 8),
    ECDSA_CHACHA: ("sha256", ChaCha20Poly1305, 32, 12, 0),
    RSA_128: ("sha256", AESGCM, 16, 4, 8),
    RSA_256: ("sha384", AESGCM, 32, 4, 8),
    RSA_CHACHA: ("sha256", ChaCha20Poly1305, 32, 12, 0),
}
X25519 = 29
HELLO_REQUEST = wire.message(0, b"")


def prf(algorithm: str, secret: bytes, label: bytes, seed: bytes, size: int) -> bytes:
    """RFC 5246, section 5."""

    def mac(data: bytes) -> bytes:
        return hmac.new(secret, data, algorithm).digest()

    step, found = label + seed, b""
    while len(found) < size:
        step = mac(step)
        found += mac(step + label + seed)
    return found[:size]


@dataclass
class Side:
    """What one side sends: a list of records that tests may rearrange."""

    suite: int
    records: list[bytes] = field(default_factory=list)
    said: bytes = b""
    key: bytes = b""
    iv: bytes = b""
    sequence: int = 0

    def plain(self, kind: int, body: bytes, version: bytes = b"\3\3") -> None:
        self.records.append(wire.record(kind, body, version))

    def seal(self, kind: int, content: bytes, explicit: bytes | None = None) -> None:
        """A protected record. `explicit`: another nonce than the next."""
        _, aead, _, _, size = SUITES[self.suite]
        number = self.sequence.to_bytes(8, "big")
        head = bytes([kind, 3, 3])
        first = (number if explicit is None else explicit)[:size]
        nonce = self.iv + first if size else bytes(a ^ b for a, b in zip(self.iv, bytes(4) + number, strict=True))
        sealed = aead(self.key).encrypt(nonce, content, number + head + wire.u16(len(content)))
        self.records.append(head + wire.vec(2, first + sealed))
        self.sequence += 1

    def data(self, content: bytes) -> None:
        self.said += content
        self.seal(23, content)

    def close(self) -> None:
        self.seal(21, wire.CLOSE_NOTIFY)


@dataclass
class Tls12:
    """One session. Its fields are what both sides do; the defaults are right."""

    suite: int = ECDSA_128
    host: str = HOST
    session: bytes = b""
    answer_session: bytes = bytes(range(32))
    suites: tuple[int, ...] = (*SUITES, 0x00FF)
    schemes: tuple[int, ...] = SCHEMES
    groups: tuple[int, ...] = (29, 30, 23, 24, 25)
    key: str = "p256"
    scheme: int = 0x0403
    chain: tuple[bytes, ...] | None = None
    offered: Mapping[int, bytes | None] = field(default_factory=dict)  # changes; None leaves it out
    agreed: Mapping[int, bytes | None] = field(default_factory=dict)
    site_random: bytes = bytes([9]) * 32
    curve: bytes = b"\3"
    group: int = X25519
    point: bytes = bytes(range(32))
    share: bytes = wire.vec(1, bytes(range(32)))
    asks: bool = False  # for a client's certificate
    shown: bytes = bytes(3)  # body of the client's Certificate, if asked
    status: bytes | None = None  # body of a CertificateStatus
    ticket: bytes | None = None  # body of a NewSessionTicket
    hello_version: bytes = b"\3\1"
    cut: Callable[[list[bytes]], list[bytes]] = coalesced
    change: Mapping[str, Callable[[bytes], bytes]] = field(default_factory=dict)
    wrongly_signed: bytes = b""
    swapped: tuple[str, str] = ("", "")  # two messages of the site's flight that change places

    def __post_init__(self) -> None:
        self.secret = hashlib.sha384(b"a master secret").digest()
        self.client, self.site = Side(self.suite), Side(self.suite)
        self.transcript = b""
        self.client_random = bytes([7]) * 32
        self.client.plain(22, self._add("client_hello", self._client_hello()), self.hello_version)
        self._say(self.site, self._site_flight())
        answer = []
        if self.asks:
            answer.append(self._add("client_certificate", wire.message(11, self.shown)))
        answer.append(self._add("client_key_exchange", wire.message(16, self.share)))
        self._say(self.client, answer)
        self._keys()
        self._finish(self.client, "client_finished", b"client finished")
        if self.ticket is not None:
            self._say(self.site, [self._add("ticket", wire.message(4, self.ticket))])
        self._finish(self.site, "site_finished", b"server finished")

    @property
    def recording(self) -> Recording:
        return Recording(b"".join(self.client.records), b"".join(self.site.records))

    def _add(self, name: str, message: bytes) -> bytes:
        message = self.change[name](message) if name in self.change else message
        self.transcript += message
        return message

    def _say(self, side: Side, messages: Iterable[bytes]) -> None:
        for one in self.cut([one for one in messages if one]):
            side.plain(22, one)

    def _client_hello(self) -> bytes:
        found: dict[int, bytes | None] = {
            0: wire.server_name(self.host),
            10: wire.u16s(*self.groups),
            11: b"\1\0",
            13: wire.u16s(*self.schemes),
            16: wire.protocols(b"h2", b"http/1.1"),
            23: b"",
            **({5: b"\1\0\0\0\0"} if self.status is not None else {}),
            **({35: b""} if self.ticket is not None else {}),
            **self.offered,
        }
        kept = {kind: content for kind, content in found.items() if content is not None}
        choice = wire.u16s(*self.suites) + wire.vec(1, b"\0")
        return wire.hello(1, self.client_random, self.session, choice, wire.extensions(kept))

    def _server_hello(self) -> bytes:
        found: dict[int, bytes | None] = {
            0: b"",
            11: b"\1\0",
            16: wire.protocols(b"http/1.1"),
            23: b"",
            0xFF01: b"\0",
            **({5: b""} if self.status is not None else {}),
            **({35: b""} if self.ticket is not None else {}),
            **self.agreed,
        }
        kept = {kind: content for kind, content in found.items() if content is not None}
        choice = wire.u16(self.suite) + b"\0"
        return wire.hello(2, self.site_random, self.answer_session, choice, wire.extensions(kept))

    def _site_flight(self) -> list[bytes]:
        chain = (certificate_of(self.key),) if self.chain is None else self.chain
        parameters = self.curve + wire.u16(self.group) + wire.vec(1, self.point)
        signed = self.wrongly_signed or self.client_random + self.site_random + parameters
        signature = sign(self.scheme, key_of(self.key), signed)
        request = wire.vec(1, b"\1\x40") + wire.u16s(*SCHEMES) + wire.vec(2, b"")
        flight = {
            "server_hello": self._server_hello(),
            "certificate": wire.message(11, wire.vec(3, b"".join(wire.vec(3, one) for one in chain))),
            "status": b"" if self.status is None else wire.message(22, self.status),
            "key_exchange": wire.message(12, parameters + wire.u16(self.scheme) + wire.vec(2, signature)),
            "certificate_request": wire.message(13, request) if self.asks else b"",
            "done": wire.message(14, b""),
        }
        one, other = self.swapped
        if one:
            flight[one], flight[other] = flight[other], flight[one]
        return [self._add(name, message) for name, message in flight.items() if message]

    def _keys(self) -> None:
        algorithm, _, key, fixed, _ = SUITES[self.suite]
        block = prf(algorithm, self.secret, b"key expansion", self.site_random + self.client_random, 2 * (key + fixed))
        self.client.key, self.site.key = block[:key], block[key : 2 * key]
        self.client.iv, self.site.iv = block[2 * key : 2 * key + fixed], block[2 * key + fixed :]

    def _finish(self, side: Side, name: str, label: bytes) -> None:
        side.plain(20, b"\1")
        algorithm = SUITES[self.suite][0]
        digest = hashlib.new(algorithm, self.transcript).digest()
        side.seal(22, self._add(name, wire.message(20, prf(algorithm, self.secret, label, digest, 12))))


def talked(**fields: Any) -> Tls12:
    """A session with a question, an answer in two records, and an end."""
    made = Tls12(**fields)
    made.client.data(b"GET / HTTP/1.1\r\n\r\n")
    made.site.data(b"HTTP/1.1 200 OK\r\n\r\n")
    made.site.data(b"the answer")
    made.client.close()
    made.site.close()
    return made


class Changed:
    """A session whose recording somebody changed: lists of records, heads included."""

    def __init__(self, made: Any) -> None:
        self.secret = made.secret
        self.client, self.site = wire.split(made.recording.client), wire.split(made.recording.site)

    @property
    def recording(self) -> Recording:
        return Recording(b"".join(self.client), b"".join(self.site))
