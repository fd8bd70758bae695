"""The server over loopback TLS: slow, silent, hostile and impatient clients end their own connection, no more."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from notary.selfcheck import RunningServer
from pluto_measure.errors import FormatError
from pluto_measure.evidence import Envelope
from pluto_notary import events
from pluto_notary.errors import EvidenceError
from pluto_notary.evidence.provider import Issue
from pluto_notary.evidence.requests import EvidenceRequest, NodeRequest
from pluto_notary.insecure import InsecureProvider
from pluto_notary.limits import Limits
from pluto_notary.server.edge import client_of

QUICK = Limits(
    connections=4,
    handshake_seconds=1.0,
    request_seconds=0.5,
    response_seconds=0.5,
    answer_seconds=5.0,
    close_seconds=0.5,
    connection_seconds=3.0,
    evidence_rate=0.001,
    evidence_burst=2,
    stop_seconds=0.5,
)
GET = b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.fixture
def server() -> Iterator[Any]:
    with RunningServer(InsecureProvider(bytes(32)), QUICK) as running:
        yield running


def codes(server: Any) -> list[str]:
    parsed = [events.parse(line) for line in server.lines]
    return [event["code"] for event in parsed if event and event.name == "refused"]


def until_closed(connection: socket.socket) -> bytes:
    data = b""
    try:
        while piece := connection.recv(65536):
            data += piece
    except (ConnectionError, ssl.SSLError):
        return data
    return data


def test_several_requests_share_a_connection(server: Any) -> None:
    with server.connect() as connection:
        connection.sendall(GET * 3)
        data = b""
        while data.count(b'"status":"ok"') < 3:
            data += connection.recv(65536)
    assert server.get("/health")[0] == 200


def test_a_client_that_says_nothing_is_told_so_and_dropped(server: Any) -> None:
    with server.connect() as connection:
        start = time.monotonic()
        assert until_closed(connection).startswith(b"HTTP/1.1 408 ")
        assert time.monotonic() - start < 5
    assert codes(server) == ["time"]


def test_an_idle_connection_is_closed_without_a_word(server: Any) -> None:
    with server.connect() as connection:
        connection.sendall(GET)
        assert until_closed(connection).count(b"HTTP/1.1 ") == 1
    assert codes(server) == []


def test_a_client_that_sends_a_byte_now_and_then_does_not_last(server: Any) -> None:
    with server.connect() as connection:
        start = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() - start < 10:
                connection.sendall(b"G")
                time.sleep(0.1)
        assert time.monotonic() - start < 5


def test_a_handshake_that_never_ends_gives_its_place_back(server: Any) -> None:
    with_nothing_to_say = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(QUICK.connections)]
    try:
        assert server.get("/health")[0] == 200  # waits for a place, and gets one
        assert set(codes(server)) == {"tls"}
    finally:
        for connection in with_nothing_to_say:
            connection.close()


def test_only_tls_1_3_is_spoken(server: Any) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as raw, pytest.raises(ssl.SSLError):
        context.wrap_socket(raw)
    assert server.get("/health")[0] == 200


@pytest.mark.parametrize("data", [b"\x16\x03\x01" + b"\xff" * 400, b"GET / HTTP/1.1\r\n\r\n", b"\0" * 3000])
def test_what_is_not_tls_ends_its_own_connection(server: Any, data: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as raw:
        raw.sendall(data)
        until_closed(raw)
    assert server.get("/health")[0] == 200
    assert codes(server) == ["tls"]


def test_connections_that_are_reset_at_any_moment_end_nothing_else(server: Any) -> None:
    for step in range(3):
        raw = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        if step:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            raw = context.wrap_socket(raw)
            raw.sendall(GET[: 10 * step])
        raw.close()
    assert server.get("/health")[0] == 200


def test_evidence_has_a_rate_and_health_has_not(server: Any) -> None:
    statuses = [server.get("/v1/evidence?nonce=00")[0] for _ in range(3)]
    assert statuses == [200, 200, 429]
    assert [server.get("/health")[0] for _ in range(5)] == [200] * 5
    assert codes(server) == ["rate"]


def test_many_clients_at_once_are_all_answered(server: Any) -> None:
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(server.get("/health")[0])) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert answers == [200] * 20


class Late:
    """A provider that takes its time, or fails."""

    def __init__(self, seconds: float, document: dict[str, object] | EvidenceError) -> None:
        self._seconds, self._document = seconds, document

    async def node(self, request: NodeRequest, issue: Issue) -> dict[str, object]:
        del request, issue
        await asyncio.sleep(self._seconds)
        if isinstance(self._document, EvidenceError):
            raise self._document
        return self._document

    async def evidence(self, request: EvidenceRequest, issue: Issue) -> dict[str, object]:
        """Of the epoch: at once."""
        return await InsecureProvider(bytes(32)).evidence(request, issue)


def test_evidence_that_does_not_come_leaves_health_alone() -> None:
    with RunningServer(Late(0, EvidenceError("device", "secret detail")), QUICK) as server:
        status, document = server.get("/v1/evidence?nonce=00")
        assert (status, document["error"]["code"]) == (503, "device")
        assert "secret" not in json.dumps(document)
        assert server.get("/health")[0] == 200


def test_a_slow_reader_is_dropped_and_its_memory_freed() -> None:
    huge: dict[str, object] = {"filler": "x" * 30_000_000}
    with RunningServer(Late(0, huge), QUICK) as server:
        with server.connect() as connection:
            connection.sendall(b"GET /v1/evidence?nonce=00 HTTP/1.1\r\nhost: x\r\n\r\n")
            time.sleep(2.0)
            assert len(until_closed(connection)) < 30_000_000
        assert server.get("/health")[0] == 200
        assert "time" in codes(server)


def test_stopping_waits_for_what_is_in_flight_but_not_for_ever() -> None:
    with RunningServer(Late(30, {}), QUICK) as server:
        connection = server.connect()
        connection.sendall(b"GET /v1/evidence?nonce=00 HTTP/1.1\r\nhost: x\r\n\r\n")
        time.sleep(0.2)
        start = time.monotonic()
    assert time.monotonic() - start < 5
    connection.close()


def test_no_verifier_knows_insecure_evidence(server: Any) -> None:
    document = server.get("/v1/evidence?nonce=00")[1]
    with pytest.raises(FormatError, match="insecure"):
        Envelope.parse(json.dumps(document))


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
