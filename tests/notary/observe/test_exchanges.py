"""Exchanges of both directions of HTTP/1.1: every byte belongs to one, and bodies are decoded as those of `fetch`."""

from __future__ import annotations

import gzip
import zlib

import brotli
import pytest

from notary.observe.http1 import (
    GET,
    HOST,
    LIMITS,
    NOTHING,
    OK,
    ONE,
    POST,
    TO_THE_END,
    TWO,
    answered,
    asked,
    read,
    refused,
)
from pluto_notary.observe.errors import ObserveError
from pluto_notary.observe.exchanges import Answer, decoded
from pluto_notary.web import WebRequest
from simulators.notary.sites import whole

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


# Codings -------------------------------------------------------------------------------------------------------------


def test_only_what_is_wanted_is_decoded() -> None:
    broken = whole(b"no gzip", ("Content-Encoding", "gzip"))
    good = whole(gzip.compress(b"hello", mtime=0), ("Content-Encoding", "gzip"))
    (_, first), (_, second) = read(GET + GET, broken + good)
    assert decoded(second, LIMITS).body == b"hello"
    with pytest.raises(ObserveError) as caught:
        decoded(first, LIMITS)
    assert caught.value.code == "http"


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(b"hello", mtime=0)),
        ("deflate", zlib.compress(b"hello")),
        ("br", brotli.compress(b"hello")),
        ("gzip, br", brotli.compress(gzip.compress(b"hello", mtime=0))),
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
