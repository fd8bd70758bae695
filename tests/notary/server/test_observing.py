"""Observed connections in a whole notary: what is handed on, what is recorded, what is signed, and who is refused."""

from __future__ import annotations

import hashlib
import os
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from notary.server.shared import (
    BODY,
    HOST,
    JSON,
    PROTOCOLS,
    QUICK,
    SECRETS,
    Watched,
    document,
    lives,
    manifest,
    refused,
)
from pluto_measure.errors import FormatError
from pluto_measure.record import replace
from pluto_notary.protocol.frames import encode
from pluto_notary.protocol.messages import Observe as ObserveMessage
from pluto_notary.protocol.observe import CONNECTED, OBSERVE, Close, Data, Reveal
from pluto_notary.server import seeing
from pluto_notary.server.outer import Outer
from pluto_notary.statement.keys import address
from pluto_notary.statement.proof import Proof
from pluto_notary.trusted_time.errors import ClockError
from simulators.notary import clients, sites, whole
from simulators.notary.certificates import Authority
from simulators.notary.observers import EndedError, Observer, asking
from simulators.notary.sites import Site, Visit

Start = Callable[..., whole.Running]
Observe = Callable[..., Observer]


@pytest.fixture
def observer(authority: Authority) -> Observe:
    """A client that observes; `how` as of `Running.client`."""

    def made(notary: whole.Running, protocol: str = "websocket", **how: Any) -> Observer:
        return Observer(notary.client(how.pop("manifest", manifest()), protocol, **{**SECRETS, **how}), authority, HOST)

    return made


def request() -> bytes:
    return asking(manifest(), whole.order(manifest(), **SECRETS))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_observed_session_is_proved(start: Start, observer: Observe, watched: Watched, protocol: str) -> None:
    notary = start()
    with observer(notary, protocol) as one:
        assert one.whole(request()) == "proof"
        assert one.counts == {"client": len(one.sent), "site": len(one.received), "version": 2}
        assert one.client.closed_in_order()
    assert watched.signatures == 1
    notary.soon(lambda: notary.lines.count("pluto: proof\n") == 1)
    lives(notary)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda one: one.name)
@pytest.mark.parametrize("reveal", ["values", "commitments"])
def test_what_the_statement_says(authority: Authority, observer: Observe, version: ssl.TLSVersion, reveal: str) -> None:
    identity = authority.issue(HOST)
    with (
        Site(identity, sites.page(BODY, JSON), versions=(version, version)) as site,
        whole.running(authority, {HOST: site}, limits=QUICK) as notary,
        observer(notary, reveal=reveal, chain_id=5) as one,
    ):
        one.connect().shake().ask(request()).hear_all().close()
        assert one.tls.version == version.name.replace("_", ".")
        one.client.send(encode(Reveal(one.tls.secret, 0)))
        proof = Proof.parse(proof_of(one))
        session = one.client.evidence["sessionId"]
        assert site.names == [HOST]
        assert len(site.requests) == 1, "what the client asked, and nothing of ours"
    statement = proof.statement
    assert (statement.mode, statement.host, statement.domain.chain_id) == ("observe", HOST, 5)
    assert statement.certificate == hashlib.sha256(identity.der).digest()
    assert statement.manifest == manifest().digest()
    assert statement.session.hex() == session
    assert (statement.nonce, statement.build) == (whole.STATEMENT_NONCE, notary.provider.domain.build_id)
    assert 0 <= statement.not_after - statement.not_before <= 3
    assert [(one.id, one.text, one.is_revealed) for one in proof.openings] == [("price", '"12.50"', reveal == "values")]
    assert address(proof.signed_by()) == proof.signer


def proof_of(one: Observer) -> bytes:
    while (heard := one.client.hear()) is not None:
        if heard[0] != clients.PROGRESS:
            assert heard[0] == clients.PROOF, heard[1]
            return heard[1]
    raise EOFError


def test_the_steps_are_told(start: Start, observer: Observe) -> None:
    with observer(start()) as one:
        assert one.whole(request()) == "proof"
        assert one.client.steps == ["resolving", "connecting", "checking", "signing"]


def keeps_alive(*bodies: bytes) -> Callable[[Visit], None]:
    """A site that answers one request after the other on the same connection."""

    def act(visit: Visit) -> None:
        for body in bodies:
            visit.read_request()
            visit.send(sites.whole(body, JSON))
        visit.goodbye()

    return act


