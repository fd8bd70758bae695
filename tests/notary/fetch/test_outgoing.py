"""What is asked of a site: one host, no header of the connection, nothing that another reader would cut differently."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluto_measure.record import replace
from pluto_notary.fetch.errors import TargetError
from pluto_notary.fetch.http1 import Http1Session
from pluto_notary.fetch.http2 import Http2Session
from pluto_notary.fetch.limits import FetchLimits
from pluto_notary.fetch.outgoing import ADDED, prepared
from pluto_notary.web import Headers, WebRequest

LIMITS = FetchLimits()
GET = WebRequest("GET", "site.example", 443, "/a?b=c", (("x-mine", "1"),), b"")


def headers(*fields: tuple[str, str]) -> WebRequest:
    return replace(GET, headers=fields)


def test_what_the_request_does_not_say_is_added() -> None:
    assert prepared(GET, LIMITS).headers == (("x-mine", "1"), *ADDED)
    own = headers(("accept-encoding", "identity"), ("user-agent", "me"), ("accept", "text/html"))
    assert prepared(own, LIMITS).headers == own.headers


def test_a_body_has_its_length() -> None:
    post = prepared(replace(GET, method="POST", body=b"abc"), LIMITS)
    assert dict(post.headers)["content-length"] == "3"
    assert dict(prepared(replace(GET, method="POST"), LIMITS).headers)["content-length"] == "0"
    assert "content-length" not in dict(prepared(GET, LIMITS).headers)


def test_weakness_01_a_host_header_may_only_repeat_the_host_of_the_url() -> None:
    repeated = headers(("host", "Site.example"), ("connection", "close"), ("x-mine", "1"))
    assert prepared(repeated, LIMITS).headers == (("x-mine", "1"), *ADDED)
    for fields in [
        (("host", "bank.example"),),
        (("host", "site.example"), ("host", "site.example")),
        (("host", "site.example"), ("host", "bank.example")),
        (("host", "site.example:443"),),
        (("host", ""),),
    ]:
        with pytest.raises(TargetError, match="http"):
            prepared(headers(*fields), LIMITS)


def test_weakness_01_an_absolute_target_may_only_repeat_the_host_of_the_url() -> None:
    for target, sent in [
        ("https://site.example/x?y", "/x?y"),
        ("https://site.example?y", "/?y"),
    ]:
        assert prepared(replace(GET, target=target), LIMITS).target == sent
    assert prepared(replace(GET, port=8443, target="https://site.example:8443/x"), LIMITS).target == "/x"
    for target in [
        "https://bank.example/x",
        "http://site.example/x",
        "https://site.example.bank.example/x",
        "https://site.example:8443/x",
        "https://site.example@bank.example/x",
        "https://site.example",
        "site.example/x",
        "*",
        "",
    ]:
        with pytest.raises(TargetError, match="http"):
            prepared(replace(GET, target=target), LIMITS)


@pytest.mark.parametrize("target", ["/a b", "/a\r\nx: y", "/ü", "/a#b", "/\0", "/\x7f"])
def test_a_target_with_foreign_characters_is_not_sent(target: str) -> None:
    with pytest.raises(TargetError, match="http"):
        prepared(replace(GET, target=target), LIMITS)


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "get", "", "GET ", "G\r\nET", "PRI*"])
def test_methods_of_tunnels_and_other_spellings_are_not_sent(method: str) -> None:
    with pytest.raises(TargetError, match="http"):
        prepared(replace(GET, method=method), LIMITS)


@pytest.mark.parametrize(
    "field",
    [
        ("transfer-encoding", "chunked"),
        ("te", "trailers"),
        ("upgrade", "h2c"),
        ("connection", "keep-alive, x-secret"),
        ("expect", "100-continue"),
        ("proxy-authorization", "x"),
        ("content-length", "7"),
        ("X-Upper", "1"),
        ("x mine", "1"),
        (":path", "/other"),
        ("", "1"),
        ("x", "a\r\nb: c"),
        ("x", "a\nb"),
        ("x", " a"),
        ("x", "ü"),
        ("x", "\0"),
    ],
)
def test_headers_of_the_connection_and_broken_ones_are_not_sent(field: tuple[str, str]) -> None:
    with pytest.raises(TargetError, match="http"):
        prepared(headers(field), LIMITS)


@pytest.mark.parametrize(
    "request_",
    [
        replace(GET, body=bytes(LIMITS.request_bytes + 1)),
        replace(GET, target="/" + "a" * LIMITS.target_bytes),
        headers(*[("x", "1")] * (LIMITS.headers + 1)),
        headers(("x", "1" * 40_000)),
    ],
    ids=["body", "target", "number of headers", "size of headers"],
)
def test_too_much_is_not_sent(request_: WebRequest) -> None:
    with pytest.raises(TargetError, match="size"):
        prepared(request_, LIMITS)


FIELDS = st.tuples(st.text("abx-:", max_size=5), st.text("ab \t\r\n:,", max_size=8))


@given(st.lists(FIELDS, max_size=3), st.text("/ab?#\r\n ", max_size=8), st.binary(max_size=5))
def test_what_is_sent_is_read_as_one_request_by_another_reader(
    fields: list[tuple[str, str]], target: str, body: bytes
) -> None:
    asked = replace(GET, method="POST", target=target, headers=tuple(fields), body=body)
    try:
        ready = prepared(asked, LIMITS)
    except TargetError:
        return
    assert Http2Session(ready, LIMITS).start()
    server = h11.Connection(h11.SERVER)
    server.receive_data(Http1Session(ready, LIMITS).start())
    head = server.next_event()
    assert isinstance(head, h11.Request)
    assert head.target == target.encode()
    wanted: Headers = (("host", "site.example"), ("connection", "close"), *ready.headers)
    assert [(name.decode(), value.decode()) for name, value in head.headers] == list(wanted)
    data = server.next_event()
    assert (data.data if isinstance(data, h11.Data) else b"") == body
    assert server.trailing_data[0] == b""
