"""The client's TLS against OpenSSL: every suite, group and kind of key; and our secret against OpenSSL's key log."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from OpenSSL import SSL

from notary.client_tls.certificates import HOST, KINDS, identity, judged
from notary.client_tls.openssl import NAMES, OpenSsl
from pluto_notary.client.tls.client import TlsClient
from pluto_notary.client.tls.errors import TlsError
from pluto_notary.client.tls.suites import SUITES_12, SUITES_13, Suite


def joined(server: OpenSsl) -> TlsClient:
    client = TlsClient(HOST, judge=judged, random=os.urandom)
    while data := client.data_to_send():
        client.feed(server.receive(data))
    assert client.established
    assert server.done
    return client


def talked(client: TlsClient, server: OpenSsl) -> None:
    """Data both ways, and both goodbyes."""
    client.write(b"question" * 10000)
    client.feed(server.receive(client.data_to_send()))
    client.feed(server.write(b"answer" * 10000))
    assert (server.read, client.read()) == (b"question" * 10000, b"answer" * 10000)
    client.close()
    server.receive(client.data_to_send())
    assert server.connection.get_shutdown() & SSL.RECEIVED_SHUTDOWN
    server.connection.shutdown()
    client.feed(server.sent())
    assert client.ended
    client.end()


def secret_is_known(client: TlsClient, server: OpenSsl) -> None:
    """What the key log has follows from our secret."""
    handshake: Any = client._handshake
    if client.version == "TLSv1.2":
        assert server.logged["CLIENT_RANDOM"] == client.secret
        return
    schedule = handshake._schedule
    assert handshake._client == server.logged["CLIENT_TRAFFIC_SECRET_0"]
    assert handshake._server == server.logged["SERVER_TRAFFIC_SECRET_0"]
    finished = bytes(client._link.transcript._raw)[: -(4 + schedule.size)]  # without ours
    digest = hashlib.new(schedule.hash, finished).digest()
    assert schedule.traffic_secret(schedule.master_secret(client.secret), "c ap traffic", digest) == handshake._client


@pytest.mark.parametrize("curve", ["", "p256", "p384"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suite", SUITES_13, ids=lambda suite: NAMES[suite.number])
def test_tls_13(suite: Suite, kind: str, curve: str) -> None:
    """Where OpenSSL has another curve than x25519, it asks for another hello."""
    server = OpenSsl(kind, suite=suite.number, curve=curve)
    client = joined(server)
    assert client.version == "TLSv1.3"
    assert server.connection.get_cipher_name() == NAMES[suite.number]
    assert server.connection.get_alpn_proto_negotiated() == b"http/1.1"
    assert server.connection.get_servername() == HOST.encode()
    assert client._hellos.retried is bool(curve)
    assert client.chain == (identity(kind).der,)
    secret_is_known(client, server)
    talked(client, server)


@pytest.mark.parametrize("curve", ["", "p256", "p384"])
@pytest.mark.parametrize(
    ("suite", "kind"),
    [(suite, kind) for suite in SUITES_12 for kind in KINDS if (kind == "rsa") is (suite.key == "rsa")],
    ids=lambda one: one if isinstance(one, str) else NAMES[one.number],
)
def test_tls_12(suite: Suite, kind: str, curve: str) -> None:
    server = OpenSsl(kind, suite=suite.number, curve=curve)
    if kind == "p521":
        with pytest.raises(SSL.Error):  # the site's own curve has to be one that is offered (RFC 8422, 5.1.1)
            joined(server)
        return
    client = joined(server)
    assert client.version == "TLSv1.2"
    assert server.connection.get_cipher_name() == NAMES[suite.number]
    assert server.connection.get_alpn_proto_negotiated() == b"http/1.1"
    assert client.chain == (identity(kind).der,)
    secret_is_known(client, server)
    talked(client, server)


@pytest.mark.parametrize("version", [SSL.TLS1_3_VERSION, SSL.TLS1_2_VERSION])
def test_a_request_for_a_certificate(version: int) -> None:
    server = OpenSsl("p256", version=version, ask=True)
    client = joined(server)
    assert server.connection.get_peer_certificate() is None
    talked(client, server)


def test_a_site_that_speaks_nothing_of_what_is_offered() -> None:
    client = TlsClient(HOST, judge=judged, random=os.urandom)
    server = OpenSsl("p256", cipher="ECDHE-ECDSA-AES128-SHA256")
    with pytest.raises(SSL.Error):
        server.receive(client.data_to_send())
    with pytest.raises(TlsError, match="alert 40") as caught:
        client.feed(server.sent())
    assert caught.value.heard == 40


class Program:
    """`openssl s_server`, on a port of this computer."""

    def __init__(self, folder: Path, kind: str, *options: str) -> None:
        for name, text in (("chain", identity(kind).chain), ("key", identity(kind).key)):
            (folder / f"{name}.pem").write_text(text)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        files = ["-cert", str(folder / "chain.pem"), "-key", str(folder / "key.pem")]
        words = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", *files, *options]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, bufsize=0)
        self.client = TlsClient(HOST, judge=judged, random=os.urandom)
        self.connection = _connected(port)
        self.connection.settimeout(10)
        self.got = b""

    def turn(self) -> None:
        if data := self.client.data_to_send():
            self.connection.sendall(data)
        data = self.connection.recv(65536)
        self.client.feed(data) if data else self.client.end()
        if data := self.client.data_to_send():
            self.connection.sendall(data)
        self.got += self.client.read()

    def type(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")

    def tells(self) -> None:
        """What is typed comes through."""
        self.type("told")
        while b"told\n" not in self.got:
            self.turn()

    def says(self, wanted: bytes) -> None:
        """Wait until the program has printed it."""
        assert self.process.stdout is not None
        said = b""
        while wanted not in said:
            piece = self.process.stdout.read(4096)
            assert piece, said
            said += piece

    def end(self) -> None:
        self.connection.close()
        self.process.kill()
        self.process.communicate()


def _connected(port: int) -> socket.socket:
    for _ in range(100):
        with contextlib.suppress(ConnectionRefusedError):
            return socket.create_connection(("127.0.0.1", port), timeout=10)
        time.sleep(0.05)
    raise TimeoutError


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Any]:
    if shutil.which("openssl") is None:
        pytest.skip("no peer: openssl")
    started: list[Program] = []

    def start(kind: str, *options: str) -> Program:
        started.append(Program(tmp_path, kind, *options))
        one = started[-1]
        while not one.client.established:
            one.turn()
        return one

    yield start
    for one in started:
        one.end()


@pytest.mark.parametrize(("letter", "answers"), [("k", False), ("K", True)])
def test_openssl_changes_its_keys(program: Any, letter: str, answers: bool) -> None:
    """k: OpenSSL's own; K: it wants ours changed too. Data goes both ways before and after, twice."""
    site = program("p256", "-tls1_3")
    for number in range(2):
        before = site.client._handshake._client, site.client._handshake._server
        site.client.write(b"asked %d\n" % number)
        site.connection.sendall(site.client.data_to_send())
        site.says(b"asked %d\n" % number)
        site.type(letter)
        while site.client._handshake._server == before[1]:
            site.turn()
        site.type(f"told {number}")
        while b"told %d\n" % number not in site.got:
            site.turn()
        assert (site.client._handshake._client != before[0]) is answers
    site.client.write(b"the end\n")
    site.connection.sendall(site.client.data_to_send())
    site.says(b"the end\n")


