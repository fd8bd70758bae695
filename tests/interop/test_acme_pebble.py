"""The outer certificate from Pebble, Let's Encrypt's authority for tests: strict, and it rejects nonces at random."""

from __future__ import annotations

import json
import os
import socket
import socketserver
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from interop import peers
from notary.server.shared import BODY, HOST, JSON, QUICK, SECRETS, manifest
from pluto_notary.config import Acme
from simulators.acme_ca import shown_by_name
from simulators.notary import whole
from simulators.notary.certificates import Authority
from simulators.notary.sites import Site, page

pytestmark = [pytest.mark.interop, pytest.mark.slow]

CA: Final = "ca.example"
DOMAIN: Final = "notary.example"
REJECTED: Final = "15"  # of a hundred nonces


class Today(whole.SetClock):
    """The time as it is, since Pebble's certificates are of today."""

    def interval(self, now: float) -> tuple[float, float]:
        at = time.time() - time.monotonic() + now
        return at - 0.5, at + 0.5


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


class _Names(socketserver.StreamRequestHandler):
    """DNS over TCP (RFC 1035, 4): the question again, and for type A a record with a pointer to its name."""

    def handle(self) -> None:
        asked = self.rfile.read(int.from_bytes(self.rfile.read(2), "big"))
        end = asked.index(b"\0", 12) + 5
        record = b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4\x7f\0\0\1" if asked[end - 4 : end - 2] == b"\0\1" else b""
        counts = b"\0\1" + (b"\0\1" if record else b"\0\0") + bytes(4)
        answer = asked[:2] + b"\x81\x80" + counts + asked[12:end] + record
        self.wfile.write(len(answer).to_bytes(2, "big") + answer)


@contextmanager
def names() -> Iterator[int]:
    """A DNS server for which every name has the address 127.0.0.1, and nothing else. Its port."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Names) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def pebble(authority: Authority, folder: Path, *, tls_port: int) -> Iterator[tuple[int, int]]:
    """Pebble with a site's certificate of `authority`. Its port, and that of its management."""
    try:
        peers.need("go-pebble")
    except peers.AbsentError as error:
        pytest.skip(f"no peer: {error}")
    identity = authority.issue(CA, "127.0.0.1")
    (folder / "chain.pem").write_text(identity.chain)
    (folder / "key.pem").write_text(identity.key)
    port, management = free_port(), free_port()
    settings = {
        "listenAddress": f"127.0.0.1:{port}",
        "managementListenAddress": f"127.0.0.1:{management}",
        "certificate": str(folder / "chain.pem"),
        "privateKey": str(folder / "key.pem"),
        "httpPort": free_port(),
        "tlsPort": tls_port,
        "externalAccountBindingRequired": False,
        "keyAlgorithm": "ecdsa",
        "retryAfter": {"authz": 1, "order": 1},
    }
    (folder / "pebble.json").write_text(json.dumps({"pebble": settings}))
    environment = {**os.environ, "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": REJECTED}
    with names() as resolver, (folder / "pebble.log").open("wb") as log:
        argv = [str(peers.BUILD / "bin/pebble"), "-strict", "-config", "pebble.json", "-dnsserver"]
        running = subprocess.Popen(
            [*argv, f"127.0.0.1:{resolver}"], stdout=log, stderr=log, env=environment, cwd=folder
        )
        try:
            for wanted in (port, management):
                _reachable(wanted)
            yield port, management
        finally:
            running.terminate()
            running.wait(10)


def _reachable(port: int) -> None:
    end = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < end, "Pebble does not start"
            time.sleep(0.05)
        else:
            return


def root_of(management: int, authority: Authority) -> str:
    """Pebble's root, which is a new one each time."""
    context = ssl.create_default_context(cadata=authority.pem)
    plain = socket.create_connection(("127.0.0.1", management), timeout=10)
    with context.wrap_socket(plain, server_hostname=CA) as connection:
        connection.sendall(f"GET /roots/0 HTTP/1.0\r\nhost: {CA}\r\n\r\n".encode())
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return answer.partition(b"\r\n\r\n")[2].decode()


def test_pebble_certifies_the_outer_key_and_any_client_believes_it(tmp_path: Path) -> None:
    authority = Authority()
    # The notary's port is known before the notary is there, since it asks at once.
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
        with (
            pebble(authority, tmp_path, tls_port=port) as (ca, management),
            Site(authority.issue(HOST), page(BODY, JSON)) as site,
            whole.running(
                authority,
                {CA: ca, HOST: site},
                clock=Today(),
                limits=QUICK,
                acme=Acme(f"https://{CA}/dir", DOMAIN),
                doors=(door,),
            ) as notary,
        ):
            shown_by_name(("127.0.0.1", port), DOMAIN)
            notary.soon(lambda: any("certificate state=" in line and "asked" not in line for line in notary.lines), 60)
            log = (tmp_path / "pebble.log").read_text()
            assert "pluto: certificate state=shown code=none\n" in notary.lines, f"{notary.lines}\n{log[-4000:]}"
            believing = ssl.create_default_context(cadata=root_of(management, authority))
            plain = socket.create_connection(("127.0.0.1", port), timeout=10)
            with believing.wrap_socket(plain, server_hostname=DOMAIN) as connection:
                assert connection.version() == "TLSv1.3"
                connection.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                assert connection.recv(100).startswith(b"HTTP/1.1 200")
            proof = notary.prove(manifest(), **SECRETS)  # appraised: the evidence names the key that was certified
            assert [one.id for one in proof.openings] == ["price"]
