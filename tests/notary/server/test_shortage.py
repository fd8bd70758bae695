"""No evidence, no time, no room, too often, too large: the client is told a code, nothing is signed, others go on."""

from __future__ import annotations

import gc
import threading
import time
import tracemalloc
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from notary.server.shared import PROTOCOLS, QUICK, SECRETS, Start, Watched, lives, manifest, refused
from pluto_measure.record import replace
from pluto_notary.limits import Limits
from pluto_notary.server import prover
from pluto_notary.trusted_time.errors import ClockError
from simulators.notary import clients, whole
from simulators.notary.sites import Visit


def get(notary: whole.Running, path: str) -> tuple[int, str]:
    """Status and code of a GET."""
    with notary.https() as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
        status, _, document = clients.json_of(clients.until_closed(connection))
    return status, document.get("error", {}).get("code", "")


def proxy(notary: whole.Running, source: str = "127.0.0.1") -> tuple[int, str]:
    """Status and code of a fetch in one call."""
    with notary.client(manifest(), source=source).go("tls") as client:
        client.raw(clients.post("/v1/proxy", whole.order(manifest(), **SECRETS).to_body()))
        status, _, document = clients.json_of(clients.until_closed(client.socket))
    return status, document.get("error", {}).get("code", "")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_without_evidence_before_the_first_epoch_nothing_but_an_error_leaves(
    start: Start, watched: Watched, protocol: str
) -> None:
    notary = start(provider=whole.TdProvider(down="device"))
    notary.soon(lambda: notary.codes == ["device"])
    with notary.client(manifest(), protocol, **SECRETS).go("hello") as client:
        assert client.ending() == "evidence"
        assert client.closed_in_order()
    assert proxy(notary) == (503, "evidence")
    assert get(notary, "/v1/evidence?nonce=00") == (503, "device")
    assert get(notary, "/v1/meta/keys")[0] == 503
    assert get(notary, "/health") == (200, "")
    assert watched.signatures == 0


def test_without_evidence_after_the_first_epoch_the_epoch_goes_on(start: Start, watched: Watched) -> None:
    notary = start()
    lives(notary)
    notary.provider.down = "unavailable"
    lives(notary)
    with notary.client(manifest(), fresh=True, **SECRETS).go("hello") as client:
        assert client.ending() == "fresh"
    assert get(notary, "/v1/evidence?nonce=00") == (503, "unavailable")
    notary.provider.down = None
    lives(notary)
    assert watched.signatures == 3


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_without_a_clock_nobody_is_asked_and_nothing_signed(start: Start, watched: Watched, protocol: str) -> None:
    visits: list[bytes] = []
    notary = start(lambda visit: visits.append(visit.read_request()))
    notary.clock.error = ClockError("few", "no agreement")
    with notary.client(manifest(), protocol, **SECRETS).go("fetch") as client:
        assert client.ending() == "clock"
    assert proxy(notary) == (503, "clock")
    assert visits == []
    refused(notary, "clock", "clock")
    assert watched.signatures == 0


