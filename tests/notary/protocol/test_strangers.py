"""Clients of other people's making, over sockets: another TLS library, another language, a browser's WebSocket."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from notary.protocol.strangers import BROWSER, HERE, STRANGER, node, python_with, run, stranger
from pluto_notary.certificate import make_identity
from pluto_notary.protocol.errors import ChannelError
from pluto_notary.protocol.inner import InnerTls, client_context
from simulators.notary.channel import BUILD_ID, PROOF, SESSION_ID, PretendNotary, served
from simulators.notary.prover import DIGEST, FETCH, NONCE

pytestmark = pytest.mark.interop


def job(port: int, **more: Any) -> dict[str, Any]:
    members = json.loads(FETCH.to_body())
    return {
        "host": "127.0.0.1",
        "port": port,
        "outer": "plain",
        "upgrade": "websocket",
        "query": "",
        "nonce": NONCE.hex(),
        "manifestDigest": DIGEST.hex(),
        "fresh": False,
        "appraise": None,
        "insecure_accept_any": True,
        "fetch": {name: value for name, value in members.items() if name != "version"},
        "cut": 0,
        **more,
    }


def test_the_stranger_knows_nothing_of_this_project() -> None:
    text = STRANGER.read_text()
    imported = [line.split()[1].split(".")[0] for line in text.splitlines() if line.startswith(("import ", "from "))]
    assert not [name for name in imported if name.startswith("pluto") or name in ("OpenSSL", "cryptography", "ssl")]


@pytest.mark.parametrize("upgrade", ["websocket", "tcp"])
@pytest.mark.parametrize(("cut", "fresh"), [(0, False), (1, False), (100, True)])
def test_a_stranger_gets_his_proof(upgrade: str, cut: int, fresh: bool) -> None:
    with served(PretendNotary) as (port, notaries):
        done = stranger(job(port, upgrade=upgrade, cut=cut, fresh=fresh, query="target_port=443"))
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["proof"] == json.loads(PROOF)
    assert result["sessionId"] == SESSION_ID.hex()
    assert result["steps"] == ["fetching"]
    assert result["closed"] is True
    assert result["ekm"] == notaries[0]._inner.ekm.hex()
    assert notaries[0].fetched == FETCH


def test_a_stranger_who_stops_at_the_evidence_asked_nothing() -> None:
    with served(PretendNotary) as (port, notaries):
        done = stranger(job(port, fetch=None))
    assert json.loads(done.stdout)["envelope"]["claims"]["buildId"] == BUILD_ID.hex()
    assert notaries[0].fetched is None


@pytest.mark.parametrize(("code", "accepted"), [(0, True), (5, False)])
def test_a_stranger_asks_only_after_his_appraisal(code: int, accepted: bool) -> None:
    program = f"import json, sys; sys.exit({code} if json.load(sys.stdin)['envelope']['claims'] else 9)"
    with served(PretendNotary) as (port, notaries):
        done = stranger(job(port, appraise=[sys.executable, "-c", program]))
    assert (done.returncode == 0) is accepted
    assert (notaries[0].fetched is not None) is accepted


def test_a_stranger_reads_why_there_is_no_proof() -> None:
    with served(PretendNotary) as (port, _):
        done = stranger(job(port, fetch={"manifest": {}}))
    assert json.loads(done.stdout)["error"] == {
        "version": 2,
        "code": "json",
        "message": "a member is missing or not of its kind",
        "path": "variables",
    }


@pytest.mark.parametrize("fresh", [False, True])
def test_a_browser_shaped_client_in_another_language(fresh: bool) -> None:
    with served(PretendNotary) as (port, notaries):
        argv = [node(), "--experimental-websocket", "--no-warnings", str(BROWSER)]
        done = run(argv, job(port, fresh=fresh), dict(os.environ))
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["proof"] == json.loads(PROOF)
    assert result["closed"] is True
    assert result["ekm"] == notaries[0]._inner.ekm.hex()
    assert notaries[0].fetched == FETCH


WEBSOCKETS = """
import asyncio, sys, websockets
async def main(port):
    async with websockets.connect(f"ws://127.0.0.1:{port}/v1/tee", compression="deflate") as one:
        assert one.response.headers.get("Sec-WebSocket-Extensions") is None
        await asyncio.wait_for(await one.ping(b"there?"), 10)
        await one.send(iter([b"\\x16\\x03", b"\\x01\\x00", b"\\x05hello"]))  # fragments
        first = await one.recv()
        assert isinstance(first, bytes) and first[0] == 0x15, first  # an alert of the inner TLS
        try:
            await one.recv()
        except websockets.ConnectionClosed as closed:
            assert closed.rcvd.code == 1000, closed
asyncio.run(main(int(sys.argv[1])))
"""


def test_the_library_websockets_pings_fragments_and_closes() -> None:
    environment = python_with("websockets")
    with served(PretendNotary) as (port, _):
        done = run([sys.executable, "-c", WEBSOCKETS, str(port)], {}, environment)
    assert done.returncode == 0, done.stderr


def handshake(client: InnerTls, port: int) -> ChannelError | None:
    """Shake hands with whoever listens; the client's error and alert, if it has one."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        try:
            while not client.established:
                while data := client.data_to_send():
                    connection.sendall(data)
                client.feed(connection.recv(16384))
        except ChannelError as error:
            connection.sendall(client.data_to_send())
            return error
    return None


@pytest.mark.parametrize("honest", [True, False])
def test_weakness_22_a_client_checks_the_signature_of_the_handshake(honest: bool, tmp_path: Path) -> None:
    environment = python_with("tlslite", "ecdsa")
    identities = [make_identity(os.urandom) for _ in range(2)]
    (tmp_path / "certificate").write_bytes(identities[0].certificate)
    (tmp_path / "key").write_bytes(identities[0 if honest else 1].key_pem)
    argv = [sys.executable, str(HERE / "false_server.py"), str(tmp_path / "certificate"), str(tmp_path / "key")]
    client = InnerTls(client_context(), server=False)
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdout=pipe, stderr=pipe, text=True, env=environment) as program:
        assert program.stdout is not None
        error = handshake(client, int(program.stdout.readline()))
        _, said = program.communicate(timeout=20)
    assert client.established is honest
    assert error is None or error.code == "tls"
    assert ("decrypt_error" in said) is not honest  # the client's own alert: it was the signature
