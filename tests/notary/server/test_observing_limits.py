"""What an observed connection may take: time, bytes, room, places, recordings that are opened at once."""

from __future__ import annotations

import os
import threading
import time
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from notary.server.observed import Observe, drinks, opens, pours, request
from notary.server.shared import (
    BODY,
    HOST,
    JSON,
    PROTOCOLS,
    QUICK,
    SECRETS,
    Start,
    Watched,
    document,
    lives,
    manifest,
    refused,
)
from pluto_measure.record import replace
from pluto_notary.protocol.frames import encode
from pluto_notary.protocol.observe import Data, Reveal
from pluto_notary.server import seeing
from simulators.notary import clients, sites, whole
from simulators.notary.certificates import Authority
from simulators.notary.observers import EndedError, Observer
from simulators.notary.sites import Site, Visit


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