@pytest.mark.parametrize(("exchange", "ending"), [(0, "violation"), (1, "proof"), (2, "http"), (3, "http")])
def test_one_of_several_exchanges_is_proved(
    start: Start, observer: Observe, watched: Watched, exchange: int, ending: str
) -> None:
    notary = start(keeps_alive(b'{"welcome":true}', BODY, b'{"price":7}'))
    wanted = request().replace(b"connection: close", b"connection: keep-alive")
    login = b"GET /login HTTP/1.1\r\nhost: shop.example\r\ncookie: a=b\r\n\r\n"
    with observer(notary) as one:
        one.connect().shake()
        for number, text in enumerate((login, wanted, wanted)):
            one.ask(text).hear(len(one.heard) + 1)
            assert len(one.heard) > 0, number
        one.hear_all().close()
        assert one.reveal(exchange=exchange) == ending
    assert watched.signatures == (ending == "proof")


@pytest.mark.parametrize(
    ("was", "is_"),
    [
        (b"/item/", b"/item2/"),
        (b"POST", b"PUT"),
        (b"Bearer ", b"Basic "),
        (b'{"note"', b'{"nota"'),
        (b"user-agent: pluto-notary", b"x-user: me"),
        (b"user-agent: pluto-notary", b"user-agent: an answer's words"),
        (b"host: shop.example", b"host: shop2.example"),
    ],
)
def test_another_request_than_the_manifests_is_no_proof(
    start: Start, observer: Observe, watched: Watched, was: bytes, is_: bytes
) -> None:
    notary, text = start(), request().replace(was, is_)
    assert text != request()
    with observer(notary) as one:
        assert one.whole(text) == ("http" if was.startswith(b"host") else "violation")
    assert watched.signatures == 0
    lives(notary)


