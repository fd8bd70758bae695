"""The notary under load: CPU of a session beside a bare relay, latencies, idle sessions, a large answer.

The notary, the site, the relay and the load are processes of their own; what is counted is the notary's CPU clock
(getrusage's user and system time, by clock_gettime) and its memory in /proc. See `notary_process`, `notary_load`.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from figures import Row
from notary_load import Load
from notary_site import VALUES

from pluto_notary.fetch.limits import FetchLimits
from pluto_notary.fetch.outgoing import prepared
from pluto_notary.manifest import Manifest
from pluto_notary.protocol.messages import Fetch
from pluto_notary.statement.keys import address
from pluto_notary.statement.proof import Proof
from simulators.notary.certificates import Authority
from simulators.notary.evidence import every_purpose, tdx_envelope
from simulators.trust_domains import TrustDomain

HERE = Path(__file__).resolve().parent
HOST, PATH, LARGE_PATH = "shop.example", "/item/7", "/large"
ANSWER, LARGE = 16 * 1024, 64 << 20
REQUEST = 2 * 1024
BATCHES = int(os.environ.get("PLUTO_BENCH_BATCHES", "5"))
SESSIONS = int(os.environ.get("PLUTO_BENCH_SESSIONS", "200"))  # of a batch
IDLE = 2000
MIB = 1 << 20


def rows(work: Path) -> Iterator[Row]:
    authority = Authority()
    with _site(work, authority) as site:
        with _program("notary_process", work, _notary(authority, site.port)) as notary:
            _loaded(work, _asking(notary.port, site.port, sessions=50))  # everything is imported, every cache warm
            with (
                _program("notary_relay", work, _relay(authority, site.port, tls=True)) as relay,
                _program("notary_relay", work, _relay(authority, site.said["plain"], tls=False)) as bare,
            ):
                yield from _cpu(work, notary, relay, bare, site)
            yield from _latencies(work, notary, site)
        for protocol in ("websocket", "tcp"):
            with _program("notary_process", work, _notary(authority, site.port)) as notary:
                yield from _idle(work, notary, site.port, protocol)
        with _program("notary_process", work, _notary(authority, site.port)) as notary:
            yield from _large(work, notary, site.port)


class Running:
    """A process that serves. `port` is what it answers on; `said` all that it told."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        self.process = process
        self.said: dict[str, Any] = json.loads(process.stdout.readline())
        self.port: int = self.said.get("port", 0)
        self._sockets = 0
        self._sockets = self.connections()

    def cpu(self) -> float:
        """Seconds of user and system time of all its threads: the clock of clock_getcpuclockid(3)."""
        return time.clock_gettime(~self.process.pid << 3 | 2)

    def connections(self) -> int:
        """How many sockets it has, without those that it began with."""
        found = Path(f"/proc/{self.process.pid}/fd").iterdir()
        return sum(one.readlink().parts[0].startswith("socket:") for one in found) - self._sockets

    def memory(self, *names: str) -> tuple[float, ...]:
        """MiB: members of smaps_rollup, or of status."""
        lines = "".join(
            Path(f"/proc/{self.process.pid}/{file}").read_text() for file in ("smaps_rollup", "status")
        ).splitlines()
        found = {line.split(":")[0]: line.split()[1] for line in lines[1:] if line.endswith("kB")}
        return tuple(int(found[name]) / 1024 for name in names)


def _by_turns(work: Path, turns: Sequence[tuple[Running, Load]]) -> Iterator[tuple[float, ...]]:
    """Milliseconds of a server's CPU for one session, of each batch; in turns, so that other work meets all alike."""
    found: list[list[float]] = [[] for _ in turns]
    for _ in range(BATCHES):
        for values, (server, load) in zip(found, turns, strict=True):
            before = server.cpu()
            _loaded(work, load)
            values.append((server.cpu() - before) / load.sessions * 1000)
    return map(tuple, found)


