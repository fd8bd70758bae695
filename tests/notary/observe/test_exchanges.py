"""HTTP/1.1 of both directions: every byte belongs to an exchange, and what can be read in two ways is refused.

h11 is the second reader: where this one finds exchanges, h11 finds the same.
"""

from __future__ import annotations

import gzip
import zlib
from typing import Any

import brotli
import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluto_measure.record import replace
from pluto_notary.fetch.errors import TargetError
from pluto_notary.fetch.http1 import Http1Session
from pluto_notary.fetch.limits import FetchLimits
from pluto_notary.fetch.outgoing import prepared
from pluto_notary.observe.errors import ObserveError
from pluto_notary.observe.exchanges import Answer, decoded, exchanges
from pluto_notary.web import WebRequest
from simulators.notary.sites import chunked, whole

LIMITS = FetchLimits(
    head_bytes=2048, headers=16, body_bytes=50_000, request_bytes=20_000, target_bytes=200, pieces=32, interim=2
)
HOST = "site.example"
GET = b"GET /a HTTP/1.1\r\nHost: site.example\r\n\r\n"
POST = b"POST /b?c HTTP/1.1\r\nhost:SITE.example\r\nX-A: 1 \r\nContent-Length: 5\r\n\r\nhello"
OK = b"HTTP/1.1 200 OK\r\n"
ONE = whole(b"one", ("X-A", "b"))
TWO = OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(b"tw", b"o")
NOTHING = b"HTTP/1.1 204 No Content\r\n\r\n"
TO_THE_END = OK + b"\r\nthe rest"


def read(client: bytes, site: bytes, *, closed: bool = False, port: int = 443, limits: FetchLimits = LIMITS) -> Any:
    return exchanges(client, site, host=HOST, port=port, closed=closed, limits=limits)


def refused(client: bytes, site: bytes, **changes: Any) -> str:
    """The code with which this is refused."""
    with pytest.raises(ObserveError) as caught:
        read(client, site, **changes)
    assert caught.value.code in ("http", "size")
    return caught.value.code


def asked(*lines: bytes, first: bytes = b"GET /a HTTP/1.1", host: bytes = b"Host: site.example") -> bytes:
    """A request without body."""
    return b"\r\n".join((first, *([host] if host else []), *lines, b"", b""))


def answered(*lines: bytes, first: bytes = b"HTTP/1.1 200 OK", body: bytes = b"") -> bytes:
    return b"\r\n".join((first, *lines, b"", body))


# Reading -------------------------------------------------------------------------------------------------------------


def test_several_exchanges_on_one_connection_are_read_in_their_order() -> None:
    found = read(GET + POST + GET, ONE + TWO + NOTHING)
    assert [request for request, _ in found] == [
        WebRequest("GET", HOST, 443, "/a", (), b""),
        WebRequest("POST", HOST, 443, "/b?c", (("x-a", "1"), ("content-length", "5")), b"hello"),
        WebRequest("GET", HOST, 443, "/a", (), b""),
    ]
    assert [answer for _, answer in found] == [
        Answer("HTTP/1.1", 200, "OK", (("x-a", "b"), ("content-length", "3")), b"one"),
        Answer("HTTP/1.1", 200, "OK", (("transfer-encoding", "chunked"),), b"two"),
        Answer("HTTP/1.1", 204, "No Content", (), None),
    ]


def test_nothing_said_is_no_exchange() -> None:
    assert read(b"", b"") == ()


def test_an_answer_may_end_with_the_connection_only_if_the_site_said_that_it_ends() -> None:
    assert read(GET, TO_THE_END, closed=True)[0][1].coded == b"the rest"
    assert refused(GET, TO_THE_END) == "http"
    assert refused(GET + GET, TO_THE_END + ONE) == "http"
    assert read(GET, OK + b"\r\n", closed=True)[0][1].coded == b""