@pytest.mark.parametrize(
    ("act", "code"),
    [
        (sites.page(b'{"price":7}', JSON), "violation"),
        (sites.page(BODY, ("content-type", "text/html")), "violation"),
        (sites.page(BODY, JSON, status="404 Not Found"), "violation"),
        (sites.page(b"", ("location", "https://elsewhere.example/"), status="302 Found"), "redirect"),
        (sites.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n{}"), "http"),
        (sites.raw(b"no HTTP at all\r\n\r\n"), "http"),
    ],
)
def test_an_answer_that_does_not_show_it_is_no_proof(
    start: Start, observer: Observe, watched: Watched, act: Any, code: str
) -> None:
    notary = start(act)
    with observer(notary) as one:
        assert one.whole(request()) == code
    refused(notary, code)
    assert watched.signatures == 0
    with observer(notary) as one:
        one.connect().shake()


# Who is not connected.


def test_the_rules_of_egress_are_those_of_fetch(authority: Authority, observer: Observe, watched: Watched) -> None:
    def at(url: str) -> Any:
        return manifest(request={"method": "GET", "url": url, "headers": {}, "vars": {}})

    answers = {"inner.example": [["10.0.0.7"]], "mixed.example": [["93.184.215.14", "127.0.0.1"]],
               "metadata.example": [["169.254.169.254"]], "away.example": [["93.184.215.99"]]}  # fmt: skip
    urls = {
        "https://inner.example/": "egress", "https://mixed.example/": "egress", "https://metadata.example/": "egress",
        f"https://{HOST}:8443/": "egress", "https://nowhere.example/": "resolve", "https://away.example/": "connect",
        "https://localhost/": "egress", "https://127.0.0.1/": "egress",
    }  # fmt: skip
    with (
        Site(authority.issue(HOST), sites.page(BODY, JSON)) as site,
        whole.running(authority, {HOST: site}, limits=QUICK, answers=answers) as notary,
    ):
        found = {}
        for url in urls:
            try:
                asked = at(url)
            except FormatError:  # a manifest cannot even say it
                found[url] = urls[url]
                continue
            with observer(notary, manifest=asked, variables=()) as one, pytest.raises(EndedError) as caught:
                one.connect()
            found[url] = str(caught.value)
        assert found == urls
        assert notary.net.connected == [("93.184.215.99", 443)]
        assert site.visits == 0
    assert watched.signatures == 0


@pytest.mark.parametrize(("query", "code"), [("target_host=other.example", "target"), ("target_port=444", "target")])
def test_another_target_than_was_named_is_not_connected(start: Start, observer: Observe, query: str, code: str) -> None:
    notary = start()
    with observer(notary, query=query) as one, pytest.raises(EndedError, match=code):
        one.connect()
    assert notary.net.connected == []


def test_another_manifest_than_was_committed_is_not_connected(start: Start, observer: Observe) -> None:
    notary = start()
    with observer(notary) as one:
        one.client.go("evidence")
        one.client._order = whole.order(manifest(id="another"), **SECRETS)
        with pytest.raises(EndedError, match="manifest-digest"):
            one.connect()
    assert notary.net.connected == []


@pytest.mark.parametrize("what", ["the old format", "HTTP/2"])
def test_what_cannot_be_observed_is_not_connected(start: Start, what: str) -> None:
    notary = start()
    version = {"version": "HTTP/2"} if what == "HTTP/2" else {}
    asked = manifest(request={**document()["request"], **version})
    with notary.client(asked, **SECRETS).go("evidence") as one:
        one.say(OBSERVE, whole.order(asked, legacy=what == "the old format", **SECRETS).to_body())
        assert one.ending() == "unsupported"
    assert notary.net.connected == []


def test_without_a_clock_or_evidence_nothing_is_connected(start: Start, observer: Observe, watched: Watched) -> None:
    notary = start()
    notary.clock.error = ClockError("few", "no agreement")
    with observer(notary) as one, pytest.raises(EndedError, match="clock"):
        one.connect()
    assert (notary.net.connected, watched.signatures) == ([], 0)


@pytest.mark.parametrize("when", ["relay", "reveal"])
def test_a_clock_that_is_lost_meanwhile_signs_nothing(
    start: Start, observer: Observe, watched: Watched, when: str
) -> None:
    notary = start()
    with observer(notary) as one:
        one.connect().shake().ask(request())
        if when == "relay":
            notary.clock.error = ClockError("few", "lost")
        one.hear_all().close()
        notary.clock.error = ClockError("few", "lost")
        assert one.reveal() == "clock"
    assert watched.signatures == 0


# Secrets.


def test_weakness_11_only_the_secret_of_this_connection_opens_it(
    start: Start, observer: Observe, watched: Watched
) -> None:
    notary = start()
    with observer(notary) as other:
        assert other.whole(request()) == "proof"
    right = other.tls.secret
    wrong = [bytes(len(right)), os.urandom(32), os.urandom(48), right[:-1] + bytes([right[-1] ^ 1]), right[::-1]]
    for secret in [right, *wrong]:
        with observer(notary) as one:
            one.connect().shake().ask(request()).hear_all().close()
            assert one.reveal(secret) == "secret"
    assert watched.signatures == 1
    refused(notary, *["secret"] * 6)


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n", bytes(70_000)])
def test_a_recording_that_is_no_tls_shows_nothing(
    authority: Authority, observer: Observe, watched: Watched, said: bytes
) -> None:
    with (
        Site(None, drinks) as site,
        whole.running(authority, {HOST: site}, limits=QUICK) as notary,
        observer(notary) as one,
    ):
        one.connect().say(said).close()
        assert one.counts == {"client": len(said), "site": 0, "version": 2}
        assert one.reveal(bytes(32)) == "tls"
    assert watched.signatures == 0


# Leaving and stopping.


def cuts(*, when: str) -> Callable[[Visit], None]:
    """A site that goes away without a goodbye: at once, in its handshake, by a reset, or in its answer."""

    def act(visit: Visit) -> None:
        if when in ("handshake", "reset"):
            visit.connection.recv(100)
        elif when == "answer":
            visit.read_request()
            visit.send(sites.whole(BODY, JSON)[:-20])
        if when == "reset":
            visit.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            visit.connection.close()
        else:
            visit.connection.shutdown(socket.SHUT_RDWR)

    return act


@pytest.mark.parametrize("when", ["at once", "handshake", "reset", "answer"])
def test_a_site_that_leaves_is_said_to_have_ended(
    authority: Authority, observer: Observe, watched: Watched, when: str
) -> None:
    identity = authority.issue(HOST) if when == "answer" else None
    with (
        Site(identity, cuts(when=when)) as site,
        whole.running(authority, {HOST: site}, limits=QUICK) as notary,
        observer(notary) as one,
    ):
        one.connect()
        if when == "answer":
            one.shake().ask(request())
        else:
            one.flush()
        while not one.ended:
            one.step()
        one.say(b"into the void").say(b"twice").close()
        assert one.counts == {"client": len(one.sent), "site": len(one.received), "version": 2}
        assert one.reveal(bytes(32) if when != "answer" else None) == "tls"
    assert watched.signatures == 0


STATES = ("connecting", "relay", "answered", "closed", "revealed")


@pytest.mark.parametrize("leave", ["reset", "cut", "says goodbye"])
@pytest.mark.parametrize("state", STATES)
def test_a_client_that_leaves_ends_its_connection_and_nothing_else(
    start: Start, observer: Observe, watched: Watched, state: str, leave: str
) -> None:
    ended = threading.Event()

    def act(visit: Visit) -> None:
        with suppress(EOFError, OSError):
            visit.read_request()
            visit.send(sites.whole(BODY, JSON))
            visit._read()
        ended.set()

    notary = start(act)
    with observer(notary) as one:
        if state == "connecting":
            one.client.go("evidence").send(encode(ObserveMessage(one.client._order)))
        else:
            one.connect().shake().ask(request())
            if state != "relay":
                one.hear(1)
            if state in ("closed", "revealed"):
                one.close()
            if state == "revealed":
                one.client.send(encode(Reveal(bytes(48), 0)))
        if leave == "says goodbye":
            assert one.client.inner is not None
            one.client.inner.close()
            one.client.flush()
        else:
            getattr(one.client, leave)()
        assert state == "connecting" or ended.wait(3)
        notary.soon(lambda: notary.tasks() <= 5)
    assert watched.signatures == 0
    assert set(notary.codes) <= {"secret", "tls"}
    assert sum(notary.room()) == 0
    with observer(notary) as one:
        one.connect()


def test_stopping_ends_what_is_relayed_and_lets_what_is_judged_finish(
    authority: Authority, observer: Observe, watched: Watched
) -> None:
    ended = threading.Event()

    def act(visit: Visit) -> None:
        with suppress(EOFError, OSError):
            while True:
                visit._read()
        ended.set()

    with Site(authority.issue(HOST), act) as site:
        with whole.running(authority, {HOST: site}, limits=QUICK) as notary:
            relayed = observer(notary).connect().shake().ask(request())
            begun = time.monotonic()
        assert time.monotonic() - begun < 3
        assert ended.wait(2)
        with relayed:
            assert relayed.client.ending() == "gone"
    assert watched.signatures == 0
    with Site(authority.issue(HOST), sites.page(BODY, JSON)) as site:
        with whole.running(authority, {HOST: site}, limits=replace(QUICK, stop_seconds=3.0)) as notary:
            finishing = observer(notary).connect().shake().ask(request()).hear_all().close()
            finishing.client.send(encode(Reveal(finishing.tls.secret, 0)))
        with finishing:
            assert finishing.client.ending() == "proof"


def test_the_connection_is_gone_before_the_notary_says_so(start: Start, observer: Observe) -> None:
    gone, late = threading.Event(), threading.Event()

    def act(visit: Visit) -> None:
        visit.read_request()
        visit.send(sites.whole(BODY, JSON))
        with suppress(EOFError, OSError):
            while True:
                visit._read()
        gone.set()
        with suppress(OSError):
            visit.send(b"late")
            late.set()

    notary = start(act)
    with observer(notary) as one:
        one.connect().shake().ask(request()).hear(1)
        before = len(one.received)
        one.close()
        assert gone.wait(2), "while the client still holds its secret"
        assert len(one.received) == before == one.counts["site"]
        assert one.reveal() == "proof", "an answer of a told length is whole without the site's goodbye"


# Order.

WRONG = {
    "connecting": (encode(Data(b"x")), encode(Close()), encode(Reveal(bytes(32), 0))),
    "relay": (encode(Reveal(bytes(32), 0)), bytes([CONNECTED, 0, 0, 0, 0]), bytes([OBSERVE, 0, 0, 0, 1])),
    "closing": (encode(Close()) + encode(Data(b"x")), encode(Close()) + encode(Reveal(bytes(32), 0))),
    "reveal": (encode(Data(b"x")), encode(Close()), bytes([3, 0, 0, 0, 1])),
    "proof": (encode(Reveal(bytes(32), 0)) + b"\x16",),
}


@pytest.mark.parametrize(("state", "said"), [(state, said) for state, all_ in WRONG.items() for said in all_])
def test_what_is_said_out_of_order_ends_the_session(
    start: Start, observer: Observe, watched: Watched, state: str, said: bytes
) -> None:
    gone = threading.Event()

    def act(visit: Visit) -> None:
        with suppress(EOFError, OSError):
            while True:
                visit._read()
        gone.set()

    notary = start(act)
    with observer(notary) as one:
        if state == "connecting":
            one.client.go("evidence").send(encode(ObserveMessage(one.client._order)) + said)
        else:
            one.connect().shake()
            if state in ("reveal", "proof"):
                one.close()
            one.client.send(said)
        assert one.client.ending() == "order"
        assert one.client.closed_in_order()
    assert state == "connecting" or gone.wait(3)
    refused(notary, "order")
    assert watched.signatures == 0
    assert sum(notary.room()) == 0


# Bounds.


def test_silence_and_length_have_an_end(authority: Authority, observer: Observe, watched: Watched) -> None:
    def drips(visit: Visit) -> None:
        while not visit.site.over.wait(0.3):
            visit.send(b"x")

    with (
        Site(None, drips) as site,
        Site(None, drinks) as silent,
        whole.running(authority, {HOST: site, "silent.example": silent}, limits=QUICK) as notary,
    ):
        to_silent = manifest(request={**document()["request"], "url": "https://silent.example/"})
        begun = time.monotonic()
        with observer(notary, manifest=to_silent) as one:
            one.connect()
            assert one.client.ending() == "time"
        assert 0.8 < time.monotonic() - begun < 2.5, "of silence"
        begun = time.monotonic()
        with observer(notary) as one:
            one.connect()
            one.deaf = True
            with pytest.raises(EndedError, match="time"):
                while True:
                    one.step()
        assert 2.5 < time.monotonic() - begun < 5, "in all"
        assert 8 < len(one.received) < 13
        with observer(notary) as one:
            one.connect().close()
            assert one.client.ending() == "time", "no secret comes"
    assert watched.signatures == 0
    refused(notary, "time", "time", "time")


def pours(visit: Visit) -> None:
    with suppress(OSError):
        while not visit.site.over.is_set():
            visit.send(bytes(65536))


def drinks(visit: Visit) -> None:
    with suppress(EOFError, OSError):
        while True:
            visit._read()


@pytest.mark.parametrize("side", ["client", "site"])
def test_more_than_is_recorded_ends_the_session(
    authority: Authority, observer: Observe, watched: Watched, side: str
) -> None:
    with (
        Site(None, pours if side == "site" else drinks) as site,
        whole.running(authority, {HOST: site}, limits=replace(QUICK, observed_seconds=30.0)) as notary,
        observer(notary) as one,
    ):
        one.connect()
        one.deaf = True
        if side == "client":
            one.say(bytes(4 << 20))
            time.sleep(0.2)
            one.client.send(encode(Data(b"x")))
        with pytest.raises(EndedError, match="size"):
            while True:
                one.step()
        assert len(one.received) == (0 if side == "client" else 11_534_336 // 32768 * 32768)
    assert watched.signatures == 0


def test_all_recordings_together_have_a_bound(authority: Authority, observer: Observe) -> None:
    limits = replace(QUICK, observed_idle_seconds=10.0, observed_seconds=20.0, recorded_bytes=1_000_000)
    with (
        Site(None, drinks) as site,
        whole.running(authority, {HOST: site}, limits=limits) as notary,
        observer(notary) as first,
        observer(notary) as second,
    ):
        second.connect().say(bytes(60_000))  # free
        first.connect().say(bytes(1_000_000))
        notary.soon(lambda: sum(notary.room()) == 1_060_000)
        second.say(bytes(60_000)).say(bytes(60_000))
        with pytest.raises(EndedError, match="busy"):
            second.step()
        first.close()
        assert first.reveal(bytes(32)) == "tls"
        notary.soon(lambda: sum(notary.room()) == 0)
        with observer(notary) as third:
            third.connect().say(bytes(900_000)).close()
            assert third.counts["client"] == 900_000


def test_so_many_are_observed_at_once_and_others_fetch(start: Start, observer: Observe) -> None:
    notary = start(limits=replace(QUICK, observed=2, observed_idle_seconds=10.0, observed_seconds=20.0))
    with observer(notary) as first, observer(notary) as second:
        first.connect()
        second.connect().shake()
        with observer(notary) as third, pytest.raises(EndedError, match="busy"):
            third.connect()
        lives(notary)
        first.client.cut()
        notary.soon(lambda: opens(notary, observer))
    refused(notary, *["busy"] * notary.codes.count("busy"))


def opens(notary: whole.Running, observer: Observe) -> bool:
    """Whether there is a place."""
    try:
        with observer(notary) as one:
            one.connect()
    except EndedError:
        return False
    return True


def test_one_address_has_so_many_sites_at_once(start: Start, observer: Observe) -> None:
    begun, go_on = threading.Semaphore(0), threading.Event()

    def act(visit: Visit) -> None:
        visit.read_request()
        begun.release()
        go_on.wait(10)
        visit.send(sites.whole(BODY, JSON))
        visit.goodbye()

    notary = start(act, limits=replace(QUICK, sites_of_one=3, answer_seconds=15.0, observed_idle_seconds=10.0))
    with ExitStack() as stack:
        fetching = stack.enter_context(notary.client(manifest(), **SECRETS).go("fetch"))
        assert begun.acquire(timeout=5)
        for _ in range(2):
            stack.enter_context(observer(notary)).connect()
        with observer(notary) as more, pytest.raises(EndedError, match="rate"):
            more.connect()
        with notary.client(manifest(), **SECRETS).go("fetch") as more_of_it:
            assert more_of_it.ending() == "rate"
        with notary.client(manifest(), **SECRETS).go("tls") as proxy:
            proxy.raw(clients.post("/v1/proxy", whole.order(manifest(), **SECRETS).to_body()))
            status, _, answer = clients.json_of(clients.until_closed(proxy.socket))
            assert (status, answer["error"]["code"]) == (429, "rate")
        with observer(notary, source="127.0.0.2") as another:
            another.connect().shake()
        go_on.set()
        assert fetching.ending() == "proof"
    notary.soon(lambda: opens(notary, observer))


def test_so_many_recordings_are_opened_at_once(
    start: Start, observer: Observe, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening, go_on = threading.Semaphore(0), threading.Event()
    kept = seeing.Seeing.__init__

    def slow(self: Any, see: Any, **how: Any) -> None:
        def held(*values: Any, **more: Any) -> Any:
            opening.release()
            go_on.wait(10)
            return see(*values, **more)

        kept(self, held, **how)

    monkeypatch.setattr(seeing.Seeing, "__init__", slow)
    notary = start(limits=replace(QUICK, openings=1, openings_waiting=1, answer_seconds=15.0))
    with ExitStack() as stack:
        ready = []
        for _ in range(3):
            one = stack.enter_context(observer(notary))
            ready.append(one.connect().shake().ask(request()).hear_all().close())
            one.client.send(encode(Reveal(one.tls.secret, 0)))
            if len(ready) == 1:
                assert opening.acquire(timeout=5)
        assert ready[2].client.ending() == "busy"
        lives(notary)  # the loop goes on
        go_on.set()
        assert [one.client.ending() for one in ready[:2]] == ["proof", "proof"]
    with observer(notary) as one:
        assert one.whole(request()) == "proof"


# Back-pressure.


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_client_that_reads_slowly_holds_up_the_site(authority: Authority, observer: Observe, protocol: str) -> None:
    poured = bytearray()

    def act(visit: Visit) -> None:
        for number in range(128):
            piece = bytes([number]) * 65536
            visit.send(piece)
            poured.extend(piece)
        visit.connection.shutdown(socket.SHUT_WR)

    limits = replace(QUICK, response_seconds=10.0, message_seconds=10.0, observed_idle_seconds=10.0,
                     observed_seconds=30.0)  # fmt: skip
    with (
        Site(None, act) as site,
        whole.running(authority, {HOST: site}, limits=limits, sends=65536) as notary,
        observer(notary, protocol, receive_buffer=16384) as one,
    ):
        one.connect()
        one.deaf = True
        time.sleep(1.0)
        assert 0 < sum(notary.room()) < 600_000, "what sockets keep for a client that reads nothing, and a few pieces"
        assert len(poured) < 6_000_000
        while not one.ended:
            one.step()
        assert bytes(one.received) == bytes(poured)
        assert len(poured) == 128 * 65536
        one.close()
        assert one.counts["site"] == len(poured)


def test_a_site_that_reads_slowly_holds_up_the_client(authority: Authority, observer: Observe) -> None:
    go_on, read = threading.Event(), bytearray()

    def act(visit: Visit) -> None:
        visit.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        go_on.wait(10)
        with suppress(EOFError, OSError):
            while True:
                read.extend(visit._read())

    limits = replace(QUICK, observed_idle_seconds=10.0, observed_seconds=30.0)
    data = b"".join(bytes([number]) * 65536 for number in range(48))
    with (
        Site(None, act) as site,
        whole.running(authority, {HOST: site}, limits=limits) as notary,
        observer(notary) as one,
    ):
        one.connect()
        saying = threading.Thread(target=one.say, args=(data,))
        saying.start()
        time.sleep(1.0)
        held = sum(notary.room())
        assert 0 < held < 1_500_000, "what sockets keep for a site that reads nothing, and a few pieces"
        go_on.set()
        saying.join(10)
        one.close()
        assert one.counts == {"client": len(data), "site": 0, "version": 2}
        notary.soon(lambda: bytes(read) == data)


def test_bytes_come_as_they_went(authority: Authority, observer: Observe) -> None:
    """Both ways at once, in pieces of any size; what is recorded is what was said."""

    def act(visit: Visit) -> None:
        with suppress(EOFError, OSError):
            while True:
                visit.send(visit._read()[::-1])

    with (
        Site(None, act) as site,
        whole.running(authority, {HOST: site}, limits=QUICK) as notary,
        observer(notary) as one,
    ):
        one.connect()
        one.deaf = True
        for size in (1, 2, 65536, 4096, 16385, 1, 65535):
            one.say(os.urandom(size))
        while len(one.received) < len(one.sent):
            one.step()
        one.close()
        assert sorted(one.received) == sorted(one.sent)
        assert one.counts == {"client": len(one.sent), "site": len(one.received), "version": 2}


@pytest.mark.slow
def test_many_sessions_good_and_bad_at_once_leave_nothing_behind(
    start: Start, observer: Observe, watched: Watched
) -> None:
    notary = start(limits=replace(QUICK, observed=8, idle_seconds=10.0, observed_idle_seconds=10.0, stop_seconds=3.0))
    good: list[str] = []

    def leaves(one: Observer, turn: int) -> None:
        one.connect()
        if turn % 5 > 0:
            one.shake()
        if turn % 5 > 1:
            one.ask(request())
        if turn % 5 > 2:
            one.hear_all().close()
        if turn % 5 > 3:
            one.client.send(encode(Reveal(os.urandom(48), turn)))
        one.client.reset() if turn % 2 else one.client.cut()

    def work(number: int) -> None:
        for turn in range(15):
            with observer(notary, PROTOCOLS[turn % 2]) as one:
                leaves(one, number + turn)
            notary.soon(lambda: opens(notary, observer))
            with observer(notary, PROTOCOLS[turn % 2]) as one, suppress(EndedError):  # so many are at work
                good.append(one.whole(request()))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert set(good) == {"proof"}
    assert len(good) > 60
    notary.soon(lambda: notary.tasks() <= 5)
    assert sum(notary.room()) == 0
    assert set(notary.codes) <= {"busy", "secret", "tls"}
    with ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(observer(notary)).connect()
    lives(notary)


def test_a_client_that_pings_and_reads_nothing_is_gone(
    authority: Authority, observer: Observe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pongs are told at once and nobody waits for them to leave, so they are counted."""
    most, write = [0], Outer.write

    def counted(self: Outer, data: bytes) -> None:
        write(self, data)
        most[0] = max(most[0], self.unsent)

    def silent(visit: Visit) -> None:
        while visit.connection.recv(65536):
            pass

    monkeypatch.setattr(Outer, "write", counted)
    limits = replace(QUICK, observed_idle_seconds=20.0, observed_seconds=30.0)
    ping = b"\x89\xfd\0\0\0\0" + bytes(125)
    with (
        Site(None, silent) as site,
        whole.running(authority, {HOST: site}, limits=limits, sends=16384) as notary,
        observer(notary, receive_buffer=4096) as one,
    ):
        inner, stream = one.connect().client.inner, one.client._stream
        assert inner is not None
        assert stream is not None
        with pytest.raises(OSError, match=r"."):
            for _ in range(3300):
                inner.write(encode(Data(b"x")) * 200)
                data = b""
                while more := inner.data_to_send():
                    data += more
                one.client.raw(stream.send(data) + ping * (len(data) // 131))
        notary.rests()
    assert 0 < most[0] < 320 * 1024