@pytest.mark.parametrize("scheme", ["RSA+SHA256", "RSA+SHA384", "RSA+SHA512", "RSA-PSS+SHA384", "RSA-PSS+SHA512"])
def test_signatures_that_openssl_would_not_choose(program: Any, scheme: str) -> None:
    site = program("rsa", "-tls1_2", "-sigalgs", scheme)
    site.tells()


@pytest.mark.parametrize("scheme", ["ECDSA+SHA384", "ECDSA+SHA512"])
def test_a_curve_with_another_hash_is_of_tls_12_alone(program: Any, scheme: str) -> None:
    site = program("p256", "-tls1_2", "-sigalgs", scheme)
    site.tells()


def test_openssl_wants_to_negotiate_again(program: Any) -> None:
    site = program("p256", "-tls1_2")
    site.type("r")
    with pytest.raises(TlsError, match="type 0 "):
        while True:
            site.turn()


@pytest.mark.parametrize("tickets", ["0", "4"])
def test_openssl_gives_tickets(program: Any, tickets: str) -> None:
    """To clients that cannot use them it may give none; data comes through either way."""
    site = program("p256", "-tls1_3", "-num_tickets", tickets)
    site.tells()


def test_openssl_speaks_an_old_version_only(program: Any, tmp_path: Path) -> None:
    with pytest.raises(TlsError, match=r"alert \d+"):
        program("p256", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
