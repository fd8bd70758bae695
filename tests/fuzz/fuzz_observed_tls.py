"""Whatever a site says, protected with the right keys or not: a recording is opened, or ObserveError says why not.

The first byte says what the others are: the site's bytes; what stands in its protected flight; or records of both sides
behind the handshake, each as its side, its type, its length in two bytes and its content. Only the flight that the site
signed and finished is believed, and behind the handshake nothing else is shown than what stands in the records.
"""

from __future__ import annotations

import functools
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from notary.observe import wire
from notary.observe.worlds import HOST, LIMITS, Side, Tls13, judge
from pluto_notary.observe.errors import ObserveError
from pluto_notary.observe.opened import opened
from pluto_notary.observe.recording import Opened, Recording

RAW, FLIGHT, LATE = range(3)


@functools.cache
def session() -> tuple[Tls13, bytes]:
    """A session that ends with its handshake, and what stands in the site's flight."""
    made = Tls13(asks=True)
    return made, flight_keys(made).opened(made.site.records[-1])


def flight_keys(made: Tls13) -> Side:
    hellos = len(made.client.records[0]) + len(made.site.records[0]) - 10
    return Side(made.schedule, secret=made.schedule.derive(made.secret, "s hs traffic", made.transcript[:hellos]))


def seeds() -> list[bytes]:
    made, flight = session()
    ticket = wire.message(4, bytes(8) + wire.vec(1, b"\1") + wire.vec(2, b"ticket") + wire.vec(2, b""))
    late = [(1, 22, ticket), (0, 23, b"question"), (1, 23, b"answer"), (0, 21, b"\1\0"), (1, 21, b"\1\0")]
    updates = [(0, 22, wire.message(24, b"\1")), (0, 23, b"question"), (1, 22, wire.message(24, b"\0")), (1, 23, b"a")]
    return [
        bytes([RAW]) + b"".join(made.site.records),
        bytes([FLIGHT]) + flight,
        *(bytes([LATE]) + b"".join(bytes(one[:2]) + wire.vec(2, one[2]) for one in said) for said in (late, updates)),
    ]


def target(data: bytes) -> None:
    kind, data = data[:1], data[1:]
    made, flight = session()
    client, site = b"".join(made.client.records), b"".join(made.site.records)
    if kind == bytes([RAW]):
        assert read(client, data) is None or data == site
    elif kind == bytes([FLIGHT]):
        side = flight_keys(made)
        side.handshake(data[: 1 << 14])
        assert (read(client, b"".join([*made.site.records[:2], *side.records])) is not None) == (data == flight)
    else:
        late(made, data)


def late(made: Tls13, data: bytes) -> None:
    sides = [Side(made.schedule, secret=one.secret) for one in (made.client, made.site)]
    said = [b"", b""]
    while len(data) >= 4:
        one, kind, size = data[0] & 1, data[1] or 255, int.from_bytes(data[2:4], "big")
        content, data = data[4 : 4 + size], data[4 + size :]
        said[one] += content if kind == 23 else b""
        if kind == 22 and content in (wire.message(24, b"\0"), wire.message(24, b"\1")):
            sides[one].update(content[-1:])
        else:
            sides[one].seal(kind, content)
    client, site = (
        b"".join([*before.records, *after.records])
        for before, after in zip((made.client, made.site), sides, strict=True)
    )
    seen = read(client, site)
    assert seen is None or [seen.client, seen.site] == said


def judged(chain: tuple[bytes, ...]) -> Any:
    """The first key; what a real judge cannot read it refuses with an error of its own."""
    try:
        return judge(chain)
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise ObserveError("certificate", "a certificate cannot be read") from error


def read(client: bytes, site: bytes) -> Opened | None:
    made, _ = session()
    try:
        return opened(Recording(client, site), made.secret, host=HOST, judge=judged, limits=LIMITS)
    except ObserveError:
        return None
