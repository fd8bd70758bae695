"""Bugs of ours, put in at every seam: one session ends with `internal`, nothing is quoted, nothing is kept."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any

import h11
import pytest
from OpenSSL import SSL

from notary.server.shared import CANARY, PROTOCOLS, QUICK, SECRETS, Start, Watched, lives, manifest, refused
from pluto_measure.record import replace
from pluto_notary.evidence.provider import Issue
from pluto_notary.evidence.requests import EvidenceRequest
from pluto_notary.manifest.workers import Workers
from pluto_notary.protocol.errors import ChannelError
from pluto_notary.protocol.inner import InnerTls
from pluto_notary.protocol.session import NotarySession
from pluto_notary.protocol.stream import TcpStream, WebSocketStream
from pluto_notary.protocol.upgrade import Upgrade
from pluto_notary.server import channel, faults, outer
from pluto_notary.server.edge import Edge
from pluto_notary.server.notary import Notary
from pluto_notary.server.prover import Prover
from pluto_notary.server.session import HttpSession
from pluto_notary.statement.proof import Proof
from simulators.notary import clients, web, whole

# One of each: what a bug lets go ahead of time shows at once.
TIGHT = replace(QUICK, fetches=1, channels=1, connections_of_one=1)
AT_REST = 5  # tasks: the server, its accepting, its stopping, the epochs', the clock's
BUGS: list[type[Exception]] = [
    RuntimeError,
    ValueError,
    MemoryError,
    RecursionError,
    BufferError,
    EOFError,
    OSError,
    TimeoutError,
    asyncio.InvalidStateError,
    SSL.Error,
]
WORK: list[tuple[Any, str]] = [
    (Notary, "_session_evidence"),
    (Prover, "prove"),
    (Prover, "_proof"),
    (Notary, "key_evidence"),
    (web, "fetch"),
    (Workers, "check"),
    (Workers, "values"),
    (Proof, "sign"),
    (Proof, "to_bytes"),
]


def broken(error: Exception) -> Callable[..., Any]:
    def breaks(*_: Any, **__: Any) -> Any:
        raise error

    return breaks


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_a_bug_in_our_work_is_told_as_internal(
    start: Start, watched: Watched, monkeypatch: pytest.MonkeyPatch, bug: type[Exception], protocol: str
) -> None:
    notary = start(limits=TIGHT)
    for place, name in WORK:
        with monkeypatch.context() as patched:
            patched.setattr(place, name, broken(bug(CANARY)))
            with notary.client(manifest(), protocol, **SECRETS) as client:
                client.go("hello" if name == "_session_evidence" else "fetch")
                assert client.ending() == "internal", name
                assert client.closed_in_order(), name
        notary.soon(lambda: notary.tasks() <= AT_REST)
    assert watched.signatures <= 1, "a bug behind the signature"
    refused(notary, *["internal"] * len(WORK))
    lives(notary)


BELOW: list[tuple[Any, str, type[Exception]]] = [
    (NotarySession, "next_message", RecursionError),
    (NotarySession, "feed", MemoryError),
    (NotarySession, "send", RuntimeError),
    (InnerTls, "write", BufferError),
    (InnerTls, "feed", BufferError),
    (InnerTls, "read", ValueError),
    (InnerTls, "data_to_send", SSL.Error),
    (InnerTls, "close", SSL.Error),
    (WebSocketStream, "feed", ValueError),
    (WebSocketStream, "send", ValueError),
    (TcpStream, "feed", ValueError),
    (Upgrade, "stream", ValueError),
    (Upgrade, "headers", ValueError),
    (channel, "InnerTls", MemoryError),
    (HttpSession, "next_request", RecursionError),
    (HttpSession, "upgrade", h11.LocalProtocolError),
    (HttpSession, "feed", MemoryError),
    (Edge, "_close", ValueError),
]


@pytest.mark.parametrize(("place", "name", "bug"), BELOW, ids=lambda value: getattr(value, "__name__", value))
def test_a_bug_below_ends_its_connection_and_nothing_else(
    start: Start, monkeypatch: pytest.MonkeyPatch, place: Any, name: str, bug: type[Exception]
) -> None:
    notary = start(limits=TIGHT)
    in_server = broken(bug(CANARY))
    original = getattr(place, name)

    main = threading.current_thread()

    def breaks(*words: Any, **more: Any) -> Any:
        return original(*words, **more) if threading.current_thread() is main else in_server()

    protocol = "tcp" if place is TcpStream else "websocket"
    with monkeypatch.context() as patched:
        patched.setattr(place, name, breaks)
        with (
            contextlib.suppress(OSError, EOFError, AssertionError, ChannelError),
            notary.client(manifest(), protocol, **SECRETS) as client,
        ):
            client.go("fetch")
            assert client.ending() in ("internal", "gone", "proof")
        notary.soon(lambda: notary.codes != [])
    refused(notary, "internal")
    notary.soon(lambda: notary.tasks() <= AT_REST)
    lives(notary)


def test_a_bug_in_the_http_answer_ends_its_connection(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    notary = start(limits=TIGHT)
    with monkeypatch.context() as patched:
        patched.setattr(HttpSession, "respond", broken(h11.LocalProtocolError(CANARY)))
        with notary.https() as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
            assert clients.until_closed(connection) == b""
    refused(notary, "internal")
    notary.soon(lambda: notary.tasks() <= AT_REST)
    lives(notary)


def test_a_bug_in_a_callback_of_the_loop_is_an_event_and_a_place(
    start: Start, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    notary = start()
    with monkeypatch.context() as patched:
        patched.setattr(outer, "_settle", broken(ValueError(CANARY)))
        # What the client says is not read any more.
        with contextlib.suppress(ConnectionResetError), notary.https() as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
            clients.until_closed(connection)
    notary.soon(lambda: "internal" in notary.codes)
    assert "internal error: ValueError at " in capfd.readouterr().err
    lives(notary)


def test_a_fault_is_described_by_kinds_and_places_alone() -> None:
    def inner() -> None:
        raise KeyError(CANARY)

    try:
        try:
            inner()
        except KeyError as error:
            raise RuntimeError(CANARY) from error
    except RuntimeError as error:
        text = faults.described(error)
    assert CANARY not in text
    first, second = text.split("; after ")
    assert first.startswith("RuntimeError at server/test_bugs.py:")
    assert second.startswith("KeyError at server/test_bugs.py:")
    assert " < server/test_bugs.py:" in second
    assert faults.described(ValueError(CANARY)) == "ValueError at no known place"


class Broken(whole.TdProvider):
    """Fails in a way that nobody foresaw, while `bug` is set."""

    bug: Exception | None = None

    async def evidence(self, request: EvidenceRequest, issue: Issue) -> dict[str, object]:
        if self.bug is not None:
            raise self.bug
        return await super().evidence(request, issue)


def test_a_bug_in_a_provider_is_missing_evidence_and_mended_by_the_next_attempt(start: Start, watched: Watched) -> None:
    provider = Broken()
    provider.bug = RuntimeError(CANARY)
    notary = start(provider=provider)
    notary.soon(lambda: notary.codes == ["unavailable"])  # the epoch that was to be made ahead
    with notary.client(manifest(), **SECRETS).go("hello") as client:
        assert client.ending() == "evidence"
    with notary.https() as connection:
        connection.sendall(b"GET /v1/evidence?nonce=00 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        status, _, answer = clients.json_of(clients.until_closed(connection))
    assert (status, answer["error"]["code"]) == (500, "internal")
    assert watched.signatures == 0
    provider.bug = None
    lives(notary)
