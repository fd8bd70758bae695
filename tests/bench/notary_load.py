"""The load on the notary's benchmark: sessions from threads of some processes, as lean as Python makes it.

    notary_load.py FILE     FILE: a `Load` as JSON

    kind "notary"   outer TLS, upgrade, inner TLS, hello, evidence, fetch, proof        kind "relay"   both TLS, bytes
    kind "observe"  as "notary", but the web site is asked by this side's own TLS, through the notary
    kind "refused"  a notary, and an error in place of the proof
    kind "idle"     notary sessions until their evidence, all at once, held until standard input ends

It judges no evidence and checks one proof at the end only (`bench_notary` does): a client's work is not measured.
Answers with one JSON document: latencies in seconds, CPU seconds of all its processes, the last answer in hex.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn, Self, TypeVar

from OpenSSL import SSL

from pluto_notary.client.tls.client import TlsClient
from pluto_notary.observe.roots import Roots
from pluto_notary.protocol import inner
from pluto_notary.protocol.messages import ERROR, EVIDENCE, FETCH, HELLO, PROGRESS, PROOF, Hello
from pluto_notary.protocol.observe import CLOSE, CLOSED, CONNECTED, DATA, ENDED, OBSERVE, REVEAL, Close, Reveal

T = TypeVar("T")

_READ = 64 * 1024
_HEAD = "GET /v1/tee HTTP/1.1\r\nhost: notary.example\r\nconnection: Upgrade\r\nupgrade: {}\r\n{}\r\n"
_WEBSOCKET = "sec-websocket-version: 13\r\nsec-websocket-key: AAECAwQFBgcICQoLDA0ODw==\r\n"


@dataclass(frozen=True)
class Load:
    """What is to be done. `sessions` in all; `said`: the body of `fetch`, or what goes through a relay, in hex."""

    kind: str
    port: int
    sessions: int
    said: str = ""
    digest: str = ""  # of the manifest, in hex
    answer: int = 0  # bytes that come back through a relay
    processes: int = 1
    threads: int = 1  # of each process
    protocol: str = "websocket"
    host: str = ""  # of the web site that is observed
    request: str = ""  # what it is asked, in hex
    roots: str = ""  # PEM

    def to_json(self) -> str:
        return json.dumps(asdict(self))


class Wire:
    """Bytes inside of both layers of TLS."""

    def __init__(self, load: Load, outer: ssl.SSLContext, context: SSL.Context) -> None:
        plain = socket.create_connection(("127.0.0.1", load.port), timeout=120)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._outer = outer.wrap_socket(plain)
        self._websocket = load.protocol == "websocket" and load.kind != "relay"
        self._raw, self._frames = b"", bytearray()
        self._tls = SSL.Connection(context)
        self._tls.set_connect_state()
        if load.kind != "relay":
            self._upgrade(load.protocol)
        self._call(self._tls.do_handshake)
        self.ekm = self._tls.export_keying_material(inner.EXPORTER_LABEL, inner.EKM_BYTES, inner.EXPORTER_CONTEXT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._outer.close()

    def send(self, data: bytes) -> None:
        self._tls.sendall(data)
        self._flush()

    def read(self) -> bytes:
        return self._call(lambda: self._tls.recv(_READ))

    def frame(self) -> tuple[int, bytes]:
        """The next frame of the session."""
        while len(self._frames) < 5 or len(self._frames) < 5 + int.from_bytes(self._frames[1:5], "big"):
            self._frames += self.read()
        end = 5 + int.from_bytes(self._frames[1:5], "big")
        kind, body = self._frames[0], bytes(self._frames[5:end])
        del self._frames[:end]
        return kind, body

    def detach(self) -> int:
        """The connection, without what this side knows of it: the notary cannot tell."""
        return self._outer.detach()

    def _call(self, act: Callable[[], T]) -> T:
        while True:
            try:
                done = act()
            except SSL.WantReadError:
                self._flush()
                self._tls.bio_write(self._more())
            else:
                self._flush()
                return done

    def _flush(self) -> None:
        try:
            data = self._tls.bio_read(1 << 20)
        except SSL.WantReadError:
            return
        self._outer.sendall(_masked(data) if self._websocket else data)

    def _more(self) -> bytes:
        while True:
            if not self._websocket and self._raw:
                data, self._raw = self._raw, b""
                return data
            if self._websocket and (data := self._message()):
                return data
            if not (piece := self._outer.recv(_READ)):
                raise EOFError("the other side closed the connection")
            self._raw += piece

    def _message(self) -> bytes:
        """The payload of one frame; frames of servers are not masked. RFC 6455, 5.2."""
        raw, start = self._raw, 2
        if len(raw) < 4:
            return b""
        size = raw[1]
        if size > 125:
            start = 4 if size == 126 else 10
            size = int.from_bytes(raw[2:start], "big")
        if len(raw) < start + size:
            return b""
        self._raw = raw[start + size :]
        return raw[start : start + size] if raw[0] == 0x82 else b""

    def _upgrade(self, protocol: str) -> None:
        self._outer.sendall(_HEAD.format(protocol, _WEBSOCKET if protocol == "websocket" else "").encode())
        while b"\r\n\r\n" not in self._raw:
            self._raw += self._outer.recv(_READ)
        head, _, self._raw = self._raw.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101 "):
            raise ValueError(f"no upgrade: {head[:200]!r}")


def _masked(data: bytes) -> bytes:
    """A binary message; its mask is zeros, which costs this side nothing and the other as much as any."""
    size = len(data)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    if size > 0xFFFF:
        length = b"\xff" + size.to_bytes(8, "big")
    return b"\x82" + length + bytes(4) + data


class Client:
    """One thread's sessions."""

    def __init__(self, load: Load) -> None:
        self._load, self._said = load, bytes.fromhex(load.said)
        self._outer = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._outer.check_hostname, self._outer.verify_mode = False, ssl.CERT_NONE
        self._inner = inner.client_context()
        self.latencies: list[float] = []
        self.last = b""

    def run(self, count: int) -> None:
        act = {"relay": self._through_relay, "observe": self._observed}.get(self._load.kind, self._proof)
        for _ in range(count):
            begun = time.monotonic()
            act()
            self.latencies.append(time.monotonic() - begun)

    def shown(self) -> Wire:
        """A session whose evidence has come."""
        wire = Wire(self._load, self._outer, self._inner)
        wire.send(_framed(HELLO, Hello(os.urandom(32), bytes.fromhex(self._load.digest), fresh=False).to_body()))
        _expected(EVIDENCE, *wire.frame())
        return wire

    def _proof(self) -> None:
        with self.shown() as wire:
            wire.send(_framed(FETCH, self._said))
            while True:
                kind, body = wire.frame()
                if kind in (PROOF, ERROR):
                    break
            self.last = _expected(ERROR if self._load.kind == "refused" else PROOF, kind, body)

    def _observed(self) -> None:
        roots, now = Roots.load(self._load.roots.encode()), int(time.time())
        host = self._load.host
        site = TlsClient(host, judge=lambda chain: roots.judge(chain, host, (now, now)), random=os.urandom)
        with self.shown() as wire:
            wire.send(_framed(OBSERVE, self._said))
            _until(wire, CONNECTED)
            left, asked = self._load.answer, False
            while left > 0:
                if data := site.data_to_send():
                    wire.send(_framed(DATA, data))
                site.feed(_until(wire, DATA))
                left -= len(site.read())
                if site.established and not asked:
                    site.write(bytes.fromhex(self._load.request))
                    asked = True
            site.close()
            wire.send(_framed(DATA, site.data_to_send()) + _framed(CLOSE, Close().to_body()))
            _until(wire, CLOSED)
            wire.send(_framed(REVEAL, Reveal(site.secret, 0).to_body()))
            self.last = _until(wire, PROOF)

    def _through_relay(self) -> None:
        with Wire(self._load, self._outer, self._inner) as wire:
            wire.send(self._said)
            left = self._load.answer
            while left > 0:
                self.last = wire.read()
                left -= len(self.last)