def test_interim_answers_are_passed_over() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    assert read(GET, b"HTTP/1.1 100 Continue\r\n\r\n" + early + ONE)[0][1].coded == b"one"
    assert refused(GET, early * 3 + ONE) == "http"
    assert refused(GET, b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + ONE) == "http"
    assert refused(GET, b"HTTP/1.1 103 Early Hints\r\nContent-Length: 0\r\n\r\n" + ONE) == "http"
    assert refused(GET, early) == "http"


def test_some_answers_have_no_body_whatever_they_say() -> None:
    head = asked(first=b"HEAD /a HTTP/1.1")
    said = answered(b"Content-Length: 5", b"Content-Encoding: gzip")
    (_, first), (_, second) = read(head + GET, said + ONE)
    assert (first.coded, second.coded) == (None, b"one")
    assert decoded(first, LIMITS).body == b""
    assert (
        read(GET + GET, answered(b"Content-Length: 5", first=b"HTTP/1.1 304 Not Modified") + ONE)[1][1].coded == b"one"
    )
    assert read(GET, answered(b"Content-Length: 0", first=b"HTTP/1.1 205 Reset Content"))[0][1].coded is None
    assert refused(GET, answered(b"Content-Length: 1", first=b"HTTP/1.1 205 Reset Content", body=b"x")) == "http"
    for line in (b"Content-Length: 1", b"Transfer-Encoding: chunked"):
        assert refused(GET, answered(line, first=b"HTTP/1.1 204 No Content")) == "http"


def test_a_target_may_be_the_whole_url_of_the_host_and_of_no_other() -> None:
    for target, path in (
        (b"https://site.example/a?b", "/a?b"),
        (b"https://site.example?b", "/?b"),
        (b"/a", "/a"),
    ):
        assert read(asked(first=b"GET " + target + b" HTTP/1.1"), ONE)[0][0].target == path
    for target in (
        *(
            b"https://site.example.evil/a",
            b"https://other.example/a",
            b"http://site.example/a",
            b"https://site.example",
        ),
        *(b"https://site.example:444/a", b"HTTPS://site.example/a", b"a", b"*", b"site.example:443", b"https:/a"),
    ):
        assert refused(asked(first=b"GET " + target + b" HTTP/1.1"), ONE) == "http", target


def test_the_port_belongs_to_the_host() -> None:
    request = asked(host=b"Host: site.example:8443", first=b"GET https://site.example:8443/a HTTP/1.1")
    assert read(request, ONE, port=8443)[0][0].url == "https://site.example:8443/a"
    assert refused(request, ONE) == "http"
    assert refused(GET, ONE, port=8443) == "http"


# Pairs ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("client", "site"),
    [
        (GET, b""),
        (GET + GET, ONE),
        (GET, ONE + ONE),
        (b"", ONE),
        (GET, ONE + b"\r\n"),
        (GET + b"\r\n", ONE),
        (GET + b"\r\n" + GET, ONE + ONE),
        (GET + b"G", ONE),
        (POST[:-1], ONE),
        (POST + b"!", ONE),
        (GET, ONE[:-1]),
        (GET, ONE + b"H"),
        (GET, ONE + b"HTTP/1.1 103 Early Hints\r\n\r\n"),
        (GET, TWO[:-2]),
        (GET, TWO[:-1]),
    ],
)
def test_a_byte_more_or_less_is_refused(client: bytes, site: bytes) -> None:
    assert refused(client, site) == "http"
    assert refused(client, site, closed=True) == "http"