def _cpu(work: Path, notary: Running, relay: Running, bare: Running, site: Running) -> Iterator[Row]:
    """One at a time, in batches by turns, so that what else the machine does meets all alike."""
    asked = _asking(notary.port, site.port)
    tcp = _asking(notary.port, site.port, protocol="tcp")
    sent = _sent(site.port)
    relayed = Load("relay", relay.port, SESSIONS, sent.hex(), answer=ANSWER)
    passed = Load("relay", bare.port, SESSIONS, sent.hex(), answer=ANSWER)
    turns = ((notary, asked), (notary, tcp), (relay, relayed), (bare, passed))
    ours, by_tcp, with_tls, without = _by_turns(work, turns)
    yield Row("CPU of the notary for one fetch session, WebSocket", "ms", ours, 3.5, "relay, TLS to the site", with_tls)
    yield Row("the same", "ms", ours, 3.5, "relay, site in the clear", without)
    yield Row("CPU of the notary for one fetch session, tcp", "ms", by_tcp, 3.5, "relay, TLS to the site", with_tls)
    yield Row("load average of the machine in the last minute", "", (os.getloadavg()[0],))


def _latencies(work: Path, notary: Running, site: Running) -> Iterator[Row]:
    for many in (1, 10, 50):
        processes = min(many, 5)
        load = _asking(notary.port, site.port, processes=processes, threads=many // processes, sessions=2 * SESSIONS)
        before, site_before = notary.cpu(), site.cpu()
        done = _loaded(work, load)
        ours, sites, others = notary.cpu() - before, site.cpu() - site_before, done["cpu"]
        cuts = statistics.quantiles((one * 1000 for one in done["latencies"]), n=100)
        total = ours + sites + others
        yield Row(f"{many} at once: half of the sessions end within", "ms", (cuts[49],))
        yield Row(f"{many} at once: 99 of 100 sessions end within", "ms", (cuts[98],))
        yield Row(f"{many} at once: sessions in a second", "", (load.sessions / done["seconds"],))
        yield Row(f"{many} at once: CPU of the notary for one", "ms", (ours / load.sessions * 1000,))
        yield Row(f"{many} at once: the load generator's share of all CPU time", "%", (100 * others / total,))
        yield Row(f"{many} at once: the web site's share of all CPU time", "%", (100 * sites / total,))


def _idle(work: Path, notary: Running, port: int, protocol: str) -> Iterator[Row]:
    _loaded(work, _asking(notary.port, port, sessions=20))
    before, pss_before = notary.memory("Rss", "Pss")
    load = _asking(notary.port, port, sessions=IDLE, protocol=protocol, kind="idle")
    with _program("notary_load", work, asdict(load)) as held:
        time.sleep(1)
        assert held.said["held"] == IDLE == notary.connections()
        rss, pss = notary.memory("Rss", "Pss")
    yield Row(f"{IDLE} idle sessions after their evidence, {protocol}: resident memory", "MiB", (rss,), 220)
    yield Row("the same, shared pages divided", "MiB", (pss,), 220)
    yield Row("the notary before that, resident", "MiB", (before,))
    yield Row("what one session takes", "KiB", ((pss - pss_before) * 1024 / IDLE,))


def _large(work: Path, notary: Running, port: int) -> Iterator[Row]:
    _loaded(work, _asking(notary.port, port, sessions=20))
    (before,) = notary.memory("VmHWM")
    values = []
    for many in (1, 4):
        load = _asking(notary.port, port, sessions=many, threads=many, path=LARGE_PATH, kind="refused")
        begun = time.monotonic()
        _loaded(work, load)
        seconds = time.monotonic() - begun
        values.append((many, notary.memory("VmHWM")[0] - before, seconds))
    for many, rise, seconds in values:
        yield Row(f"an answer of {LARGE // MIB} MiB, {many} at once: memory at most above that before", "MiB", (rise,))
        yield Row("the time for that", "s", (seconds,))


def _manifest(port: int, path: str) -> Manifest:
    extractors = [
        {"id": "owner", "selector": ["owner"], "type": "string", "predicates": [_predicate("regex", "^[A-Z][a-z]+ ")]},
        {"id": "balance", "selector": ["balance"], "type": "number", "predicates": [_predicate("value", 1000)]},
        {"id": "entries", "selector": ["entries"], "type": "array", "predicates": [_predicate("length", 2)]},
    ]
    document = {
        "manifestVersion": "2",
        "id": "bench",
        "title": "What the benchmark asks for",
        "request": {
            "method": "POST",
            "url": f"https://{HOST}:{port}{path}",
            "headers": {"content-type": "application/json", "authorization": "Bearer <% token %>"},
            "body": {"query": "<% query %>", "limit": 10},
            "vars": {"token": {"pattern": "^[a-z0-9]{32}$"}, "query": {}},
        },
        "response": {
            "status": "200",
            "headers": {"content-type": "application/json"},
            "body": {"format": "json", "extractors": extractors},
        },
    }
    return Manifest.parse(json.dumps(document).encode())


def _predicate(kind: str, value: object) -> dict[str, object]:
    comparison = "contains" if kind == "regex" else "greaterThan"
    return {"type": kind, "comparison": comparison, "value": value}


def _variables(port: int, path: str) -> dict[str, str]:
    """As many that the request has REQUEST bytes."""
    found = {"token": "0123456789abcdef" * 2, "query": ""}
    return {**found, "query": "q" * (REQUEST - len(_wire(_manifest(port, path), found)) - 1)}


def _wire(manifest: Manifest, variables: dict[str, str]) -> bytes:
    """The request as a site gets it."""
    asked = prepared(manifest.request(variables), FetchLimits())
    lines = [f"{asked.method} {asked.target} HTTP/1.1", f"host: {asked.authority}", "connection: close"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in asked.headers), "", ""]).encode() + asked.body


