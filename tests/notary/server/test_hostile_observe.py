"""Whoever wants a proof of what a site did not say, by `observe`: a code each, nothing is signed, and the notary lives.

Here the whole notary is asked, by clients that overlook whatever is wrong and reveal what they have; what the path can
do behind a handshake of TLS 1.3 stands in `test_forgery`, order, bounds and leaving in `test_observing`.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import socket
import ssl
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Self

import brotli
import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from notary.server.shared import BODY, HOST, JSON, QUICK, SECRETS, Watched, lives, manifest, refused
from pluto_measure.record import replace
from pluto_notary.client.tls.client import TlsClient
from pluto_notary.client.tls.errors import TlsError
from pluto_notary.client.tls.hello import TLS_13
from pluto_notary.client.tls.schedule import Schedule13
from pluto_notary.limits import Limits
from pluto_notary.protocol.frames import encode
from pluto_notary.protocol.observe import REVEAL, Reveal
from simulators.notary import sites, whole
from simulators.notary.certificates import Authority, Identity
from simulators.notary.meddler import Change, Meddler, dropped, flipped, repeated, replaced, swapped, untouched
from simulators.notary.observers import Observer, asking
from simulators.notary.sites import Site, Visit
from simulators.notary.tls_server import Server

Start = Callable[..., whole.Running]
VERSIONS: Final = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
LONG: Final = b"\x17\x03\x03" + (2**14 + 257).to_bytes(2, "big") + bytes(2**14 + 257)


def request() -> bytes:
    return asking(manifest(), whole.order(manifest(), **SECRETS))


def observer(notary: whole.Running, authority: Authority, **how: Any) -> Observer:
    return Observer(notary.client(manifest(), **{**SECRETS, **how}), authority, HOST)


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


# Records of the site: 0-5 are the handshake, then tickets (TLS 1.3), the answer, the goodbye. Each, in four ways.
RECORDS: Final = {"TLSv1.2": 8, "TLSv1.3": 10}
WAYS: Final = {"flipped": flipped, "dropped": dropped, "repeated": repeated, "swapped": swapped}
# What means nothing, or takes nothing away: the change_cipher_spec of TLS 1.3; the goodbye of an answer whose length
# was told, with which swapping it for nothing is the same.
HARMLESS: Final = {
    ("TLSv1.2", "dropped", 7), ("TLSv1.2", "swapped", 7),
    ("TLSv1.3", "dropped", 9), ("TLSv1.3", "swapped", 9),
    ("TLSv1.3", "dropped", 1), ("TLSv1.3", "repeated", 1), ("TLSv1.3", "swapped", 1),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("version", VERSIONS)
def test_weakness_12_no_record_of_the_site_may_be_another(
    authority: Authority, watched: Watched, version: str, way: str
) -> None:
    found: dict[int, str] = {}
    with between(authority, version, untouched) as (notary, path):
        for at in range(RECORDS[version]):
            path.change = WAYS[way](at)
            with observer(notary, authority) as one:
                found[at] = overlooked(one)
        path.change = untouched
        lives(notary)
    proved = {at for at, ending in found.items() if ending == "proof"}
    assert proved == {at for of, how, at in HARMLESS if (of, how) == (version, way)}, found
    assert set(found.values()) <= {"proof", "tls", "secret", "certificate"}, found
    assert watched.signatures == len(proved) + 1


def reflected(_: bytes, said: bytearray) -> Iterable[bytes]:
    """The client's last record in the place of the site's."""
    return (bytes(said[last_record(said) :]),)


def last_record(said: bytearray) -> int:
    at = following = 0
    while following < len(said):
        at, following = following, following + 5 + int.from_bytes(said[following + 3 : following + 5], "big")
    return at


ANSWER: Final = {"TLSv1.2": 6, "TLSv1.3": 8}
PLACED: Final[dict[str, tuple[Callable[[bytes, bytearray], Iterable[bytes]], str]]] = {
    "the client's own": (reflected, "tls"),
    "one that is too long": (lambda record, _: (LONG, record), "tls"),
    "half of it": (lambda record, _: (record[: len(record) // 2],), "tls"),
    "in the clear": (lambda _record, _said: (b"\x17\x03\x03\x00\x05hello",), "tls"),
    "an alert in the clear": (lambda _record, _said: (b"\x15\x03\x03\x00\x02\x01\x00",), "tls"),
    "a handshake in the clear": (lambda record, _: (b"\x16\x03\x03\x00\x04\x00\x00\x00\x00", record), "tls"),
    "of a type that does not exist": (lambda record, _: (b"\x18\x03\x03\x00\x01x", record), "tls"),
    "bytes": (lambda _record, _said: (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",), "tls"),
    "thousands of nothing": (lambda record, _: (record, b"\x17\x03\x03\x00\x01x" * 4096), "size"),
}


@pytest.mark.parametrize("name", PLACED)
@pytest.mark.parametrize("version", VERSIONS)
def test_weakness_12_what_stands_in_the_place_of_the_answer(
    authority: Authority, watched: Watched, version: str, name: str
) -> None:
    by, code = PLACED[name]
    with (
        between(authority, version, replaced(ANSWER[version], by)) as (notary, path),
        observer(notary, authority) as one,
    ):
        assert overlooked(one) == code
        path.change = untouched
        lives(notary)
    assert watched.signatures == 1


ENDS: Final[dict[str, tuple[bool, int, str]]] = {
    "with a goodbye": (True, 0, "proof"),
    "without": (False, 0, "http"),
    "whose goodbye was taken": (True, 1, "http"),
    "whose end was taken": (True, 2, "http"),
}


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("version", VERSIONS)
def test_weakness_12_an_answer_that_ends_with_the_connection(
    authority: Authority, watched: Watched, version: str, name: str
) -> None:
    """Its length is told by nobody: who cuts the connection must not make it shorter."""
    goodbye, taken, ending = ENDS[name]

    def change(records: Iterator[bytes], _: bytearray) -> Iterator[bytes]:
        end = ANSWER[version] + 3 - taken
        return (record for place, record in enumerate(records) if place < end)

    act = leaves(HEAD + b"\r\n" + BODY, b" ", goodbye=goodbye)
    with between(authority, version, change, act) as (notary, _), observer(notary, authority) as one:
        assert overlooked(one) == ending
    assert watched.signatures == (ending == "proof")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("what", ["data", "a second goodbye", "junk", "a record that is too long", "half a record"])
def test_weakness_12_nothing_of_the_client_behind_its_goodbye(
    authority: Authority, watched: Watched, version: str, what: str
) -> None:
    with between(authority, version, untouched) as (notary, _), observer(notary, authority) as one:
        one.connect().shake().ask(request())
        one.tls.close()
        one.flush()
        layer = one.tls._layer
        layer.silent = False
        layer.send(23 if what == "data" else 21, b"\1\0")
        sealed = one.tls.data_to_send()
        said = {"junk": b"junk", "a record that is too long": LONG, "half a record": sealed[:-1]}.get(what, sealed)
        one.deaf = True
        one.say(said)
        while not one.ended:
            one.step()
        one.close()
        assert one.reveal() == "tls"
    assert watched.signatures == 0


# Keys of TLS 1.3 that change.


class Changing:
    """A site that changes its keys within its answer, and wants the client's changed. `records`: what it said."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    def __call__(self, visit: Visit) -> None:
        server = Server(self._identity, version=TLS_13)
        while not server.read.endswith(b"}"):
            visit.send(server.receive(visit._read()))
        answer = sites.whole(BODY, JSON)
        pieces = [answer[at : at + 40] for at in range(0, len(answer), 40)]
        for number, piece in enumerate(pieces):
            visit.send(server.write(piece) + server.key_update(wanted=number % 2 == 0))
        visit.send(server.record(21, b"\1\0"))
        visit.connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(EOFError, OSError):
            while True:
                server.receive(visit._read())


