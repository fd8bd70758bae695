"""HTTP around the channel: bodies, pipelines, upgrades that are none, and bugs of ours."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest

from notary.server.shared import CANARY, QUICK, SECRETS, Start, Watched, lives, manifest, refused
from pluto_measure.record import replace
from pluto_notary.server import notary as answers
from simulators.notary import clients, whole

GET = b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n"


def order() -> bytes:
    return whole.order(manifest(), **SECRETS).to_body()


def said(notary: whole.Running, *pieces: bytes, pause: float = 0.0) -> bytes:
    """All that is answered to these bytes."""
    with notary.https() as connection:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause)
        return clients.until_closed(connection)


def code_of(answer: bytes) -> tuple[int, str]:
    status, _, document = clients.json_of(answer)
    return status, document["error"]["code"]


def test_a_body_with_a_length_and_one_in_chunks_are_the_same(start: Start, watched: Watched) -> None:
    notary = start()
    head = b"POST /v1/proxy HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    body = order()
    chunks = [body[at : at + 100] for at in range(0, len(body), 100)]
    chunked = b"".join(b"%x;note=1\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\ntrailer: x\r\n\r\n"
    for answer in (said(notary, clients.post("/v1/proxy", body)), said(notary, head + chunked)):
        status, _, document = clients.json_of(answer)
        assert (status, document["version"]) == (200, 2)
    assert watched.signatures == 2


def test_a_client_that_waits_for_a_100_gets_one_and_then_the_answer(start: Start) -> None:
    notary = start()
    whole_request = clients.post("/v1/proxy", order(), {"expect": "100-continue"})
    head, _, body = whole_request.partition(b"\r\n\r\n")
    with notary.https() as connection:
        connection.sendall(head + b"\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 100 ")
        connection.sendall(body)
        assert clients.json_of(clients.until_closed(connection))[0] == 200


def test_a_client_that_waits_for_a_100_and_announces_too_much_gets_no_100(start: Start) -> None:
    notary = start()
    with notary.https() as connection:
        length = str(QUICK.order_bytes + 1)
        connection.sendall(clients.post("/v1/proxy", b"", {"expect": "100-continue", "content-length": length}))
        assert code_of(clients.until_closed(connection)) == (413, "http")
    lives(notary)


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_that_is_too_large_is_refused_where_the_client_can_still_read_it(start: Start, announced: bool) -> None:
    notary = start(limits=replace(QUICK, proof_bytes=100_000, close_seconds=2.0))
    with notary.https() as connection:
        if announced:
            connection.sendall(clients.post("/v1/verify", b"x" * 400_000))
        else:
            connection.sendall(b"POST /v1/verify HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
            connection.sendall(b"10000\r\n%s\r\n" % (b"x" * 65536) * 4)
        assert code_of(clients.until_closed(connection)) == (413, "http")
    refused(notary, "http")


def test_a_body_in_very_many_pieces_is_refused_before_it_costs_much(start: Start) -> None:
    notary = start(limits=replace(QUICK, request_seconds=5.0))
    with notary.https() as connection:
        connection.sendall(b"POST /v1/proxy HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        connection.sendall(b"1\r\nx\r\n" * 30_000)
        assert code_of(clients.until_closed(connection)) == (400, "http")
    lives(notary)


def test_requests_in_a_pipeline_are_answered_in_their_order(start: Start, watched: Watched) -> None:
    notary = start()
    pipeline = GET + clients.post("/v1/proxy", order(), close=False) + clients.post("/v1/verify", b"{}", close=False)
    all_of_it = said(notary, pipeline + b"GET /no HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert re.findall(rb"HTTP/1\.1 ([0-9]+) ", all_of_it) == [b"200", b"200", b"400", b"404"]
    assert watched.signatures == 1


def test_a_head_is_refused_without_a_body_and_the_connection_goes_on(start: Start) -> None:
    answer = said(start(), b"HEAD /health HTTP/1.1\r\nhost: x\r\n\r\n" + GET[:-2] + b"connection: close\r\n\r\n")
    first, _, second = answer.partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 405 ")
    assert b"allow: GET" in first
    assert clients.json_of(second)[0] == 200


@pytest.mark.parametrize(
    ("request_text", "status", "code"),
    [
        ("GET /v1/tee HTTP/1.1\r\nhost: x\r\n", 400, "http"),
        ("GET /v1/tee HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n", 400, "http"),
        ("GET /v1/tee HTTP/1.0\r\nhost: x\r\nconnection: upgrade\r\nupgrade: tcp\r\n", 400, "http"),
        ("GET /v1/tee?session_id=1 HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: tcp\r\n", 400, "query"),
        (f"GET /v1/tee?{CANARY}=1 HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: tcp\r\n", 400, "query"),
        ("POST /v1/tee HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: tcp\r\n", 405, "method"),
        ("GET /v1/tee HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n", 426, "http"),
        (f"GET /{CANARY} HTTP/1.1\r\nhost: x\r\n", 404, "path"),
        (f"GET /health HTTP/1.1\r\nhost: x\r\nupgrade: {CANARY}\r\n", 400, "http"),
        (f"{CANARY} /health HTTP/1.1\r\nhost: x\r\n", 405, "method"),
        ("CONNECT x:443 HTTP/1.1\r\nhost: x\r\n", 404, "path"),
        ("OPTIONS * HTTP/1.1\r\nhost: x\r\n", 404, "path"),
        (f"GET /health HTTP/1.1\r\nhost: x\r\ncontent-length: {'9' * 5000}\r\n", 400, "http"),
        (f"GET /health HTTP/1.1\r\nhost: x\r\n{CANARY}\r\n", 400, "http"),
    ],
)
def test_what_is_no_request_of_ours_is_refused_and_ends_nothing(
    start: Start, request_text: str, status: int, code: str
) -> None:
    notary = start()
    assert code_of(said(notary, f"{request_text}connection: close\r\n\r\n".encode())) == (status, code)
    lives(notary)
    refused(notary, code)


def test_a_refused_version_of_websocket_is_told_which_one_is_spoken(start: Start) -> None:
    answer = said(
        start(), b"GET /v1/tee HTTP/1.1\r\nhost: x\r\nconnection: upgrade, close\r\nupgrade: websocket\r\n\r\n"
    )
    _, headers, _ = clients.json_of(answer)
    assert (headers["upgrade"], headers["sec-websocket-version"]) == ("websocket, tcp", "13")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "json"),
        (b"[]", "json"),
        (b"[" * 100_000, "json"),
        (b'{"version":2' + b',"a":1' * 50_000 + b"}", "json"),
        (b'{"version":' + b"9" * 5000 + b"}", "json"),
        (b'{"version":3}', "version"),
        (b"\xff\xfe", "json"),
        (b'{"version":2,"version":2}', "json"),
        (json.dumps({"version": 2, CANARY: CANARY}).encode(), "json"),
    ],
)
def test_an_order_that_is_none_is_refused_by_proxy(start: Start, watched: Watched, body: bytes, code: str) -> None:
    notary = start()
    assert code_of(said(notary, clients.post("/v1/proxy", body))) == (400, code)
    assert watched.signatures == 0
    refused(notary, code)


@pytest.mark.parametrize("body", [b"", b"[" * 100_000, b"{}", b"\xff", b'{"version":' + b"9" * 5000 + b"}"])
def test_a_proof_that_is_none_is_refused_by_verify(start: Start, body: bytes) -> None:
    notary = start()
    assert code_of(said(notary, clients.post("/v1/verify", body))) == (400, "json")
    lives(notary)


@pytest.mark.parametrize(
    "bug",
    [
        RuntimeError(CANARY),
        ValueError(CANARY),
        MemoryError(CANARY),
        RecursionError(CANARY),
        BufferError(CANARY),
        EOFError(CANARY),
        OSError(CANARY),
        TimeoutError(CANARY),
        KeyError(CANARY),
        AssertionError(CANARY),
    ],
    ids=lambda bug: type(bug).__name__,
)
def test_a_bug_of_ours_ends_one_request_and_quotes_nothing(
    start: Start,
    watched: Watched,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    bug: Exception,
) -> None:
    notary = start()

    def broken(*_: Any, **__: Any) -> Any:
        raise bug

    with monkeypatch.context() as patched:
        patched.setattr(answers, "route", broken)
        with notary.https() as connection:
            connection.sendall(GET)
            assert code_of(connection.recv(65536)) == (500, "internal")
            patched.undo()
            connection.sendall(GET)
            assert clients.json_of(connection.recv(65536))[0] == 200, "the connection goes on"
    lives(notary)
    refused(notary, "internal")
    assert f"pluto-notary: internal error: {type(bug).__name__} at server/test_http.py:" in capfd.readouterr().err
    assert watched.signatures == 1


def test_an_answer_that_takes_too_long_is_given_up(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    notary = start(limits=replace(QUICK, answer_seconds=0.3))

    async def never(*_: Any) -> Any:
        import asyncio

        await asyncio.sleep(60)

    with monkeypatch.context() as patched:
        patched.setattr(whole.TdProvider, "node", never)
        answer = said(notary, b"GET /v1/evidence?nonce=00 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert code_of(answer) == (504, "time")
    refused(notary, "time")


def test_a_connection_has_an_end_and_says_so(start: Start) -> None:
    notary = start(limits=replace(QUICK, connection_seconds=0.3))
    with notary.https() as connection:
        connection.sendall(GET)
        assert b"connection: close" not in connection.recv(65536)
        time.sleep(0.35)
        connection.sendall(GET)
        assert b"connection: close" in clients.until_closed(connection)
    assert notary.codes == []