def _until(wire: Wire, wanted: int) -> bytes:
    """The body of the next frame of this type; what the site says after our end is passed over."""
    while True:
        kind, body = wire.frame()
        if kind == wanted:
            return body
        if kind not in (PROGRESS, DATA, ENDED):
            raise ValueError(f"a frame of type {kind}: {body[:200]!r}")


def _framed(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + len(body).to_bytes(4, "big") + body


def _expected(wanted: int, kind: int, body: bytes) -> bytes:
    if kind != wanted:
        raise ValueError(f"a frame of type {kind}: {body[:200]!r}")
    return body


def work(load: Load, share: int) -> dict[str, object]:
    """One process's share of the sessions, by its threads."""
    clients = [Client(load) for _ in range(load.threads)]
    counts = [share // load.threads + (number < share % load.threads) for number in range(load.threads)]
    threads = [threading.Thread(target=client.run, args=(n,)) for client, n in zip(clients, counts, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    latencies = [one for client in clients for one in client.latencies]
    if len(latencies) != share:
        raise SystemExit("a session failed")
    return {"latencies": latencies, "cpu": time.process_time(), "last": clients[0].last.hex()}


def idle(load: Load) -> None:
    """Sessions that say nothing after their evidence. This side keeps their sockets alone."""
    client = Client(load)
    held = [client.shown().detach() for _ in range(load.sessions)]
    sys.stdout.write(json.dumps({"held": len(held)}) + "\n")
    sys.stdout.flush()
    sys.stdin.read()


def _child(load: Load, share: int, writing: int) -> NoReturn:
    status = 1
    try:
        done = work(load, share)
        with open(writing, "w") as file:
            json.dump(done, file)
        status = 0
    finally:
        os._exit(status)


def main(load: Load) -> None:
    if load.kind == "idle":
        idle(load)
        return
    children: list[int] = []
    begun = time.monotonic()
    for number in range(load.processes):
        reading, writing = os.pipe()
        if os.fork() == 0:
            _child(load, load.sessions // load.processes + (number < load.sessions % load.processes), writing)
        os.close(writing)
        children.append(reading)
    found = []
    for reading in children:
        with open(reading) as file:  # noqa: PTH123 - a descriptor has no path
            found.append(json.loads(file.read() or "null"))
    if None in found:
        raise SystemExit("a process failed")
    sys.stdout.write(
        json.dumps(
            {
                "latencies": [one for part in found for one in part["latencies"]],
                "cpu": sum(part["cpu"] for part in found),
                "seconds": time.monotonic() - begun,
                "last": found[0]["last"],
            }
        )
        + "\n"
    )


if __name__ == "__main__":
    main(Load(**json.loads(Path(sys.argv[1]).read_bytes())))
