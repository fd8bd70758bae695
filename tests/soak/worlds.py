"""The sites of the soak, and the notary that sees them, in a process of its own. For the soak alone.

Each host is a site of its own: `good` and `good12` honest (TLS 1.3, TLS 1.2), `bomb` sends what grows, `other` shows a
certificate for another name, `path` is `good` behind somebody on the path, who damages what the site sends.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import random
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pluto_notary.manifest import Manifest
from simulators.notary import sites
from simulators.notary.certificates import Authority
from simulators.notary.evidence import every_purpose, tdx_envelope
from simulators.notary.sites import Site, Visit
from simulators.trust_domains import TrustDomain

PROCESS = Path(__file__).resolve().parents[1] / "bench/notary_process.py"
BODY = json.dumps({"price": "12.50", "filling": "f" * 4000}).encode()
JSON = ("content-type", "application/json")
TLS_12 = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2)


def host_of(kind: str) -> str:
    return f"{kind}.example"


def manifest_of(kind: str, port: int) -> Manifest:
    """What is asked of a site, the same of each."""
    document = {
        "manifestVersion": "2",
        "id": "soak",
        "title": "What the soak asks for",
        "request": {"method": "GET", "url": f"https://{host_of(kind)}:{port}/item/7", "headers": {}},
        "response": {
            "status": "200",
            "headers": {"content-type": "application/json"},
            "body": {"format": "json", "extractors": [{"id": "price", "selector": ["price"], "type": "string"}]},
        },
    }
    return Manifest.parse(json.dumps(document).encode())


def bomb(visit: Visit) -> None:
    """64 MiB of zeros in 64 KiB."""
    visit.read_request()
    body = gzip.compress(b'{"price": "' + bytes(64 << 20))
    visit.send(sites.whole(body, JSON, ("content-encoding", "gzip")))
    visit.goodbye()


class OnThePath:
    """Somebody between the notary and the honest site: flips, drops, repeats or swaps one record of the site's."""

    def __init__(self, port: int, seed: int) -> None:
        self._site, self._random = port, random.Random(seed)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._carry, args=(near, self._random.random()), daemon=True).start()

    def _carry(self, near: socket.socket, chance: float) -> None:
        near.settimeout(10)
        with near, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._site), 10) as far:
            threading.Thread(target=self._there, args=(near, far), daemon=True).start()
            for record in damaged(records_of(far), random.Random(chance)):
                near.sendall(record)

    def _there(self, near: socket.socket, far: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := near.recv(65536):
                far.sendall(data)
            far.shutdown(socket.SHUT_WR)


def records_of(connection: socket.socket) -> Iterator[bytes]:
    """TLS records as they come; what is left at the end is one, too."""
    data = b""
    while piece := connection.recv(65536):
        data += piece
        while len(data) >= 5 and len(data) >= (size := 5 + int.from_bytes(data[3:5], "big")):
            yield data[:size]
            data = data[size:]
    if data:
        yield data


def damaged(records: Iterator[bytes], chance: random.Random) -> Iterator[bytes]:
    """The same with one of them damaged: of the flight, the tickets or the answer, which all count (TLS 1.3)."""
    at, how = chance.randrange(2, 8), chance.choice(("flip", "drop", "repeat", "swap"))
    kept = b""
    for place, record in enumerate(records):
        if place == at and how == "flip":
            middle = len(record) // 2
            yield record[:middle] + bytes([record[middle] ^ 1]) + record[middle + 1 :]
        elif place == at and how == "drop":
            continue
        elif place == at and how == "swap":
            kept = record
        else:
            yield record
            if place == at and how == "repeat":
                yield record
            if kept:
                yield kept
                kept = b""


@dataclass(frozen=True)
class World:
    """What the load works with. `ports`: of the sites, by kind."""

    authority: Authority
    ports: dict[str, int]
    notary: int
    process: subprocess.Popen[bytes]

    def resident_mib(self) -> float:
        """The notary's memory; OSError if it is gone."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(text.split("VmRSS:")[1].split()[0]) / 1024

    @property
    def lives(self) -> bool:
        return self.process.poll() is None


@contextlib.contextmanager
def world(work: Path, seed: int) -> Iterator[World]:
    """Sites and notary, until the block ends."""
    authority = Authority()
    honest = sites.page(BODY, JSON)
    with contextlib.ExitStack() as stack:
        good = stack.enter_context(Site(authority.issue(host_of("good"), host_of("path")), honest))
        good12 = stack.enter_context(Site(authority.issue(host_of("good12")), honest, versions=TLS_12))
        bombs = stack.enter_context(Site(authority.issue(host_of("bomb")), bomb))
        other = stack.enter_context(Site(authority.issue("elsewhere.example"), honest))
        path = stack.enter_context(OnThePath(good.port, seed))
        ports = {"good": good.port, "good12": good12.port, "bomb": bombs.port, "other": other.port, "path": path.port}
        process = stack.enter_context(_notary(work, authority, ports))
        assert process.stdout is not None
        said: dict[str, Any] = json.loads(process.stdout.readline())
        yield World(authority, ports, said["port"], process)


@contextlib.contextmanager
def _notary(work: Path, authority: Authority, ports: dict[str, int]) -> Iterator[subprocess.Popen[bytes]]:
    domain = TrustDomain()
    wanted = {
        "roots": authority.pem,
        "host": host_of("good"),
        "port": ports["good"],
        "hosts": [host_of(kind) for kind in ports],
        "ports": list(ports.values()),
        "envelope": tdx_envelope(domain, every_purpose(domain.build_id)["channel"]).to_json(),
        "buildId": domain.build_id.hex(),
    }
    (work / "notary.json").write_text(json.dumps(wanted))
    with (work / "notary.log").open("wb") as log:
        command = [sys.executable, str(PROCESS), str(work / "notary.json")]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
    with process:
        try:
            yield process
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
            time.sleep(0)
