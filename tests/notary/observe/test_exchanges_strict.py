"""Requests and answers of HTTP/1.1 that could be read in two ways, or are too large: none is read."""

from __future__ import annotations

import pytest

from notary.observe.http1 import GET, ONE, answered, asked, read, refused
from simulators.notary.sites import chunked, whole


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


@pytest.mark.parametrize("name", [b"X-HTTP-Method-Override", b"X-HTTP-Method", b"X-Method-Override"])
def test_no_request_has_another_method_than_it_says(name: bytes) -> None:
    """A site that takes HEAD from it gives a length without a body, and what follows would be read as that body."""
    page = whole(b"...." + whole(b"forged"))
    head, _, _ = page.partition(b"....")
    first = answered(b"Content-Length: %d" % (len(head) + 4))
    assert refused(asked(name + b": HEAD") + GET, first + page, closed=True) == "http"


def test_requests_are_bounded() -> None:
    assert refused(asked(b"X-A: " + b"a" * 2048), ONE) == "size"
    assert refused(b"GET /" + b"a" * 2048, ONE) == "size"
    assert refused(asked(*[b"X-A: 1"] * 16), ONE) == "size"
    assert len(read(asked(*[b"X-A: 1"] * 15), ONE)) == 1
    assert refused(asked(first=b"GET /" + b"a" * 200 + b" HTTP/1.1"), ONE) == "size"
    assert refused(asked(b"Content-Length: 20001", first=b"POST /a HTTP/1.1") + b"x" * 20001, ONE) == "size"


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