def _sent(port: int, path: str = PATH) -> bytes:
    return _wire(_manifest(port, path), _variables(port, path))


def _asking(notary: int, port: int, *, sessions: int = SESSIONS, path: str = PATH, **changes: Any) -> Load:
    """Fetch sessions of a notary with the site at `port`."""
    manifest = _manifest(port, path)
    order = Fetch(
        manifest=manifest.canonical(),
        variables=tuple(_variables(port, path).items()),
        recipient=bytes(20),
        chain_id=0,
        contract=bytes(20),
        nonce=os.urandom(32),
        reveal="values",
        legacy=False,
    )
    fields: dict[str, Any] = {"kind": "notary", "said": order.to_body().hex(), "digest": manifest.digest().hex()}
    return Load(port=notary, sessions=sessions, **{**fields, **changes})


def _loaded(work: Path, load: Load) -> dict[str, Any]:
    """What the load generator tells; the last proof is genuine and has the values."""
    file = work / "load.json"
    file.write_text(load.to_json())
    done = subprocess.run([sys.executable, HERE / "notary_load.py", file], check=True, stdout=subprocess.PIPE)
    found: dict[str, Any] = json.loads(done.stdout)
    if load.kind in ("notary", "observe"):
        proof = Proof.parse(bytes.fromhex(found["last"]))
        assert address(proof.signed_by()) == proof.signer
        assert {one.id: json.loads(one.text) for one in proof.openings} == VALUES
    return found


@contextmanager
def _program(name: str, work: Path, wanted: dict[str, Any]) -> Iterator[Running]:
    """A process that serves until the block ends."""
    file = work / f"{name}.json"
    file.write_text(json.dumps(wanted))
    with (work / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, HERE / f"{name}.py", file], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
        )
    with process:
        try:
            yield Running(process)
        finally:
            process.terminate()


def _site(work: Path, authority: Authority) -> AbstractContextManager[Running]:
    return _site_of(work, authority, {PATH: ANSWER, LARGE_PATH: LARGE})


@contextmanager
def _site_of(work: Path, authority: Authority, bodies: dict[str, int]) -> Iterator[Running]:
    identity = authority.issue(HOST)
    wanted = {"chain": identity.chain, "key": identity.key, "threads": 64, "bodies": bodies}
    with _program("notary_site", work, wanted) as running:
        yield running


def _notary(authority: Authority, port: int) -> dict[str, Any]:
    domain = TrustDomain()
    envelope = tdx_envelope(domain, every_purpose(domain.build_id)["channel"]).to_json()
    sys.stderr.write(f"bench: an envelope has {len(json.dumps(envelope))} bytes\n")
    build = domain.build_id.hex()
    return {"roots": authority.pem, "host": HOST, "port": port, "envelope": envelope, "buildId": build}


def _relay(authority: Authority, port: int, *, tls: bool) -> dict[str, Any]:
    return {"roots": authority.pem, "host": HOST, "port": port, "tls": tls}
