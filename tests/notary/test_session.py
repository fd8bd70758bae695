"""The HTTP session without a socket: any cut of the bytes gives the same answers; what is refused stays refused."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_notary.errors import PeerError
from pluto_notary.limits import Limits
from pluto_notary.server.routes import Request, Response, refusal
from pluto_notary.server.session import HttpSession

ONE = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
TWO = b"GET /v1/evidence?nonce=00 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
LAST = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
ANSWER = Response(200, b'{"a":1}')


def drive(pieces: list[bytes], limits: Limits | None = None) -> tuple[list[Request], bytes, str]:
    """What an honest edge would do with these pieces: the requests, the bytes sent, how it ended."""
    session, sent = HttpSession(limits or Limits()), b""
    requests: list[Request] = []
    waiting = [*pieces, b""]
    while session.open:
        try:
            while (request := session.next_request()) is None:
                session.feed(waiting.pop(0))
        except PeerError as error:
            return requests, sent + session.refuse(refusal(error)), f"{error.status} {error.code}"
        except EOFError:
            return requests, sent, "end"
        requests.append(request)
        sent += session.respond(ANSWER)
    return requests, sent, "closed"


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, len(ONE + TWO + LAST)), max_size=8))
def test_any_cut_of_the_bytes_gives_the_same_answers(cuts: list[int]) -> None:
    stream = ONE + TWO + LAST
    edges = sorted({0, len(stream), *cuts})
    pieces = [stream[a:b] for a, b in itertools.pairwise(edges)]
    requests, sent, ending = drive(pieces)
    assert requests == [Request("GET", "/health"), Request("GET", "/v1/evidence?nonce=00"), Request("GET", "/health")]
    assert (sent, ending) == (drive([stream])[1], "closed")
    assert sent.count(b"HTTP/1.1 200 OK\r\n") == 3


def test_an_answer_has_a_length_a_type_and_is_not_stored() -> None:
    _, sent, _ = drive([ONE])
    head, body = sent.split(b"\r\n\r\n")
    assert body == ANSWER.body
    lines = head.split(b"\r\n")
    assert b"content-length: 7" in lines
    assert b"content-type: application/json" in lines
    assert b"cache-control: no-store" in lines


@pytest.mark.parametrize(
    ("data", "ending"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "400 http"),  # no Host
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400 http"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", "413 http"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 6\r\n\r\n", "400 http"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "413 http"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", "501 http"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", "400 http"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n", "413 http"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400 http"),
        (b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n", "400 http"),
        (b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", "400 http"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n", "closed"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nBad Name: y\r\n\r\n", "400 http"),
        (b"\x16\x03\x01\x02\x00\x01", "400 http"),
        (b"A" * 20000, "431 http"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 20000, "431 http"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 5000, "431 http"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n", "400 http"),  # the client ends in the middle
        (b"", "end"),
    ],
)
def test_a_request_that_we_do_not_speak_is_refused_with_its_status(data: bytes, ending: str) -> None:
    limits = Limits(requests=1)
    pieces = [data[i : i + 4096] for i in range(0, len(data), 4096)]
    requests, sent, actual = drive(pieces, limits)
    assert actual == ending
    if ending[0].isdigit():
        assert requests == []
        assert sent.startswith(b"HTTP/1.1 " + ending[:3].encode())
        assert b"connection: close" in sent


def test_a_connection_ends_after_its_last_allowed_request() -> None:
    requests, sent, ending = drive([ONE * 5], Limits(requests=3))
    assert (len(requests), ending) == (3, "closed")
    assert sent.count(b"connection: close") == 1


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=5))
def test_any_bytes_end_in_an_answer_or_in_order(pieces: list[bytes]) -> None:
    drive([piece for piece in pieces if piece])
