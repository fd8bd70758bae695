"""Whoever wants a proof of what a site did not say, by `observe`: a code each, nothing is signed, and the notary lives.

Here are wrong secrets, sites that are not the host, and what costs more than it weighs; wrong records stand in
`test_hostile_records`, what the path can do behind a handshake of TLS 1.3 in `test_forgery`.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Final, Self

import brotli
import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from notary.server.careless import LONG, VERSIONS, between, leaves, overlooked
from notary.server.observed import observing, request
from notary.server.shared import BODY, HOST, JSON, QUICK, SECRETS, Watched, lives, manifest, refused
from pluto_measure.record import replace
from pluto_notary.client.tls.schedule import Schedule13
from pluto_notary.protocol.frames import encode
from pluto_notary.protocol.observe import REVEAL, Reveal
from simulators.notary import sites, whole
from simulators.notary.certificates import Authority, Identity
from simulators.notary.meddler import untouched
from simulators.notary.observers import Observer
from simulators.notary.sites import Site

# Secrets.


def derived(one: Observer) -> list[bytes]:
    """All that follows from the secret and is as long as one: what a client could hand out for keys."""
    handshake: Any = one.tls._handshake
    schedule: Schedule13 = handshake._schedule
    master = schedule.master_secret(one.tls.secret)
    keys = schedule.key_and_iv(handshake._server, handshake._suite.key_bytes)
    found = [master, handshake._client, handshake._server, schedule.next_traffic_secret(handshake._server)]
    return [*found, (keys[0] + bytes(32))[:32], (b"".join(keys) + bytes(32))[:32]]


def test_weakness_11_no_key_or_later_secret_does(authority: Authority, watched: Watched) -> None:
    with between(authority, "TLSv1.3", untouched) as (notary, _):
        for number in range(6):
            with observing(notary, authority) as one:
                one.connect().shake().ask(request()).hear_all().close()
                assert one.reveal(derived(one)[number]) == "secret"
        refused(notary, *["secret"] * 6)
    assert watched.signatures == 0


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"secret": "00" * 16}, "json"),
        ({"secret": "00" * 28}, "json"),
        ({"secret": "00" * 44}, "json"),
        ({"secret": "AB" * 32}, "json"),
        ({"key": "00" * 16, "iv": "00" * 12}, "json"),
        ({"secret": ["00" * 32]}, "json"),
        ({"secret": None}, "json"),
        ({"secret": "00" * 500}, "size"),
        ({"exchange": -1}, "json"),
        ({"exchange": True}, "json"),
        ({"exchange": 2**53 - 1}, "http"),
        ({"version": 1}, "version"),
    ],
)
def test_weakness_11_there_is_one_secret_and_nothing_else_to_say(
    authority: Authority, watched: Watched, members: dict[str, Any], code: str
) -> None:
    with between(authority, "TLSv1.3", untouched) as (notary, _), observing(notary, authority) as one:
        one.connect().shake().ask(request()).hear_all().close()
        one.client.say(REVEAL, {"exchange": 0, "secret": one.tls.secret.hex(), "version": 2, **members})
        assert one.client.ending() == code
        assert one.client.closed_in_order()
        lives(notary)
    assert watched.signatures == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_weakness_11_a_secret_is_told_once(authority: Authority, watched: Watched, version: str) -> None:
    """There is no second try, with another one, at what was recorded."""
    with between(authority, version, untouched) as (notary, _), observing(notary, authority) as one:
        one.connect().shake().ask(request()).hear_all().close()
        wrong, right = Reveal(bytes(len(one.tls.secret)), 0), Reveal(one.tls.secret, 0)
        one.client.send(encode(wrong) + encode(right))
        assert one.client.ending() in ("secret", "order")
        assert one.client.closed_in_order()
    assert watched.signatures == 0


# Other hosts.


CERTIFICATES: Final[dict[str, Callable[[Authority], Identity]]] = {
    "for another name": lambda authority: authority.issue("elsewhere.example"),
    "for a name below it": lambda authority: authority.issue(f"www.{HOST}"),
    "for all names below it": lambda authority: authority.issue(f"*.{HOST}"),
    "with the name in its subject alone": lambda authority: authority.issue(common_name=HOST, alternatives=False),
    "of somebody else": lambda _: Authority("Root of the test sites").issue(HOST),
    "of itself": lambda authority: authority.issue(HOST, self_signed=True),
    "that has ended": lambda authority: authority.issue(HOST, from_day=-9, to_day=-1),
    "that has not begun": lambda authority: authority.issue(HOST, from_day=1, to_day=9),
    "for clients": lambda authority: authority.issue(HOST, purpose=ExtendedKeyUsageOID.CLIENT_AUTH),
}


@pytest.mark.parametrize("name", CERTIFICATES)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_certificate_that_the_client_believes_and_we_do_not(
    authority: Authority, watched: Watched, version: str, name: str
) -> None:
    both = (VERSIONS[version], VERSIONS[version])
    with (
        Site(CERTIFICATES[name](authority), leaves(sites.whole(BODY, JSON)), versions=both) as site,
        whole.running(authority, {HOST: site}, limits=QUICK) as notary,
    ):
        with observing(notary, authority) as one:
            assert overlooked(one) == "certificate"
        refused(notary, "certificate")
    assert watched.signatures == 0


@pytest.mark.parametrize("version", VERSIONS)
def test_another_host_on_the_same_site(authority: Authority, watched: Watched, version: str) -> None:
    """The connection leads to the right address, and the certificate has both names; the client asked for the other."""
    both = (VERSIONS[version], VERSIONS[version])
    with (
        Site(authority.issue(HOST, "pages.example"), leaves(sites.whole(BODY, JSON)), versions=both) as site,
        whole.running(authority, {HOST: site}, limits=QUICK) as notary,
    ):
        with observing(notary, authority) as one:
            assert overlooked(one, "pages.example") == "tls"
        assert site.names == ["pages.example"]
        lives(notary)
    assert watched.signatures == 1


# What costs more than it weighs.


ZEROS: Final = b'{"price": "' + bytes(32 << 20)
BOMBS: Final[dict[str, tuple[str, Callable[[bytes], bytes]]]] = {
    "gzip": ("gzip", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "br": ("br", lambda data: brotli.compress(data, quality=4)),
    "gzip twice": ("gzip, gzip", lambda data: gzip.compress(gzip.compress(data))),
    "br in gzip": ("br, gzip", lambda data: gzip.compress(brotli.compress(data, quality=4))),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_does_not_go_off(authority: Authority, watched: Watched, name: str) -> None:
    coding, pack = BOMBS[name]
    body = pack(ZEROS)
    assert len(body) < 64 * 1024
    act = leaves(sites.whole(body, JSON, ("content-encoding", coding)))
    with between(authority, "TLSv1.3", untouched, act) as (notary, _):
        with observing(notary, authority) as one:
            assert overlooked(one) == "size"
        refused(notary, "size")
    assert watched.signatures == 0


@pytest.mark.parametrize("version", VERSIONS)
def test_a_record_of_the_client_that_is_too_long(authority: Authority, watched: Watched, version: str) -> None:
    """In its handshake and behind it, where no site would take it."""
    with between(authority, version, untouched) as (notary, _):
        for shaken in (False, True):
            with observing(notary, authority) as one:
                one.connect()
                if shaken:
                    one.shake()
                one.deaf = True
                one.say(LONG).close()
                assert one.reveal(bytes(48)) == "tls"
        lives(notary)
    assert watched.signatures == 1


class Dripping(Observer):
    """A frame for each byte."""

    def say(self, data: bytes) -> Self:
        for at in range(len(data)):
            super().say(data[at : at + 1])
        return self


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_bytes_that_come_one_by_one_are_a_session_too(authority: Authority, watched: Watched, version: str) -> None:
    """From the site and from the client, as long as it takes no longer than it may."""

    def drips(records: Iterator[bytes], _: bytearray) -> Iterator[bytes]:
        return (record[at : at + 1] for record in records for at in range(len(record)))

    limits = replace(QUICK, observed_seconds=30.0)
    with (
        between(authority, version, drips, limits=limits) as (notary, _),
        Dripping(notary.client(manifest(), **SECRETS), authority, HOST) as one,
    ):
        assert one.whole(request()) == "proof"
    assert watched.signatures == 1
