"""Tokens of Confidential Space against the launcher's server: what is asked, what is waited for, what is refused."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import itertools
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.binding import LEGACY_SPACE_AUDIENCE, SPACE_AUDIENCE
from pluto_measure.errors import FormatError
from pluto_notary.errors import EvidenceError
from pluto_notary.evidence import confidential_space as space
from pluto_notary.evidence.confidential_space import Launcher, TokenSources, launcher
from pluto_notary.evidence.helper import Helper
from pluto_notary.evidence.messages import KeyRequest, LegacyRequest, TokenParts, parse_parts
from pluto_notary.evidence.plain_http import Answer, Answering, asked
from pluto_notary.limits import TokenBucket
from simulators.notary.evidence import STATEMENT_KEY
from simulators.notary.teeserver import TeeServer

BOUND, EKM = bytes(range(64)), b"\xe3" * 32


@pytest.fixture
def server(tmp_path: Path) -> Iterator[TeeServer]:
    with TeeServer(tmp_path / "teeserver.sock") as running:
        yield running
        assert running.behaviour.most_at_once <= 1
        assert running.behaviour.problems == []


def payload(token: str) -> dict[str, Any]:
    text = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return found


def code(call: Callable[[], object]) -> str:
    with pytest.raises(EvidenceError) as caught:
        call()
    return caught.value.code


def test_a_token_carries_the_hashed_binding_and_our_audience(server: TeeServer) -> None:
    found = payload(launcher(server.path).token(BOUND))
    assert found["eat_nonce"] == "pt2-" + hashlib.sha256(BOUND).hexdigest()
    assert len(found["eat_nonce"]) == 68
    assert found["aud"] == "pluto-notary/2"
    assert server.behaviour.asked[0]["token_type"] == "PKI"


def test_the_old_protocols_token_has_the_raw_ekm_and_an_audience_of_its_own(server: TeeServer) -> None:
    found = payload(launcher(server.path).legacy(EKM))
    assert (found["eat_nonce"], found["aud"]) == (EKM.hex(), "pluto-tee/v1")
    assert server.behaviour.asked[0]["token_type"] == "OIDC"


def test_weakness_06_tokens_of_both_protocols_can_never_stand_for_each_other() -> None:
    """Audiences differ, and no EKM in hex begins as a hashed binding does."""
    assert len({LEGACY_SPACE_AUDIENCE, SPACE_AUDIENCE}) == 2
    assert not set(space.nonce_of(BOUND)) <= set("0123456789abcdef")
    assert len(space.nonce_of(BOUND)) != len(EKM.hex())


SLOW = [(429, "3"), (429, None), (503, None)]


def patient(server: TeeServer, now: list[float], waits: list[float]) -> Launcher:
    real = launcher(server.path)

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        now[0] += seconds

    return Launcher(real._exchange, sleep=sleep, clock=lambda: now[0])


def test_weakness_05_a_refusal_is_waited_for_as_long_as_the_launcher_says(server: TeeServer) -> None:
    waits: list[float] = []
    server.behaviour.statuses = list(SLOW)
    patient(server, [0.0], waits).token(BOUND)
    assert waits == [3.0, 1.0, 2.0]
    assert len(server.behaviour.asked) == 4


@pytest.mark.parametrize(
    ("statuses", "expected", "asks"),
    [
        ([(429, "60")], "busy", 1),  # longer than anybody waits
        ([(429, "0")] * 9, "busy", 5),
        ([(500, None)] * 9, "device", 5),
        ([(400, None)], "device", 1),
        ([(404, None)], "device", 1),
        ([(429, "tomorrow")] * 9, "busy", 5),
        ([(302, None)], "device", 1),
    ],
)
def test_what_does_not_get_better_is_given_up(
    server: TeeServer, statuses: list[tuple[int, str | None]], expected: str, asks: int
) -> None:
    now, waits = [0.0], list[float]()
    server.behaviour.statuses = list(statuses)
    assert code(lambda: patient(server, now, waits).token(BOUND)) == expected
    assert len(server.behaviour.asked) == asks
    assert now[0] <= 15


WRONG: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "another nonce": lambda claims: {**claims, "eat_nonce": "pt2-" + "00" * 32},
    "more nonces": lambda claims: {**claims, "eat_nonce": [claims["eat_nonce"], "x" * 10]},
    "no nonce": lambda claims: {name: value for name, value in claims.items() if name != "eat_nonce"},
    "another audience": lambda claims: {**claims, "aud": "https://sts.googleapis.com"},
    "audiences": lambda claims: {**claims, "aud": [claims["aud"], "x"]},
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_token_for_something_else_is_not_passed_on(server: TeeServer, wrong: str) -> None:
    server.behaviour.change = WRONG[wrong]
    assert code(lambda: launcher(server.path).token(BOUND)) == "device"


def test_one_nonce_in_a_list_is_one_nonce(server: TeeServer) -> None:
    server.behaviour.change = lambda claims: {**claims, "eat_nonce": [claims["eat_nonce"]]}
    launcher(server.path).token(BOUND)


BODIES: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda token: b"",
    "a page": lambda token: b"<html>quota</html>",
    "two parts": lambda token: b".".join(token.split(b".")[:2]),
    "no signature": lambda token: b".".join(token.split(b".")[:2]) + b".",
    "binary": lambda token: b"\xff\xfe" + token,
    "quoted": lambda token: b'"' + token + b'"',
    "too long": lambda token: token + b"A" * 70_000,
    "a list": lambda token: b"e30.W10.c2ln",
    "no JSON": lambda token: b"e30.AAAA.c2ln",
}


@pytest.mark.parametrize("body", BODIES)
def test_what_is_no_token_is_an_error(server: TeeServer, body: str) -> None:
    server.behaviour.body = BODIES[body]
    with pytest.raises((FormatError, EvidenceError)):
        launcher(server.path).token(BOUND)


def test_never_more_than_one_is_on_its_way(server: TeeServer) -> None:
    machine = launcher(server.path)
    server.behaviour.pause = 0.2
    codes: list[str] = []

    def ask() -> None:
        try:
            machine.token(BOUND)
        except EvidenceError as error:
            codes.append(error.code)

    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == ["busy"] * 4


def test_without_a_launcher_there_is_no_evidence(tmp_path: Path) -> None:
    machine = launcher(str(tmp_path / "nobody.sock"))
    with pytest.raises(OSError):
        machine.token(BOUND)
    helper = Helper(
        TokenSources(machine.token, lambda: bytes(32)), bucket=TokenBucket(rate=1, burst=9, now=0), clock=lambda: 0.0
    )
    assert code(lambda: parse_parts(helper.answer(KeyRequest(STATEMENT_KEY).to_body()))) == "device"


def test_the_helper_gives_tokens_for_claims_and_for_the_old_protocol_where_there_is_one(server: TeeServer) -> None:
    machine = launcher(server.path)
    sources = TokenSources(machine.token, lambda: b"\7" * 32)
    bucket = TokenBucket(rate=1, burst=9, now=0)
    helper = Helper(sources, bucket=bucket, clock=lambda: 0.0, legacy=machine.legacy)
    parts = parse_parts(helper.answer(KeyRequest(STATEMENT_KEY).to_body()))
    assert isinstance(parts, TokenParts)
    bound = KeyRequest(STATEMENT_KEY).claims(b"\7" * 32, bytes(32)).binding()
    assert payload(parts.token)["eat_nonce"] == space.nonce_of(bound)
    old = parse_parts(helper.answer(LegacyRequest(EKM).to_body()))
    assert isinstance(old, TokenParts)
    assert payload(old.token)["eat_nonce"] == EKM.hex()
    without = Helper(sources, bucket=bucket, clock=lambda: 0.0)
    assert code(lambda: parse_parts(without.answer(LegacyRequest(EKM).to_body()))) == "request"


def test_a_launcher_that_drips_or_hangs_costs_its_time_and_no_more(tmp_path: Path) -> None:
    from pluto_notary.evidence.plain_http import post

    ours, theirs = socket.socketpair()
    now = iter(range(1000))
    stop = threading.Event()

    def drip() -> None:
        theirs.recv(4096)
        with contextlib.suppress(OSError):  # who asked is gone
            send()

    def send() -> None:
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 50:
            if stop.is_set():
                return
            theirs.send(bytes([byte]))

    thread = threading.Thread(target=drip)
    thread.start()
    with theirs, pytest.raises(TimeoutError):
        post(lambda: ours, host="x", path="/", body=b"{}", limit=100, seconds=5.0, clock=lambda: float(next(now)))
    stop.set()
    thread.join()


def answering(limit: int = 100) -> Answering:
    connection = h11.Connection(h11.CLIENT)
    asked(connection, host="localhost", path="/x", body=b"{}", headers=())
    return Answering(connection, limit=limit)


WHOLE = b"HTTP/1.1 200 OK\r\nRetry-After: 7\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"


@settings(max_examples=100, deadline=None)
@given(st.sets(st.integers(1, len(WHOLE) - 1)))
def test_any_cut_of_an_answer_gives_the_same_answer(cuts: set[int]) -> None:
    edges = [0, *sorted(cuts), len(WHOLE)]
    machine, found = answering(), []
    for start, end in itertools.pairwise(edges):
        found.append(machine.feed(WHOLE[start:end]))
    assert found[-1] == Answer(200, b"abcde", 7)
    assert set(found[:-1]) <= {None}


@pytest.mark.parametrize("end", range(1, len(WHOLE) - 1))
def test_an_answer_that_is_cut_off_is_an_error(end: int) -> None:
    machine = answering()
    assert machine.feed(WHOLE[:end]) is None
    with pytest.raises(FormatError):
        machine.feed(b"")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_an_error(data: bytes) -> None:
    machine = answering()
    try:
        if machine.feed(data) is None:
            machine.feed(b"")
    except FormatError:
        return


def test_a_body_beyond_the_limit_is_refused_while_it_comes() -> None:
    with pytest.raises(FormatError, match="more than"):
        answering(4).feed(WHOLE)


def test_a_request_is_what_the_launcher_reads() -> None:
    connection = h11.Connection(h11.CLIENT)
    data = asked(connection, host="localhost", path="/v1/token", body=b"{}", headers=(("metadata", "true"),))
    assert data.lower().replace(b"post /v1/token http", b"POST /v1/token HTTP") == (
        b"POST /v1/token HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 2\r\n"
        b"connection: close\r\nmetadata: true\r\n\r\n{}"
    )