@pytest.mark.parametrize("honest", [True, False])
def test_weakness_12_changed_keys_are_followed(authority: Authority, watched: Watched, honest: bool) -> None:
    """And where the record that says so is taken away, nothing opens any more. A client whose own keys change, too."""
    with (
        Site(None, Changing(authority.issue(HOST))) as site,
        Meddler(site.port, untouched if honest else dropped(9)) as path,
        whole.running(authority, {HOST: path.port}, limits=QUICK) as notary,
        observer(notary, authority) as one,
    ):
        if honest:
            assert one.whole(request()) == "proof"
            assert len(one.received) > len(sites.whole(BODY, JSON)) + 3 * 27
        else:
            assert overlooked(one) == "tls"
    assert watched.signatures == honest


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
            with observer(notary, authority) as one:
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
    with between(authority, "TLSv1.3", untouched) as (notary, _), observer(notary, authority) as one:
        one.connect().shake().ask(request()).hear_all().close()
        one.client.say(REVEAL, {"exchange": 0, "secret": one.tls.secret.hex(), "version": 2, **members})
        assert one.client.ending() == code
        assert one.client.closed_in_order()
        lives(notary)
    assert watched.signatures == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_weakness_11_a_secret_is_told_once(authority: Authority, watched: Watched, version: str) -> None:
    """There is no second try, with another one, at what was recorded."""
    with between(authority, version, untouched) as (notary, _), observer(notary, authority) as one:
        one.connect().shake().ask(request()).hear_all().close()
        wrong, right = Reveal(bytes(len(one.tls.secret)), 0), Reveal(one.tls.secret, 0)
        one.client.send(encode(wrong) + encode(right))
        assert one.client.ending() in ("secret", "order")
        assert one.client.closed_in_order()
    assert watched.signatures == 0


# Other sessions, other hosts.


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("begins", ["the first record", "the answer"])
def test_another_sessions_records_show_nothing(
    authority: Authority, watched: Watched, version: str, begins: str
) -> None:
    """What the site said to the same client before, with the secret of then."""
    kept: list[bytes] = []

    def keep(records: Iterator[bytes], _: bytearray) -> Iterator[bytes]:
        for record in records:
            kept.append(record)
            yield record

    def play(records: Iterator[bytes], _: bytearray) -> Iterator[bytes]:
        start = 0 if begins == "the first record" else ANSWER[version]
        for _place in range(start):
            yield next(records)
        yield from kept[start:]

    with between(authority, version, keep) as (notary, path):
        with observer(notary, authority) as first:
            assert overlooked(first) == "proof"
        path.change = play
        for secret in (None, first.tls.secret):
            with observer(notary, authority) as one:
                assert overlooked(one, secret=secret) in ("secret", "tls")
    assert watched.signatures == 1


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
        with observer(notary, authority) as one:
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
        with observer(notary, authority) as one:
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
        with observer(notary, authority) as one:
            assert overlooked(one) == "size"
        refused(notary, "size")
    assert watched.signatures == 0


@pytest.mark.parametrize("version", VERSIONS)
def test_a_record_of_the_client_that_is_too_long(authority: Authority, watched: Watched, version: str) -> None:
    """In its handshake and behind it, where no site would take it."""
    with between(authority, version, untouched) as (notary, _):
        for shaken in (False, True):
            with observer(notary, authority) as one:
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
