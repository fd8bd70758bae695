"""Stopping, evidence that is broken rather than missing, proofs that are too large, and whose share a client takes."""

from __future__ import annotations

import gc
import threading
import time
import tracemalloc
from contextlib import ExitStack

import pytest

from notary.server.shared import (
    BODY,
    CANARY,
    HOST,
    JSON,
    PROTOCOLS,
    QUICK,
    SECRETS,
    Start,
    Watched,
    lives,
    manifest,
    refused,
)
from pluto_measure.record import replace
from pluto_notary.evidence.provider import Issue
from pluto_notary.evidence.requests import EvidenceRequest
from pluto_notary.server import prover
from pluto_notary.server.edge import client_of
from simulators.notary import clients, whole
from simulators.notary.certificates import Authority
from simulators.notary.sites import Site, Visit, page


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


class Broken(whole.TdProvider):
    """Fails in a way that nobody foresaw, while `bug` is set."""

    bug: Exception | None = None

    async def evidence(self, request: EvidenceRequest, issue: Issue) -> dict[str, object]:
        if self.bug is not None:
            raise self.bug
        return await super().evidence(request, issue)


def test_a_bug_in_a_provider_is_missing_evidence_and_mended_by_the_next_attempt(start: Start, watched: Watched) -> None:
    provider = Broken()
    provider.bug = RuntimeError(CANARY)
    notary = start(provider=provider)
    notary.soon(lambda: notary.codes == ["unavailable"])  # the epoch that was to be made ahead
    with notary.client(manifest(), **SECRETS).go("hello") as client:
        assert client.ending() == "evidence"
    with notary.https() as connection:
        connection.sendall(b"GET /v1/evidence?nonce=00 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        status, _, answer = clients.json_of(clients.until_closed(connection))
    assert (status, answer["error"]["code"]) == (500, "internal")
    assert watched.signatures == 0
    provider.bug = None
    lives(notary)


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


@pytest.mark.parametrize(
    ("address", "client"),
    [
        (("192.0.2.1", 5), "192.0.2.1"),
        (("::ffff:192.0.2.1", 5, 0, 0), "192.0.2.1"),
        (("2001:db8:1:2:3:4:5:6", 5, 0, 0), "2001:db8:1:2::/64"),
        (("fe80::1%eth0", 5, 0, 2), "fe80::/64"),
        ("", ""),
        (("no address", 1), ""),
    ],
)
def test_a_client_is_an_address_or_a_site(address: object, client: str) -> None:
    assert client_of(address) == client


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