def test_a_clock_that_is_lost_while_a_site_is_asked_signs_nothing(start: Start, watched: Watched) -> None:
    running: list[whole.Running] = []

    def act(visit: Visit) -> None:
        visit.read_request()
        running[0].clock.error = ClockError("few", "lost")
        visit.send(b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 13\r\n\r\n{"price":"1"}')
        visit.goodbye()

    running.append(start(act))
    with running[0].client(manifest(), **SECRETS).go("fetch") as client:
        assert client.ending() == "clock"
    assert watched.signatures == 0


def held(begun: threading.Semaphore, go_on: threading.Event) -> Callable[[Visit], None]:
    """A site that answers once it may."""

    def act(visit: Visit) -> None:
        visit.read_request()
        begun.release()
        go_on.wait(5)
        visit.send(b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 17\r\n\r\n{"price":"12.50"}')
        visit.goodbye()

    return act


def test_more_fetches_than_places_are_told_that_it_is_busy(start: Start, watched: Watched) -> None:
    begun, go_on = threading.Semaphore(0), threading.Event()
    notary = start(held(begun, go_on), limits=replace(QUICK, fetches=2))
    with (
        notary.client(manifest(), **SECRETS).go("fetch") as first,
        notary.client(manifest(), "tcp", **SECRETS).go("fetch") as second,
    ):
        assert begun.acquire(timeout=5)
        assert begun.acquire(timeout=5)
        with notary.client(manifest(), **SECRETS).go("fetch") as third:
            assert third.ending() == "busy"
        assert proxy(notary) == (503, "busy")
        assert watched.signatures == 0
        go_on.set()
        assert (first.ending(), second.ending()) == ("proof", "proof")
    lives(notary)
    refused(notary, "busy", "busy")


def test_places_come_back_from_those_who_left(start: Start) -> None:
    begun, go_on = threading.Semaphore(0), threading.Event()
    notary = start(held(begun, go_on), limits=replace(QUICK, fetches=1, channels=1))
    for _ in range(3):
        with notary.client(manifest(), **SECRETS).go("fetch") as client:
            assert begun.acquire(timeout=5)
            client.reset()
        time.sleep(0.05)
    go_on.set()
    lives(notary)


def test_more_fetches_than_a_clients_rate_are_refused_and_another_client_goes_on(
    start: Start, watched: Watched
) -> None:
    notary = start(limits=replace(QUICK, fetch_rate=0.001, fetch_burst=2))
    for expected in ("proof", "proof", "rate"):
        with notary.client(manifest(), source="127.0.0.2", **SECRETS).go("fetch") as client:
            assert client.ending() == expected
    assert proxy(notary, "127.0.0.2") == (429, "rate")
    assert watched.signatures == 2
    assert proxy(notary, "127.0.0.3") == (200, "")
    refused(notary, "rate", "rate")


def test_evidence_has_a_rate_for_each_client_and_one_for_all(start: Start) -> None:
    limits = replace(QUICK, evidence_rate=0.001, evidence_burst=5, evidence_rate_of_one=0.001, evidence_burst_of_one=2)
    notary = start(limits=limits)

    def ask(source: str) -> int:
        with notary.client(manifest(), source=source).go("tls") as client:
            client.raw(b"GET /v1/evidence?nonce=00 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            return clients.json_of(clients.until_closed(client.socket))[0]

    assert [ask("127.0.0.2") for _ in range(3)] == [200, 200, 429]
    assert [ask(f"127.0.0.{host}") for host in (3, 3, 4, 5)] == [200, 200, 200, 429]
    with notary.client(manifest(), fresh=True, source="127.0.0.2", **SECRETS).go("hello") as client:
        assert client.ending() == "rate"
    with notary.client(manifest(), source="127.0.0.2", **SECRETS).go("fetch") as client:
        assert client.ending() == "proof", "evidence of the epoch costs the machine nothing"


def test_more_channels_than_there_may_be_are_told_so_and_the_connection_stays(start: Start) -> None:
    notary = start(limits=replace(QUICK, channels=2, idle_seconds=5.0))
    with (
        notary.client(manifest(), **SECRETS).go("evidence") as first,
        notary.client(manifest(), "tcp", **SECRETS).go("upgraded") as second,
        notary.client(manifest(), **SECRETS).go("request") as third,
    ):
        status, headers, document = clients.json_of(third.socket.recv(65536))
        assert (status, document["error"]["code"]) == (503, "busy")
        assert "retry-after" in headers
        second.reset()
        notary.soon(lambda: get(notary, "/health") == (200, ""))
        with notary.client(manifest(), "tcp", **SECRETS).go("fetch") as fourth:
            assert fourth.ending() == "proof"
        first.go("fetch")
        assert first.ending() == "proof"
    assert notary.codes.count("busy") == 1


def test_one_client_has_only_its_share_of_connections(start: Start) -> None:
    notary = start(limits=replace(QUICK, connections_of_one=3, request_seconds=5.0))
    with ExitStack() as stack:
        held = [
            stack.enter_context(notary.client(manifest(), source="127.0.0.2", **SECRETS).go("tls")) for _ in range(3)
        ]
        with pytest.raises(OSError), notary.client(manifest(), source="127.0.0.2", **SECRETS) as one_more:
            one_more.go("tls").raw(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
            if not one_more.socket.recv(1):
                raise ConnectionError
        lives(notary)
        held[0].reset()
        time.sleep(0.05)
        with notary.client(manifest(), source="127.0.0.2", **SECRETS).go("fetch") as again:
            assert again.ending() == "proof"
    assert notary.codes.count("rate") == 1


def test_large_messages_that_do_not_end_have_a_bound_together(start: Start) -> None:
    limits = replace(QUICK, unfinished_bytes=300_000, unfinished_free_bytes=1000, message_seconds=1.0, idle_seconds=1.0)
    notary = start(limits=limits)
    beginning = b"\x03" + (1_000_000).to_bytes(4, "big") + b" " * 200_000
    with (
        notary.client(manifest(), **SECRETS).go("evidence") as first,
        notary.client(manifest(), "tcp", **SECRETS).go("evidence") as second,
    ):
        first.send(beginning)
        time.sleep(0.1)
        second.send(beginning)
        assert second.ending() == "busy"
        lives(notary)  # small messages are no part of it
        first.reset()
    time.sleep(0.1)
    with notary.client(manifest(), "tcp", **SECRETS).go("evidence") as third:
        third.send(beginning)
        assert third.ending() == "time"


def test_large_bodies_that_do_not_end_have_a_bound_together(start: Start) -> None:
    limits = replace(QUICK, unfinished_bytes=300_000, unfinished_free_bytes=1000, request_seconds=3.0)
    notary = start(limits=limits)
    body = clients.post("/v1/proxy", b" " * 1_000_000)[:200_000]
    with notary.client(manifest()).go("tls") as first, notary.client(manifest()).go("tls") as second:
        first.raw(body)
        time.sleep(0.1)
        second.raw(body)
        status, _, document = clients.json_of(clients.until_closed(second.socket))
        assert (status, document["error"]["code"]) == (503, "busy")
        lives(notary)
        assert proxy(notary) == (200, "")


def test_a_message_that_comes_in_drops_does_not_last(start: Start) -> None:
    notary = start(limits=replace(QUICK, idle_seconds=5.0))
    with notary.client(manifest(), **SECRETS).go("evidence") as client:
        begun = time.monotonic()
        client.send(b"\x03" + (1000).to_bytes(4, "big"))
        with pytest.raises(OSError):
            while time.monotonic() - begun < 5:
                client.send(b" ")
                time.sleep(0.05)
        assert time.monotonic() - begun < 3
    refused(notary, "time")


def test_the_limits_hold_together() -> None:
    limits = Limits()
    assert limits.connections_of_one * 16 <= limits.connections
    assert limits.channels < limits.connections, "health is answered when all channels are taken"
    assert limits.evidence_rate_of_one < limits.evidence_rate
    assert limits.message_seconds < limits.idle_seconds < limits.channel_seconds


def test_a_proof_that_would_be_too_large_is_not_signed(
    start: Start, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    notary = start()
    with monkeypatch.context() as patched:
        patched.setattr(prover, "LIMIT", 100_000)
        with notary.client(manifest(), **SECRETS).go("fetch") as client:
            assert client.ending() == "size"
    refused(notary, "size")
    assert watched.signatures == 0
    lives(notary)


def test_an_idle_connection_keeps_little(start: Start) -> None:
    notary = start(limits=replace(QUICK, request_seconds=20.0, idle_seconds=20.0))
    with ExitStack() as stack:

        def one() -> clients.Client:
            return stack.enter_context(notary.client(manifest(), **SECRETS).go("evidence"))

        one()
        tracemalloc.start()
        try:
            for _ in range(10):
                one()
            gc.collect()
            kept, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert kept / 10 < 80 * 1024, "both sides of it, what OpenSSL keeps apart"