@pytest.mark.parametrize(
    ("client", "site"),
    [
        (asked(b"Connection: close"), ONE),
        (asked(b"Connection: keep-alive, Close"), ONE),
        (GET, answered(b"Content-Length: 3", b"Connection: close", body=b"one")),
        (GET, answered(b"Content-Length: 3", first=b"HTTP/1.0 200 OK", body=b"one")),
        (asked(b"Content-Length: 1") + b"x", ONE),
        (asked(b"Content-Length: 1", first=b"DELETE /a HTTP/1.1") + b"x", ONE),
        (asked(b"Content-Length: 1", first=b"HEAD /a HTTP/1.1") + b"x", answered(b"Content-Length: 3")),
    ],
)
def test_nothing_follows_an_end_nor_a_body_that_a_site_may_pass_over(client: bytes, site: bytes) -> None:
    assert len(read(client, site)) == 1
    assert len(read(GET + client, ONE + site)) == 2
    assert refused(client + GET, site + ONE) == "http"


def test_there_are_not_more_exchanges_than_bounded() -> None:
    assert len(read(GET * 64, ONE * 64)) == 64
    assert refused(GET * 65, ONE * 65) == "size"


# Requests ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_",
    [
        # Not for the host, once.
        asked(host=b""),
        asked(b"Host: site.example"),
        asked(host=b"Host: other.example"),
        asked(host=b"Host: site.example:443"),
        asked(host=b"Host: site.example, other.example"),
        asked(host=b"Host: user@site.example"),
        # No line of a request.
        asked(first=b"GET  /a HTTP/1.1"),
        asked(first=b"GET /a HTTP/1.1 "),
        asked(first=b" GET /a HTTP/1.1"),
        asked(first=b"GET\t/a\tHTTP/1.1"),
        asked(first=b"GET /a b HTTP/1.1"),
        asked(first=b"GET /a#b HTTP/1.1"),
        asked(first=b"GET /\xc3\xa4 HTTP/1.1"),
        asked(first=b"GET /a HTTP/1.0"),
        asked(first=b"GET /a HTTP/2.0"),
        asked(first=b"GET /a"),
        asked(first=b"get /a HTTP/1.1"),
        asked(first=b"CONNECT /a HTTP/1.1"),
        asked(first=b"TRACE /a HTTP/1.1"),
        asked(first=b"CONNECT site.example:443 HTTP/1.1"),
        asked(first=b"OPTIONS * HTTP/1.1"),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        # Lines that are no headers.
        asked(b" folded"),
        asked(b"X-A: 1", b"\tfolded"),
        asked(b"X-A : 1"),
        asked(b": 1"),
        asked(b"X-A"),
        asked(b"X A: 1"),
        asked(b"X-A: 1\rX-B: 2"),
        asked(b"X-A: 1\nX-B: 2"),
        asked(b"X-A: 1\n"),
        asked(b"X-A: \0"),
        asked(b"X-A: \x7f"),
        asked(b"X-\xe4: 1"),
        GET.replace(b"\r\n", b"\n"),
        GET.replace(b"\r\n\r\n", b"\n\n"),
        # What changes the connection or the length.
        *(
            asked(name + b": x")
            for name in (b"Expect", b"Upgrade", b"HTTP2-Settings", b"TE", b"Trailer", b"Proxy-Connection")
        ),
        asked(b"Proxy-Authorization: x"),
        asked(b"Proxy-Authenticate: x"),
        asked(b"Expect: 100-continue"),
        asked(b"Connection: upgrade"),
        asked(b"Connection: X-A"),
        asked(b"Transfer-Encoding: chunked", first=b"POST /a HTTP/1.1") + b"0\r\n\r\n",
        asked(b"Transfer-Encoding: identity"),
        asked(b"Content-Length: 0", b"Transfer-Encoding: chunked"),
        asked(b"Content_Length: 0"),
        asked(b"Transfer_Encoding: chunked"),
        asked(b"Content-Length: 0", b"Content-Length: 0"),
        asked(b"Content-Length: 0, 0"),
        asked(b"Content-Length: +0"),
        asked(b"Content-Length: -1"),
        asked(b"Content-Length: 0x0"),
        asked(b"Content-Length: "),
        asked(b"Content-Length: " + b"0" * 20),
        asked("Content-Length: \u00b2".encode("latin-1")),
    ],
)
def test_requests_that_two_readers_could_read_in_two_ways(request_: bytes) -> None:
    assert refused(request_, ONE) == "http"
    assert refused(GET + request_, ONE + ONE) == "http"


