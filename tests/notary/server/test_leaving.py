"""Clients that leave at every step, loudly or silently, or stop: each ends its own connection only. We stop, too."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from notary.server.shared import BODY, HOST, JSON, PROTOCOLS, QUICK, SECRETS, Start, Watched, lives, manifest, refused
from pluto_measure.record import replace
from simulators.notary import clients, whole
from simulators.notary.certificates import Authority
from simulators.notary.sites import Site, Visit, page
from simulators.notary.sites import whole as whole_page


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("leave", ["reset", "cut"])
def test_a_client_that_leaves_at_any_step_ends_nothing_else(
    start: Start, watched: Watched, protocol: str, leave: str
) -> None:
    notary = start()
    for step in clients.STEPS[:-1]:
        with notary.client(manifest(), protocol, **SECRETS).go(step) as client:
            getattr(client, leave)()
        lives(notary)
    assert watched.signatures == len(clients.STEPS) - 1, "of the good sessions alone"
    assert set(notary.codes) <= {"tls", "http"}
    with notary.client(manifest(), protocol, **SECRETS).go("fetch") as client:
        getattr(client, leave)()
    lives(notary)
    assert set(notary.codes) <= {"tls", "http"}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_weakness_29_a_client_that_stops_at_any_step_is_told_so_where_it_can_hear(
    start: Start, watched: Watched, protocol: str
) -> None:
    notary, begun = start(), time.monotonic()
    with ExitStack() as stack:
        stopped = {
            step: stack.enter_context(notary.client(manifest(), protocol, **SECRETS).go(step))
            for step in clients.STEPS[:-1]
        }
        assert b" 408 " in clients.until_closed(stopped["tls"].socket)
        for step in ("established", "hello", "evidence"):
            assert stopped[step].ending() == "time", step
            assert stopped[step].closed_in_order(), step
        for step in ("connect", "request", "upgraded", "inner-hello"):
            clients.until_closed(stopped[step].socket)
    assert time.monotonic() - begun < 5
    notary.soon(lambda: len(notary.codes) == 8)
    assert sorted(notary.codes) == ["time"] * 7 + ["tls"]
    assert watched.signatures == 0
    lives(notary)


def site_that_waits(begun: threading.Event, ended: threading.Event) -> Callable[[Visit], None]:
    """Notes when a request came, and when whoever asked went away."""

    def act(visit: Visit) -> None:
        visit.read_request()
        begun.set()
        try:
            visit._read()
        except (EOFError, OSError):
            ended.set()

    return act


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("leave", ["reset", "cut", "says goodbye"])
def test_when_the_client_goes_away_the_fetch_is_cancelled(
    start: Start, watched: Watched, protocol: str, leave: str
) -> None:
    begun, ended = threading.Event(), threading.Event()
    notary = start(site_that_waits(begun, ended))
    with notary.client(manifest(), protocol, **SECRETS).go("fetch") as client:
        assert begun.wait(5)
        if leave == "says goodbye":
            assert client.inner is not None
            client.inner.close()
            client.flush()
        else:
            getattr(client, leave)()
        assert ended.wait(3)
    assert watched.signatures == 0
    assert notary.codes == []


def test_when_the_caller_of_proxy_goes_away_the_fetch_is_cancelled(start: Start, watched: Watched) -> None:
    begun, ended = threading.Event(), threading.Event()
    notary = start(site_that_waits(begun, ended))
    with notary.https() as connection:
        connection.sendall(clients.post("/v1/proxy", whole.order(manifest(), **SECRETS).to_body(), close=False))
        assert begun.wait(5)
    assert ended.wait(3)
    assert (watched.signatures, notary.codes) == (0, [])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_client_that_speaks_while_we_work_is_out_of_order(start: Start, watched: Watched, protocol: str) -> None:
    begun, ended = threading.Event(), threading.Event()
    notary = start(site_that_waits(begun, ended))
    with notary.client(manifest(), protocol, **SECRETS).go("fetch") as client:
        assert begun.wait(5)
        client.send(b"\x03")
        assert client.ending() == "order"
        assert client.closed_in_order()
        assert ended.wait(3)
    refused(notary, "order")
    assert watched.signatures == 0


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_comes_with_the_fetch_is_out_of_order(start: Start, watched: Watched, protocol: str) -> None:
    notary = start()
    with notary.client(manifest(), protocol, **SECRETS).go("evidence") as client:
        frame = whole.order(manifest(), **SECRETS).to_body()
        client.send(b"\x03" + len(frame).to_bytes(4, "big") + frame + b"\x01")
        assert client.ending() == "order"
    refused(notary, "order")
    assert watched.signatures == 0
    lives(notary)


def long_page(visit: Visit) -> None:
    """A value of nearly 1 MiB, which is more than sockets keep for a client with a small buffer."""
    visit.read_request()
    body = b'{"price":"' + b"x" * 1_000_000 + b'"}'
    visit.send(whole_page(body, JSON))
    visit.goodbye()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_client_that_reads_nothing_does_not_last(start: Start, watched: Watched, protocol: str) -> None:
    notary = start(long_page, sends=65536)
    with notary.client(manifest(), protocol, receive_buffer=4096, **SECRETS).go("fetch") as client:
        notary.soon(lambda: watched.signatures == 1)
        time.sleep(1.5)
        client.socket.settimeout(3)
        assert client.ending() == "gone"
    assert "pluto: proof\n" not in notary.lines
    assert notary.codes == []


def test_a_slow_reader_gets_a_long_answer_whole(start: Start) -> None:
    limits = replace(QUICK, response_seconds=10.0, message_seconds=10.0, close_seconds=5.0)
    notary = start(long_page, limits=limits, sends=65536)
    with notary.client(manifest(), receive_buffer=16384, **SECRETS).go("fetch") as client:
        time.sleep(0.8)
        assert client.ending() == "proof"
    with notary.https() as connection:
        connection.sendall(clients.post("/v1/proxy", whole.order(manifest(), **SECRETS).to_body()))
        time.sleep(0.8)
        status, headers, _ = clients.json_of(clients.until_closed(connection))
    assert (status, int(headers["content-length"]) > 1_000_000) == (200, True)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_stopping_ends_what_is_in_flight_and_signs_nothing(
    authority: Authority, watched: Watched, protocol: str
) -> None:
    begun, ended = threading.Event(), threading.Event()

    def act(visit: Visit) -> None:
        visit.read_request()
        begun.set()
        try:
            visit.read_request()
        except (EOFError, OSError):
            ended.set()

    with Site(authority.issue(HOST), act) as site:
        with whole.running(authority, {HOST: site}, limits=QUICK) as notary:
            busy = notary.client(manifest(), protocol, **SECRETS).go("fetch")
            idle = notary.client(manifest(), protocol, **SECRETS).go("evidence")
            half = notary.client(manifest(), protocol, **SECRETS).go("tls")
            assert begun.wait(5)
            stopped = time.monotonic()
        assert time.monotonic() - stopped < 3
        assert ended.wait(2)
        with busy, idle, half:
            assert (busy.ending(), idle.ending()) == ("gone", "gone")
    assert watched.signatures == 0
    assert notary.codes == []


@pytest.mark.slow
def test_many_sessions_good_and_bad_at_once_leave_nothing_behind(start: Start, watched: Watched) -> None:
    notary = start(page(BODY, JSON))
    good: list[str] = []

    def work(number: int) -> None:
        for turn in range(15):
            protocol = PROTOCOLS[(number + turn) % 2]
            step = clients.STEPS[(3 * number + turn) % len(clients.STEPS)]
            with notary.client(manifest(), protocol, **SECRETS) as client:
                client.go(step)
                client.reset()
            with notary.client(manifest(), protocol, **SECRETS).go("fetch") as client:
                good.append(client.ending())

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert good == ["proof"] * 120
    notary.soon(lambda: notary.tasks() <= 5)
    assert "internal" not in notary.codes
    lives(notary)
