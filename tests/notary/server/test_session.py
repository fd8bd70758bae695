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


ORDER = b'{"order":1}'
SENT = (
    b"POST /v1/proxy HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n" + ORDER,
    b"POST /v1/verify HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"4;a=b\r\n" + ORDER[:4] + b"\r\n7\r\n" + ORDER[4:] + b"\r\n0\r\nTrailer: x\r\n\r\n",
)
TEE = b"GET /v1/tee HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
GRANTED = [(b"connection", b"Upgrade"), (b"upgrade", b"tcp")]


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    """The stream in pieces."""
    edges = sorted({0, len(stream), *(min(place, len(stream)) for place in places)})
    return [stream[a:b] for a, b in itertools.pairwise(edges)]


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
    requests, sent, ending = drive(cut(stream, cuts))
    assert [(one.method, one.target) for one in requests] == [
        ("GET", "/health"),
        ("GET", "/v1/evidence?nonce=00"),
        ("GET", "/health"),
    ]
    assert (sent, ending) == (drive([stream])[1], "closed")
    assert sent.count(b"HTTP/1.1 200 OK\r\n") == 3


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 400), max_size=8), st.permutations([ONE, *SENT]))
def test_any_cut_of_bodies_gives_the_same_requests(cuts: list[int], order: list[bytes]) -> None:
    requests, sent, ending = drive(cut(b"".join(order) + LAST, cuts))
    assert [one.target for one in requests] == [one.split(b" ")[1].decode() for one in (*order, LAST)]
    assert [one.body for one in requests] == [ORDER if one in SENT else b"" for one in (*order, LAST)]
    assert (sent.count(b"HTTP/1.1 200 OK\r\n"), ending) == (4, "closed")
    assert ORDER.decode() not in repr(requests)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 200), max_size=6), st.binary(max_size=50))
def test_what_comes_behind_an_upgrade_is_handed_on_whatever_the_cut(cuts: list[int], behind: bytes) -> None:
    session, pieces = HttpSession(Limits()), cut(ONE + TEE + behind, cuts)
    while (request := session.next_request()) is None:
        session.feed(pieces.pop(0))
    assert request.target == "/health"
    session.respond(ANSWER)
    while (request := session.next_request()) is None:
        session.feed(pieces.pop(0))
    assert (request.target, (b"upgrade", b"tcp") in request.headers) == ("/v1/tee", True)
    head, early = session.upgrade(GRANTED)
    assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert early + b"".join(pieces) == behind
    assert not session.open
    assert session.refuse(refusal(PeerError(400, "http", "late"))) == b""


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 120), max_size=4))
def test_a_client_is_told_once_to_go_on_and_only_before_its_body(cuts: list[int]) -> None:
    head = SENT[0].replace(b"\r\n\r\n" + ORDER, b"\r\nExpect: 100-continue\r\n\r\n")
    session, said = HttpSession(Limits()), b""
    for piece in cut(head, cuts):
        assert session.next_request() is None
        assert not session.asks_to_go_on
        session.feed(piece)
    assert session.next_request() is None
    assert session.asks_to_go_on
    said += session.go_on()
    assert said.startswith(b"HTTP/1.1 100 ")
    for piece in cut(ORDER, cuts):
        assert session.next_request() is None
        assert not session.asks_to_go_on
        session.feed(piece)
    request = session.next_request()
    assert request is not None
    assert request.body == ORDER


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 300), st.integers(1, 300), st.booleans())
def test_no_more_of_a_body_is_kept_than_its_limit(most: int, size: int, chunked: bool) -> None:
    body, limits = b"x" * size, Limits(order_bytes=most)
    head = b"POST /v1/proxy HTTP/1.1\r\nHost: x\r\n"
    data = head + (
        b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
        if chunked
        else b"Content-Length: %d\r\n\r\n" % size + body
    )
    requests, _, ending = drive([data], limits)
    assert (len(requests), ending) == ((1, "end") if size <= most else (0, "413 http"))


def test_a_body_in_more_pieces_than_bytes_are_worth_is_refused() -> None:
    data = b"POST /v1/proxy HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 2000
    assert drive([data[at : at + 4096] for at in range(0, len(data), 4096)])[2] == "400 http"
    pieces = data.replace(b"1\r\nx\r\n", b"80\r\n" + b"x" * 128 + b"\r\n") + b"0\r\n\r\n"
    assert drive([pieces[at : at + 4096] for at in range(0, len(pieces), 4096)])[2] == "end"


def test_a_head_is_answered_without_a_body() -> None:
    requests, sent, _ = drive([ONE.replace(b"GET", b"HEAD") + ONE])
    assert [one.method for one in requests] == ["HEAD", "GET"]
    assert sent.count(ANSWER.body) == 1
    assert drive([b"HEAD /health HTTP/0.9\r\nHost: x\r\n\r\n"])[2] == "400 http"
    _, sent, ending = drive([ONE.replace(b"GET", b"HEAD") + b"no request\r\n\r\n"])
    assert (sent.count(b"content-length"), sent.count(b'{"error":'), ending) == (2, 1, "400 http")


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
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", "404 path"),
        (b"PUT /health HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", "405 method"),
        (b"GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", "413 http"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 6\r\n\r\n", "400 http"),
        (b"GET /health HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "413 http"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", "501 http"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", "400 http"),
        (b"GET /health HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n", "413 http"),
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