def test_requests_are_bounded() -> None:
    assert refused(asked(b"X-A: " + b"a" * 2048), ONE) == "size"
    assert refused(b"GET /" + b"a" * 2048, ONE) == "size"
    assert refused(asked(*[b"X-A: 1"] * 16), ONE) == "size"
    assert len(read(asked(*[b"X-A: 1"] * 15), ONE)) == 1
    assert refused(asked(first=b"GET /" + b"a" * 200 + b" HTTP/1.1"), ONE) == "size"
    assert refused(asked(b"Content-Length: 20001", first=b"POST /a HTTP/1.1") + b"x" * 20001, ONE) == "size"


# Answers -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        answered(b"Content-Length: 0", first=b"HTTP/1.2 200 OK"),
        answered(b"Content-Length: 0", first=b"HTTP/2 200 OK"),
        answered(b"Content-Length: 0", first=b"HTTP/1.1  200 OK"),
        answered(b"Content-Length: 0", first=b"HTTP/1.1 20 OK"),
        answered(b"Content-Length: 0", first=b"HTTP/1.1 2000 OK"),
        answered(b"Content-Length: 0", first=b"HTTP/1.1 600 OK"),
        answered(b"Content-Length: 0", first=b"HTTP/1.1 099 OK"),
        answered(b"Content-Length: 0", first=b"http/1.1 200 OK"),
        answered(b"Content-Length: 0", first=b"HTTP/1.1 200 O\rK"),
        b"\r\n" + ONE,
        ONE.replace(b"\r\n", b"\n"),
        answered(b"Content-Length: 0", b" folded"),
        answered(b"Content-Length : 0"),
        answered(b"Content-Length: 0", b"X-A"),
        answered(b"Content-Length: 0", b"X-A: 1\rX-B: 2"),
        answered(b"Content-Length: 0", b"X-A: 1\nX-B: 2"),
        answered(b"Content-Length: 0", b"X-A: \0"),
        answered(b"Content-Length: 0", b"Content-Length: 0"),
        answered(b"Content-Length: 0", b"Content-Length: 3", body=b"one"),
        answered(b"Content-Length: 3,3", body=b"one"),
        answered(b"Content-Length: +3", body=b"one"),
        answered(b"Content-Length: 0x3", body=b"one"),
        answered(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
        answered(b"Transfer-Encoding: gzip", body=b"0\r\n\r\n"),
        answered(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
        answered(b"Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n"),
        answered(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
        answered(b"Transfer-Encoding: identity", body=b""),
        answered(b"Transfer-Encoding: chunked", first=b"HTTP/1.0 200 OK", body=b"0\r\n\r\n"),
    ],
)
def test_answers_that_two_readers_could_read_in_two_ways(answer: bytes) -> None:
    for closed in (False, True):
        assert refused(GET, answer, closed=closed) == "http"


@pytest.mark.parametrize(
    "body",
    [
        b"3\r\none",
        b"3\r\none0\r\n\r\n",
        b"3\r\nonexx0\r\n\r\n",
        b"3\r\none\n\n0\r\n\r\n",
        b"3\none\r\n0\r\n\r\n",
        b"0x3\r\none\r\n0\r\n\r\n",
        b"+3\r\none\r\n0\r\n\r\n",
        b"-3\r\none\r\n0\r\n\r\n",
        b" 3\r\none\r\n0\r\n\r\n",
        b"3 3\r\none\r\n0\r\n\r\n",
        b"\r\n0\r\n\r\n",
        b"g\r\n0\r\n\r\n",
        b"3;a\rb\r\none\r\n0\r\n\r\n",
        b"3;a\nb\r\none\r\n0\r\n\r\n",
        b"0000000000000003\r\none\r\n0\r\n\r\n",
        b"3\r\none\r\n",
        b"3\r\none\r\n0\r\n",
        b"3\r\none\r\n0\r\nno header\r\n\r\n",
        b"3\r\none\r\n0\r\n folded: a\r\n\r\n",
        b"3\r\none\r\n0\r\na: \0\r\n\r\n",
        b"3\r\none\r\n0\r\n\r\n0\r\n\r\n",
    ],
)
def test_chunks_have_one_form(body: bytes) -> None:
    assert refused(GET, answered(b"Transfer-Encoding: chunked", body=body)) == "http"


def test_chunks_may_have_extensions_and_trailers_which_say_nothing() -> None:
    body = b"3;a=b\r\none\r\n2 \t\r\nxy\r\n0;c\r\nContent-Length: 5\r\nx: y\r\n\r\n"
    (_, answer), (_, second) = read(GET + GET, answered(b"Transfer-Encoding: Chunked", body=body) + ONE)
    assert (answer.coded, answer.headers, second.coded) == (b"onexy", (("transfer-encoding", "Chunked"),), b"one")


def test_answers_are_bounded() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nX: " + b"a" * 1000 + b"\r\n\r\n"
    assert refused(GET, early + early + early) == "size"
    assert refused(GET, answered(b"Content-Length: 0", b"X-A: " + b"a" * 2048)) == "size"
    assert refused(GET, answered(b"Content-Length: 0", *[b"X-A: 1"] * 16)) == "size"
    assert refused(GET, answered(b"Content-Length: 50001", body=b"x" * 50001)) == "size"
    coding = b"Transfer-Encoding: chunked"
    assert refused(GET, answered(coding, body=chunked(b"x" * 50001))) == "size"
    assert refused(GET, answered(coding, body=b"fffffffffffffff\r\n")) == "size"
    assert refused(GET, answered(coding, body=b"3;" + b"a" * 1024 + b"\r\none\r\n0\r\n\r\n")) == "size"
    assert refused(GET, answered(coding, body=chunked(b"x", end=b"0\r\n" + b"a: b\r\n" * 17 + b"\r\n"))) == "size"
    assert len(read(GET, answered(coding, body=chunked(b"x", end=b"0\r\n" + b"a: b\r\n" * 16 + b"\r\n")))) == 1
    tiny = answered(coding, body=chunked(*[b"x"] * 16))
    assert len(read(GET * 2, tiny * 2)) == 2
    assert refused(GET * 3, tiny * 3) == "http"  # of all answers, no more tiny pieces than one may have
    assert refused(GET, answered(coding, body=chunked(*[b"x"] * 33))) == "http"


# Codings -------------------------------------------------------------------------------------------------------------


def test_only_what_is_wanted_is_decoded() -> None:
    broken = whole(b"no gzip", ("Content-Encoding", "gzip"))
    good = whole(gzip.compress(b"hello"), ("Content-Encoding", "gzip"))
    (_, first), (_, second) = read(GET + GET, broken + good)
    assert decoded(second, LIMITS).body == b"hello"
    with pytest.raises(ObserveError) as caught:
        decoded(first, LIMITS)
    assert caught.value.code == "http"


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(b"hello")),
        ("deflate", zlib.compress(b"hello")),
        ("br", brotli.compress(b"hello")),
        ("gzip, br", brotli.compress(gzip.compress(b"hello"))),
        ("identity", b"hello"),
    ],
)
def test_codings_are_those_of_fetch(coding: str, body: bytes) -> None:
    response = decoded(read(GET, whole(body, ("Content-Encoding", coding)))[0][1], LIMITS)
    assert (response.version, response.status, response.reason, response.body) == ("HTTP/1.1", 200, "OK", b"hello")
    assert response.headers[0] == ("content-encoding", coding)


