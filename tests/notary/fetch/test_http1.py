"""HTTP/1.1 answers without a socket: any cut gives the same value, every truncation and every ambiguity is an error."""

from __future__ import annotations

import contextlib
import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluto_measure.record import replace
from pluto_notary.fetch.errors import TargetError
from pluto_notary.fetch.http1 import Http1Session
from pluto_notary.fetch.limits import FetchLimits
from pluto_notary.fetch.outgoing import prepared
from pluto_notary.web import WebRequest, WebResponse
from simulators.notary.sites import chunked, whole

LIMITS = FetchLimits(head_bytes=4096, headers=32, body_bytes=100_000)
GET = WebRequest("GET", "site.example", 443, "/", (), b"")
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\nTrailer: x\r\n\r\n" + chunked(b"abc", b"defgh", end=b"0\r\nx: y\r\n\r\n")
ANSWERS = {
    "length": whole(b"hello", ("Content-Type", "text/plain"), ("X-Two", "a"), ("x-two", "b")),
    "chunked": CHUNKED,
    "until the end": OK + b"\r\nhello",
    "interim": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + whole(b"hello"),
    "gzip": whole(gzip.compress(b"hello", mtime=0), ("Content-Encoding", "gzip")),
    "deflate in chunks": OK
    + b"Content-Encoding: deflate\r\nTransfer-Encoding: chunked\r\n\r\n"
    + chunked(zlib.compress(b"hello")),
    "nothing": b"HTTP/1.1 204 No Content\r\n\r\n",
    "no reason": b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
}


def answered(data: bytes, cuts: list[int] = [], method: str = "GET", limits: FetchLimits = LIMITS) -> WebResponse:  # noqa: B006
    """The answer that a session makes of these bytes and an end in order."""
    session = Http1Session(prepared(replace(GET, method=method), limits), limits)
    session.start()
    places = sorted({min(cut, len(data)) for cut in cuts})
    for start, end in zip([0, *places], [*places, len(data)], strict=True):
        assert session.feed(data[start:end]) == b""
    session.end()
    assert session.response is not None
    return session.response


def test_a_request_is_one_host_one_connection_and_the_bytes_that_were_asked() -> None:
    request = WebRequest("POST", "site.example", 8443, "/a?b", (("x", "1"), ("accept", "a")), b"body")
    head, _, body = Http1Session(prepared(request, LIMITS), LIMITS).start().partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [
        b"POST /a?b HTTP/1.1",
        b"host: site.example:8443",
        b"connection: close",
        b"x: 1",
        b"accept: a",
        b"accept-encoding: gzip, br, deflate",
        b"user-agent: pluto-notary",
        b"content-length: 4",
    ]
    assert body == b"body"


def test_an_answer_is_read() -> None:
    fields = (("content-type", "text/plain"), ("x-two", "a"), ("x-two", "b"), ("content-length", "5"))
    assert answered(ANSWERS["length"]) == WebResponse("HTTP/1.1", 200, "OK", fields, b"hello")
    assert answered(CHUNKED).body == b"abcdefgh"
    assert answered(ANSWERS["nothing"]).status == 204
    assert answered(ANSWERS["no reason"]).reason == ""
    assert answered(ANSWERS["HTTP/1.0"]).version == "HTTP/1.0"
    for kind in ("until the end", "interim", "gzip", "deflate in chunks"):
        assert answered(ANSWERS[kind]).body == b"hello"


def test_head_has_no_body_whatever_length_it_tells() -> None:
    assert answered(OK + b"Content-Length: 5\r\nContent-Encoding: gzip\r\n\r\n", method="HEAD").body == b""


@given(st.sampled_from(sorted(ANSWERS)), st.lists(st.integers(0, 300), max_size=8))
def test_any_cut_of_the_bytes_gives_the_same_answer(kind: str, cuts: list[int]) -> None:
    assert answered(ANSWERS[kind], cuts) == answered(ANSWERS[kind])


@pytest.mark.parametrize("kind", sorted(set(ANSWERS) - {"until the end"}))
def test_every_truncation_is_an_error_however_it_ends(kind: str) -> None:
    data = ANSWERS[kind]
    for size in range(len(data)):
        with pytest.raises(TargetError, match="http"):
            answered(data[:size])


@given(st.sampled_from(sorted(set(ANSWERS) - {"until the end"})), st.binary(max_size=20), st.booleans())
def test_bytes_after_the_answer_change_nothing(kind: str, more: bytes, apart: bool) -> None:
    data = ANSWERS[kind]
    assert answered(data + more, [len(data)] if apart else []) == answered(data)


