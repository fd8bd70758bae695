"""The client's TLS against Go's crypto/tls, which shares nothing with OpenSSL."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from interop import peers
from notary.client_tls.certificates import HOST, identity, judged
from pluto_notary.client.tls.client import TlsClient
from pluto_notary.client.tls.groups import GROUPS, SECP256R1, X25519
from pluto_notary.client.tls.suites import ECDSA, SUITES_12

pytestmark = pytest.mark.interop

NUMBERS = {"1.2": 0x0303, "1.3": 0x0304}


def said_by_go(
    folder: Path, kind: str, version: str, *, suite: int = 0, curve: int = 0, ask: bool = False
) -> tuple[dict[str, Any], TlsClient, dict[str, str]]:
    """One connection to it: what it says was agreed on, the client, and the key log."""
    try:
        peers.need("go-tls")
    except peers.AbsentError as error:
        pytest.skip(f"no peer: {error}")
    for name, text in (("chain", identity(kind).chain), ("key", identity(kind).key)):
        (folder / f"{name}.pem").write_text(text)
    words: list[Path | str] = [peers.BUILD / "bin/peer-tls", folder / "chain.pem", folder / "key.pem"]
    words += [version, str(suite), str(curve), "ask" if ask else "-"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as site:
        assert site.stdout is not None
        client, told = _talked(int(site.stdout.readline()))
        out, log = site.communicate(timeout=20)
    assert out == "done\n"
    line = told.split(b"\n", 1)[0]
    assert told == line + b"\n" + b"3000 times\n" * 3000
    return json.loads(line), client, {one.split()[0]: one.split()[2] for one in log.splitlines()}


def _talked(port: int) -> tuple[TlsClient, bytes]:
    client, told, asked = TlsClient(HOST, judge=judged, random=os.urandom), b"", False
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        while not client.ended:
            if client.established and not asked:
                asked = True
                client.write(b"3000 times\n")
            connection.sendall(client.data_to_send())
            client.feed(connection.recv(65536))
            told += client.read()
        client.close()
        connection.sendall(client.data_to_send())
        assert connection.recv(1) == b""
        client.end()
    return client, told


@pytest.mark.parametrize("curve", GROUPS)
@pytest.mark.parametrize("kind", ["p256", "p384", "p521", "rsa", "ed25519"])
def test_tls_13_with_go(tmp_path: Path, kind: str, curve: int) -> None:
    agreed, client, log = said_by_go(tmp_path, kind, "1.3", curve=curve)
    assert (agreed["version"], agreed["protocol"], agreed["name"]) == (NUMBERS["1.3"], "http/1.1", HOST)
    assert (client.version, client._hellos.retried) == ("TLSv1.3", curve != X25519)
    handshake: Any = client._handshake
    assert handshake._client.hex() == log["CLIENT_TRAFFIC_SECRET_0"]
    assert handshake._server.hex() == log["SERVER_TRAFFIC_SECRET_0"]


@pytest.mark.parametrize("curve", GROUPS)
@pytest.mark.parametrize("suite", SUITES_12, ids=lambda suite: hex(suite.number))
def test_tls_12_with_go(tmp_path: Path, suite: Any, curve: int) -> None:
    kind = "p256" if suite.key == ECDSA else "rsa"
    agreed, client, log = said_by_go(tmp_path, kind, "1.2", suite=suite.number, curve=curve)
    assert (agreed["version"], agreed["suite"], agreed["protocol"]) == (NUMBERS["1.2"], suite.number, "http/1.1")
    assert client.secret.hex() == log["CLIENT_RANDOM"]


@pytest.mark.parametrize("version", NUMBERS)
def test_go_asks_for_a_certificate_and_gets_none(tmp_path: Path, version: str) -> None:
    agreed, _, _ = said_by_go(tmp_path, "p256", version, curve=SECP256R1, ask=True)
    assert agreed["certificates"] == 0
    assert agreed["resumed"] is False
