"""`observe` under load: CPU of a session beside one of `fetch` and beside a bare relay, and latencies.

The same notary, site, request and manifest as in `bench_notary`; the notary's own CPU clock counts. The answer has
16 KiB in the rows beside `fetch`; `observe` alone has one of 4 KiB, too.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench_notary import (
    ANSWER,
    HOST,
    PATH,
    SESSIONS,
    _asking,
    _by_turns,
    _loaded,
    _notary,
    _program,
    _relay,
    _sent,
    _site_of,
)
from figures import Row
from notary_load import Load

from simulators.notary.certificates import Authority

SMALL_PATH, SMALL = "/small", 4 * 1024


def rows(work: Path) -> Iterator[Row]:
    authority = Authority()
    bodies = {PATH: ANSWER, SMALL_PATH: SMALL}
    with (
        _site_of(work, authority, bodies) as site,
        _program("notary_process", work, _notary(authority, site.port)) as one,
    ):
        with _program("notary_relay", work, _relay(authority, site.said["plain"], tls=False)) as bare:
            for warm in (
                _asking(one.port, site.port, sessions=50),
                observing(authority, one.port, site.port, sessions=50),
            ):
                _loaded(work, warm)
            yield from _cpu(work, authority, one, bare, site)
        yield from _latencies(work, authority, one, site)


def observing(authority: Authority, notary: int, port: int, *, path: str = PATH, **changes: Any) -> Load:
    """Observed sessions of a notary with the site at `port`."""
    size = {PATH: ANSWER, SMALL_PATH: SMALL}[path]
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {size}\r\n\r\n"
    more: dict[str, Any] = {
        "kind": "observe",
        "host": HOST,
        "request": _sent(port, path).hex(),
        "roots": authority.pem,
        "answer": len(head) + size,
    }
    return _asking(notary, port, path=path, **more, **changes)


def _cpu(work: Path, authority: Authority, notary: Any, bare: Any, site: Any) -> Iterator[Row]:
    turns = (
        (notary, observing(authority, notary.port, site.port)),
        (notary, observing(authority, notary.port, site.port, path=SMALL_PATH)),
        (notary, _asking(notary.port, site.port)),
        (bare, Load("relay", bare.port, SESSIONS, _sent(site.port).hex(), answer=ANSWER)),
    )
    ours, small, fetched, relayed = _by_turns(work, turns)
    yield Row("CPU of the notary for one observe session, 16 KiB", "ms", ours, 4, "a fetch session", fetched)
    yield Row("the same", "ms", ours, 4, "relay, site in the clear", relayed)
    yield Row("CPU of the notary for one observe session, 4 KiB", "ms", small, 4, "relay, site in the clear", relayed)
    yield Row("load average of the machine in the last minute", "", (os.getloadavg()[0],))


def _latencies(work: Path, authority: Authority, notary: Any, site: Any) -> Iterator[Row]:
    for many in (1, 10, 50):
        processes = min(many, 5)
        how: dict[str, Any] = {"processes": processes, "threads": many // processes, "sessions": SESSIONS}
        load = observing(authority, notary.port, site.port, **how)
        before = notary.cpu()
        done = _loaded(work, load)
        cuts = statistics.quantiles((one * 1000 for one in done["latencies"]), n=100)
        yield Row(f"{many} at once: half of the observe sessions end within", "ms", (cuts[49],))
        yield Row(f"{many} at once: 99 of 100 end within", "ms", (cuts[98],))
        yield Row(f"{many} at once: sessions in a second", "", (load.sessions / done["seconds"],))
        yield Row(f"{many} at once: CPU of the notary for one", "ms", ((notary.cpu() - before) / load.sessions * 1000,))
