"""One client's address takes all that it may, and more: others are served as before, in bounded time and memory.

The clients share a processor and an interpreter with the notary here, so times are far above a notary's; what is held
is how much longer a good session takes beside such an address than alone, and that none is lost.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from notary.server.observed import pours
from notary.server.shared import BODY, HOST, JSON, QUICK, SECRETS, Watched, document, manifest
from pluto_measure.record import replace
from pluto_notary.manifest import Manifest
from pluto_notary.protocol.frames import encode
from pluto_notary.protocol.observe import Reveal
from simulators.notary import sites, whole
from simulators.notary.certificates import Authority
from simulators.notary.observers import EndedError, Observer, asking
from simulators.notary.sites import Site

POURING, HEAVY = "pouring.example", "heavy.example"
GREEDY, MODEST = "127.0.0.2", "127.0.0.3"
SHARE = 8  # connections to sites of one address, as a notary has it
LIMITS = replace(QUICK, sites_of_one=SHARE, answer_seconds=30.0, response_seconds=20.0, message_seconds=20.0,
                 observed_idle_seconds=20.0, observed_seconds=40.0)  # fmt: skip


def heavy() -> bytes:
    """An answer almost as large as any that is looked at."""
    return json.dumps({"price": "12.50", "filling": ["f" * 100] * 50_000}).encode()


def of(host: str) -> Manifest:
    return manifest(request={**document()["request"], "url": f"https://{host}/item/7"})


@contextlib.contextmanager
def notary_of(authority: Authority, **limits: int) -> Iterator[whole.Running]:
    with (
        Site(authority.issue(HOST), sites.page(BODY, JSON)) as honest,
        Site(None, pours) as pouring,
        Site(authority.issue(HEAVY), sites.page(heavy(), JSON)) as large,
        whole.running(
            authority,
            {HOST: honest, POURING: pouring, HEAVY: large},
            limits=replace(LIMITS, **limits),
            sends=65536,
        ) as notary,
    ):
        yield notary


def session(notary: whole.Running, authority: Authority, mode: str, source: str = MODEST) -> float:
    """An honest session ends in a proof; seconds that it takes."""
    begun, wanted = time.monotonic(), of(HOST)
    with notary.client(wanted, source=source, **SECRETS) as client:
        if mode == "fetch":
            ending = client.go("fetch").ending()
        else:
            asked = asking(wanted, whole.order(wanted, **SECRETS))
            ending = Observer(client, authority, HOST).whole(asked)
    assert ending == "proof", mode
    return time.monotonic() - begun


def times(notary: whole.Running, authority: Authority, many: int = 8) -> list[float]:
    return [session(notary, authority, mode) for _ in range(many) for mode in ("fetch", "observe")]


def held(stack: ExitStack, notary: whole.Running, authority: Authority, many: int) -> list[Observer]:
    """So many connections of the greedy address on which a site pours and nobody reads."""
    found = []
    for _ in range(many):
        client = notary.client(of(POURING), source=GREEDY, receive_buffer=16384, **SECRETS)
        found.append(stack.enter_context(Observer(client, authority, POURING)).connect())
    return found


class Greedy:
    """Threads that do the same again and again; `endings` counts how it ended."""

    def __init__(self, act: Callable[[], str], threads: int) -> None:
        self.endings: Counter[str] = Counter()
        self._act, self._over = act, threading.Event()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(threads)]

    def __enter__(self) -> Greedy:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)

    def _work(self) -> None:
        while not self._over.is_set():
            try:
                ending = self._act()
            except EndedError as error:
                ending = str(error)
            self.endings[ending] += 1
            time.sleep(0.01)


@pytest.mark.slow
def test_an_address_at_its_limit_does_not_delay_another(authority: Authority, watched: Watched) -> None:
    """All its connections pour and are not read, and it asks for more all the time."""
    with notary_of(authority) as notary, ExitStack() as stack:

        def one_more() -> str:
            with notary.client(of(POURING), source=GREEDY, **SECRETS) as client:
                Observer(client, authority, POURING).connect()
            return "connected"

        session(notary, authority, "observe")
        alone = times(notary, authority)
        poured = held(stack, notary, authority, SHARE)
        with Greedy(one_more, 3) as greedy:
            beside = times(notary, authority)
        kept = notary.room()
    assert set(greedy.endings) == {"rate"}, greedy.endings
    assert greedy.endings["rate"] > 10
    assert len(poured) == SHARE
    assert 0 < sum(kept) < SHARE * 600_000, "what sockets keep for clients that read nothing, and a few pieces"
    assert statistics.median(beside) < 4 * statistics.median(alone) + 0.1
    assert max(beside) < 2
    assert watched.signatures == len(alone) + len(beside) + 1


@pytest.mark.slow
def test_an_address_that_has_large_recordings_opened_does_not_delay_another(
    authority: Authority, watched: Watched
) -> None:
    """Megabytes each, as many at once as it may have; they are opened in threads, and judged by workers."""
    wanted = of(HEAVY)
    asked = asking(wanted, whole.order(wanted, **SECRETS))
    with notary_of(authority) as notary:

        def large() -> str:
            with Observer(notary.client(wanted, source=GREEDY, **SECRETS), authority, HEAVY) as one:
                one.connect().shake().ask(asked)
                one.deaf = True
                while len(one.received) < len(heavy_answer):
                    one.step()
                one.close()
                one.client.send(encode(Reveal(one.tls.secret, 0)))
                return one.client.ending()

        heavy_answer = sites.whole(heavy(), JSON)
        session(notary, authority, "observe")
        alone = times(notary, authority)
        with Greedy(large, SHARE) as greedy:
            notary.soon(lambda: sum(greedy.endings.values()) > 0, 60)
            beside = times(notary, authority)
    assert set(greedy.endings) == {"proof"}, greedy.endings
    shared = SHARE + 1  # clients that have one processor
    assert statistics.median(beside) < 2 * shared * statistics.median(alone) + 0.1
    assert max(beside) < 3
    assert watched.signatures == len(alone) + len(beside) + 1 + greedy.endings["proof"]


@pytest.mark.slow
def test_an_address_that_fills_the_room_for_recordings_does_not_shut_others_out(
    authority: Authority, watched: Watched
) -> None:
    """What is small needs no room of it."""
    with notary_of(authority, recorded_bytes=200_000) as notary, ExitStack() as stack:
        full = held(stack, notary, authority, 3)
        for one in full:
            one.deaf = True
        with pytest.raises(EndedError, match="busy"):
            while True:
                for one in full:
                    one.step()
        times(notary, authority, 3)
    assert watched.signatures == 6
