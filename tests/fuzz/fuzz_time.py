"""NTS-KE records end in cookies or a FormatError, however they are cut; no NTP packet without our key is believed."""

from __future__ import annotations

import contextlib
import hashlib

from pluto_measure.errors import FormatError
from pluto_notary.trusted_time import packet as ntp
from pluto_notary.trusted_time.agree import Rules
from pluto_notary.trusted_time.key_exchange import COOKIES, Established, KeyExchange, Keys, encode, request
from pluto_notary.trusted_time.nts import Association

_KEYS = Keys(b"c" * 32, b"s" * 32)
_RULES = Rules(built_at=1_780_000_000)
_NOW = ntp.ntp_timestamp(1_790_000_000.0).to_bytes(8, "big")


def _random(size: int) -> bytes:
    return hashlib.sha512(b"fuzz").digest()[:size]


def _answer() -> bytes:
    head = bytes.fromhex("240106ec" + "00000148" + "00000083" + "47505300") + bytes(8) + _random(8) + _NOW + _NOW
    return head + ntp.field(ntp.UNIQUE_IDENTIFIER, _random(32))


def seeds() -> list[bytes]:
    response = encode(1, b"\0\0", critical=True) + encode(4, b"\0\x0f", critical=True)
    response += encode(5, bytes(100), critical=False) + encode(6, b"ntp.test", critical=True) + request()[-4:]
    other = ntp.sealed(_answer(), b"x" * 32, bytes(16), ntp.field(ntp.COOKIE, bytes(64)))
    return [response, request(), other, _answer(), ntp.sealed(_answer(), b"x" * 32, bytes(16))]


def _exchanged(pieces: list[bytes]) -> Established | None:
    exchange = KeyExchange()
    try:
        for piece in pieces:
            exchange.feed(piece)
        exchange.end()
    except FormatError:
        return None
    return exchange.established


def target(data: bytes) -> None:
    half = len(data) // 2
    given = _exchanged([data])
    assert given == _exchanged([data[:half], data[half:]])
    assert given is None or 0 < len(given.cookies) <= COOKIES
    association = Association(_KEYS, [bytes(64)])
    association.request(_random, 10.0)
    assert association.receive(data, 0, _RULES, 10.01) is None
    with contextlib.suppress(FormatError):
        for field in ntp.parse(data)[1]:
            again = ntp.field(field.kind, field.body)
            assert data[field.start : field.start + len(again)] == again
    # The same bytes as what a server that has our keys would encrypt.
    sealed = ntp.sealed(_answer(), _KEYS.server_to_client, bytes(16), data)
    if (sample := association.receive(sealed, 0, _RULES, 10.01)) is not None:
        assert sample.low <= sample.high