LIES = {
    "two lengths": OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "one length twice": OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "a list of lengths": OK + b"Content-Length: 5, 5\r\n\r\nhello",
    "a negative length": OK + b"Content-Length: -5\r\n\r\nhello",
    "a signed length": OK + b"Content-Length: +5\r\n\r\nhello",
    "an empty length": OK + b"Content-Length:\r\n\r\nhello",
    "length and chunks": OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"hello"),
    "chunks twice": OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"hello"),
    "another transfer coding": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + chunked(b"hello"),
    "an unknown transfer coding": OK + b"Transfer-Encoding: xchunked\r\n\r\n" + chunked(b"hello"),
    "chunks in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"hello"),
    "a folded line": OK + b"X: a\r\n b\r\nContent-Length: 5\r\n\r\nhello",
    "a folded first line": OK + b" X: a\r\nContent-Length: 5\r\n\r\nhello",
    "a space before the colon": OK + b"Content-Length : 5\r\n\r\nhello",
    "no colon": OK + b"Content-Length 5\r\n\r\nhello",
    "a bare line feed": b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
    "a bare line feed within": OK + b"X: a\nContent-Length: 5\r\n\r\nhello",
    "a bare carriage return": OK + b"X: a\rb\r\nContent-Length: 5\r\n\r\nhello",
    "a zero byte": OK + b"X: a\0b\r\nContent-Length: 5\r\n\r\nhello",
    "a control character": OK + b"X: a\x01b\r\nContent-Length: 5\r\n\r\nhello",
    "a name that is no token": OK + b"X(y): a\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/2 in letters": b"HTTP/2 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/0.9": b"hello",
    "lines before the status": b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "a long status": b"HTTP/1.1 2000 OK\r\nContent-Length: 5\r\n\r\nhello",
    "a status of letters": b"HTTP/1.1 OK OK\r\nContent-Length: 5\r\n\r\nhello",
    "switched protocols": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nhello",
    "a flood of interim answers": b"HTTP/1.1 100 Continue\r\n\r\n" * 9 + whole(b"hello"),
    "a chunk size that is none": OK + b"Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
    "a chunk with no end": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n",
    "a huge chunk size": OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 30 + b"\r\nhello",
    "a coding that was not asked for": whole(b"hello", ("Content-Encoding", "zstd")),
    "a coding that is not there": whole(b"hello", ("Content-Encoding", "gzip")),
    "three codings": whole(b"hello", ("Content-Encoding", "gzip, br, gzip")),
    "tiny chunks": OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(*[b"a"] * 9000),
}  # fmt: skip


@pytest.mark.parametrize("lie", sorted(LIES))
@pytest.mark.parametrize("bytewise", [False, True])
def test_a_lie_is_an_error_and_final(lie: str, bytewise: bool) -> None:
    session = Http1Session(prepared(GET, LIMITS), LIMITS)
    session.start()
    data = LIES[lie] if len(LIES[lie]) < 1000 else LIES[lie][:60_000]
    with pytest.raises(TargetError, match=r"\(http\)"):
        for at in range(0, len(data), 1 if bytewise else len(data)):
            session.feed(data[at : at + 1] if bytewise else data)
        session.end()
    for again in (lambda: session.feed(whole(b"hello")), session.end, session.start):
        with pytest.raises(TargetError, match="http"):
            again()
    assert session.response is None


SIZES = {
    "an endless head": OK + b"X: " + b"a" * 5000,
    "an endless head of interim answers": (b"HTTP/1.1 100 Continue\r\nX: " + b"a" * 800 + b"\r\n\r\n") * 6,
    "too many headers": OK + b"X: a\r\n" * 33 + b"\r\n",
    "a body that says it is too large": OK + b"Content-Length: 100001\r\n\r\n",
    "a body that is too large": OK + b"\r\n" + bytes(100_001),
    "chunks that are too large": OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(bytes(60_000), bytes(60_000)),
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(SIZES))
def test_weakness_16_too_much_of_anything_is_an_error(kind: str) -> None:
    with pytest.raises(TargetError, match=r"\(size\)"):
        answered(SIZES[kind])


def test_weakness_16_an_endless_chunk_head_is_an_error() -> None:
    session = Http1Session(prepared(GET, LIMITS), LIMITS)
    session.start()
    session.feed(OK + b"Transfer-Encoding: chunked\r\n\r\n5;")
    with pytest.raises(TargetError, match=r"\(http\)"):
        session.feed(b"a" * 200_000)


def test_an_error_does_not_quote_the_site() -> None:
    with pytest.raises(TargetError) as caught:
        answered(OK + b"Transfer-Encoding: secret-of-the-site\r\n\r\n")
    assert "secret" not in str(caught.value)


@given(st.binary(max_size=200), st.integers(0, 200))
def test_any_bytes_are_an_answer_or_refused(data: bytes, cut: int) -> None:
    with contextlib.suppress(TargetError):
        answered(OK + data, [cut])
