"""What an observed connection hands on: in order, as fast as it is read, until one side leaves or the notary stops."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from notary.server.observed import Observe, drinks, drinks_until, request
from notary.server.shared import BODY, HOST, JSON, PROTOCOLS, QUICK, Start, Watched, refused
from pluto_measure.record import replace
from pluto_notary.protocol.frames import encode
from pluto_notary.protocol.messages import Observe as ObserveMessage
from pluto_notary.protocol.observe import CONNECTED, OBSERVE, Close, Data, Reveal
from pluto_notary.server.outer import Outer
from simulators.notary import sites, whole
from simulators.notary.certificates import Authority
from simulators.notary.sites import Site, Visit


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

    with Site(authority.issue(HOST), drinks_until(ended)) as site:
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
        drinks(visit)
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
    notary = start(drinks_until(gone))
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