def test_a_bomb_is_refused_by_its_size_decoded() -> None:
    bomb = gzip.compress(bytes(5_000_000))
    assert len(bomb) < 10_000
    (_, answer) = read(GET, whole(bomb, ("Content-Encoding", "gzip")))[0]
    with pytest.raises(ObserveError) as caught:
        decoded(answer, LIMITS)
    assert caught.value.code == "size"


def test_texts_of_values_and_errors_quote_nothing() -> None:
    (request, answer) = read(asked(b"X-A: confidential"), whole(b"confidential"))[0]
    assert "confidential" not in repr(request) + repr(answer)
    with pytest.raises(ObserveError) as caught:
        read(asked(b"confidential"), ONE)
    assert "confidential" not in str(caught.value)


# Other readers -------------------------------------------------------------------------------------------------------


def by_h11(client: bytes, site: bytes) -> list[tuple[bytes, bytes, bytes, int, bytes]]:
    """Method, target and body of each request, status and body of each answer, as h11 reads them."""
    server, other = h11.Connection(h11.SERVER), h11.Connection(h11.CLIENT)
    server.receive_data(client)
    other.receive_data(site)
    found = []
    while not isinstance(head := server.next_event(), type(h11.NEED_DATA)):
        assert isinstance(head, h11.Request)
        asked_for = whole_of(server)
        # Each plays the other's part too, so that both know where they are.
        other.send(h11.Request(method=head.method, target=head.target, headers=head.headers))
        if asked_for:
            other.send(h11.Data(data=asked_for))
        other.send(h11.EndOfMessage())
        answer = other.next_event()
        while isinstance(answer, h11.InformationalResponse):
            answer = other.next_event()
        assert isinstance(answer, h11.Response)
        found.append((head.method, head.target, asked_for, answer.status_code, whole_of(other)))
        server.send(h11.Response(status_code=204, headers=[]))
        server.send(h11.EndOfMessage())
        if server.our_state is not h11.DONE or other.our_state is not h11.DONE or other.their_state is not h11.DONE:
            break
        server.start_next_cycle()
        other.start_next_cycle()
    return found


