"""Records that somebody changes between site and notary, or that a client says after its goodbye: no proof of them."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import pytest

from notary.server.careless import LONG, VERSIONS, between, leaves, overlooked
from notary.server.observed import observing, request
from notary.server.shared import BODY, HOST, JSON, QUICK, Watched, lives
from pluto_notary.client.tls.hello import TLS_13
from simulators.notary import sites, whole
from simulators.notary.certificates import Authority, Identity
from simulators.notary.meddler import Meddler, dropped, flipped, repeated, replaced, swapped, untouched
from simulators.notary.sites import Site, Visit
from simulators.notary.tls_server import Server

HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
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
            with observing(notary, authority) as one:
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
        observing(notary, authority) as one,
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
    with between(authority, version, change, act) as (notary, _), observing(notary, authority) as one:
        assert overlooked(one) == ending
    assert watched.signatures == (ending == "proof")


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
        with observing(notary, authority) as first:
            assert overlooked(first) == "proof"
        path.change = play
        for secret in (None, first.tls.secret):
            with observing(notary, authority) as one:
                assert overlooked(one, secret=secret) in ("secret", "tls")
    assert watched.signatures == 1


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("what", ["data", "a second goodbye", "junk", "a record that is too long", "half a record"])
def test_weakness_12_nothing_of_the_client_behind_its_goodbye(
    authority: Authority, watched: Watched, version: str, what: str
) -> None:
    with between(authority, version, untouched) as (notary, _), observing(notary, authority) as one:
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
        observing(notary, authority) as one,
    ):
        if honest:
            assert one.whole(request()) == "proof"
            assert len(one.received) > len(sites.whole(BODY, JSON)) + 3 * 27
        else:
            assert overlooked(one) == "tls"
    assert watched.signatures == honest