def whole_of(connection: h11.Connection) -> bytes:
    body = b""
    while isinstance(event := connection.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    return body


NAMES = st.sampled_from(["X-A", "x-b", "Accept", "Cookie"])
VALUES = st.text("abc 1,;=\u00e4", max_size=8)
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=3)
BODIES = st.binary(max_size=300)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[bytes, bytes, bytes]:
    """A request, its answer, and the answer's body."""
    method = draw(st.sampled_from([b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS"]))
    lines = [f"{name}: {value}".encode("latin-1") for name, value in draw(FIELDS)]
    sent = draw(BODIES) if method in (b"POST", b"PUT") else b""
    if sent or draw(st.booleans()):
        lines.append(b"Content-Length: %d" % len(sent))
    request = asked(*lines, first=method + b" /" + draw(st.text("ab?/&=%", max_size=9)).encode() + b" HTTP/1.1") + sent
    early = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * draw(st.integers(0, 2))
    status = draw(st.sampled_from([b"200 OK", b"200", b"204 No", b"304 Not", b"404 Not Found", b"500 "]))
    body, fields = draw(BODIES), [(name, value) for name, value in draw(FIELDS)]
    lines = [f"{name}: {value}".encode("latin-1") for name, value in fields]
    if status[:3] in (b"204", b"304"):
        return request, early + answered(*lines, first=b"HTTP/1.1 " + status), b""
    if draw(st.booleans()):
        answer = answered(*lines, b"Content-Length: %d" % len(body), first=b"HTTP/1.1 " + status, body=body)
    else:
        cut = draw(st.integers(0, len(body)))
        pieces = chunked(
            *filter(None, (body[:cut], body[cut:])), end=draw(st.sampled_from([b"0\r\n\r\n", b"0\r\na: b\r\n\r\n"]))
        )
        answer = answered(*lines, b"Transfer-Encoding: chunked", first=b"HTTP/1.1 " + status, body=pieces)
    if method == b"HEAD":
        return request, early + answer[: answer.index(b"\r\n\r\n") + 4], b""
    return request, early + answer, body


@given(st.lists(pairs(), min_size=1, max_size=4))
def test_every_exchange_that_is_in_order_is_read_and_read_as_h11_reads_it(
    said: list[tuple[bytes, bytes, bytes]],
) -> None:
    client, site = b"".join(one[0] for one in said), b"".join(one[1] for one in said)
    found = read(client, site)
    assert [(answer.coded or b"") for _, answer in found] == [body for _, _, body in said]
    assert [
        (request.method.encode(), request.target.encode(), request.body, answer.status, answer.coded or b"")
        for request, answer in found
    ] == by_h11(client, site)


@given(st.lists(pairs(), min_size=1, max_size=3), st.data())
def test_weakness_12_a_cut_anywhere_is_refused_or_falls_between_exchanges(
    said: list[tuple[bytes, bytes, bytes]], data: st.DataObject
) -> None:
    client, site = b"".join(one[0] for one in said), b"".join(one[1] for one in said)
    cut = data.draw(st.integers(0, len(site) - 1))
    assert refused(client, site[:cut]) == "http"
    cut = data.draw(st.integers(0, len(client) - 1))
    assert refused(client[:cut], site) == "http"


MUTATIONS = st.sampled_from(
    [b"\r\n", b"\n", b"\r", b" ", b":", b"\0", b"0", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"\t"]
)


@given(st.lists(pairs(), min_size=1, max_size=3), st.data())
def test_what_is_accepted_after_a_change_is_read_so_by_h11_too(
    said: list[tuple[bytes, bytes, bytes]], data: st.DataObject
) -> None:
    """Bytes put in or left out anywhere: refused, or another exchange whose meaning is not in doubt."""
    streams = [b"".join(one[0] for one in said), b"".join(one[1] for one in said)]
    which = data.draw(st.integers(0, 1))
    at, drop = data.draw(st.integers(0, len(streams[which]))), data.draw(st.integers(0, 3))
    streams[which] = streams[which][:at] + data.draw(MUTATIONS) + streams[which][at + drop :]
    try:
        found = read(*streams)
    except ObserveError:
        return
    assert [
        (request.method.encode(), request.target.encode(), request.body, answer.status, answer.coded or b"")
        for request, answer in found
    ] == by_h11(*streams)


@given(st.binary(max_size=200), st.binary(max_size=200), st.booleans())
def test_anything_at_all_gives_exchanges_or_an_error_of_ours(client: bytes, site: bytes, closed: bool) -> None:
    for first, second in ((client, site), (GET, site), (GET, OK + site), (client, ONE)):
        try:
            for _, answer in read(first, second, closed=closed):
                decoded(answer, LIMITS)
        except ObserveError:
            continue


@given(pairs())
def test_fetch_reads_no_other_answer(said: tuple[bytes, bytes, bytes]) -> None:
    request, answer, _ = said
    (seen, found) = read(request, answer)[0]
    bare = replace(seen, headers=(), body=b"")
    session = Http1Session(prepared(bare, LIMITS), LIMITS)
    session.start()
    try:
        session.feed(answer)
        session.end()
    except TargetError:
        assert seen.method == "HEAD"  # not asked by any manifest
        return
    assert session.response == decoded(found, LIMITS)


@pytest.mark.parametrize("name", [b"X-HTTP-Method-Override", b"X-HTTP-Method", b"X-Method-Override"])
def test_no_request_has_another_method_than_it_says(name: bytes) -> None:
    """A site that takes HEAD from it gives a length without a body, and what follows would be read as that body."""
    page = whole(b"...." + whole(b"forged"))
    head, _, _ = page.partition(b"....")
    first = answered(b"Content-Length: %d" % (len(head) + 4))
    assert refused(asked(name + b": HEAD") + GET, first + page, closed=True) == "http"
