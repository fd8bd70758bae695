"""The request that was seen against the one that the manifest makes: the client has no say beyond its variables."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluto_measure.record import replace
from pluto_notary.fetch.limits import FetchLimits
from pluto_notary.fetch.outgoing import prepared
from pluto_notary.manifest import Manifest
from pluto_notary.observe.asked import check
from pluto_notary.observe.errors import ObserveError
from pluto_notary.web import Exchange, WebRequest, WebResponse

WANTED = WebRequest(
    "POST", "site.example", 443, "/login?x=1", (("content-type", "text/plain"), ("x-mine", "one")), b"hello"
)
# As a client sends it: in another order, with what clients add.
SEEN = replace(
    WANTED,
    headers=(
        *(("accept", "*/*"), ("content-type", "text/plain"), ("accept-encoding", "gzip, br"), ("connection", "close")),
        *(("x-mine", "one"), ("accept-language", "*"), ("content-length", "5"), ("user-agent", "pluto-notary")),
    ),
)
REQUEST = "manifest.request"
MANIFEST = Manifest.parse(
    json.dumps(
        {
            "manifestVersion": "2",
            "request": {
                "method": "POST",
                "url": "https://site.example/login?x=1",
                "headers": {"x-mine": "one", "content-type": "text/plain"},
                "body": "hello",
            },
            "response": {
                "status": "200",
                "message": "OK",
                "headers": {"content-type": "text/plain"},
                "body": {"format": "json", "extractors": []},
            },
        }
    ).encode()
)


def refused(seen: WebRequest, wanted: WebRequest = WANTED) -> str:
    """What is said of the difference."""
    with pytest.raises(ObserveError) as caught:
        check(seen, wanted)
    assert caught.value.code == "violation"
    return caught.value.problem


def with_headers(*more: tuple[str, str], without: str = "") -> WebRequest:
    """SEEN, changed."""
    kept = tuple(header for header in SEEN.headers if header[0] != without)
    return replace(SEEN, headers=(*kept, *more))


def test_what_fetch_would_send_is_accepted() -> None:
    checked = check(prepared(WANTED, FetchLimits()), WANTED)
    assert (checked.url, checked.body) == (WANTED.url, WANTED.body)


def test_order_and_neutral_headers_do_not_matter_and_those_of_the_connection_are_not_handed_on() -> None:
    assert check(SEEN, WANTED).headers == (
        *(("accept", "*/*"), ("content-type", "text/plain"), ("accept-encoding", "gzip, br"), ("x-mine", "one")),
        ("user-agent", "pluto-notary"),
    )
    assert check(with_headers(("connection", "Keep-Alive"), without="connection"), WANTED) == check(SEEN, WANTED)
    assert check(with_headers(without="connection"), WANTED) == check(SEEN, WANTED)


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("method", replace(SEEN, method="PUT")),
        ("url", replace(SEEN, target="/login?x=2")),
        ("url", replace(SEEN, target="/login")),
        ("url", replace(SEEN, host="other.example")),
        ("url", replace(SEEN, port=444)),
        ("body", replace(SEEN, body=b"hellO")),
        ("body", replace(SEEN, body=b"")),
        ("headers.x-mine", with_headers(without="x-mine")),
        ("headers.x-mine", with_headers(("x-mine", "two"), without="x-mine")),
        ("headers.x-mine", with_headers(("x-mine", "ONE"), without="x-mine")),
        ("headers.x-mine", with_headers(("x-mine", "one"))),
        ("headers.x-mine", with_headers(("x-mine", "two"))),
        ("headers", with_headers(("x-other", "one"))),
        ("headers", with_headers(("cookie", "a=b"))),
        ("headers", with_headers(("range", "bytes=0-1"))),
        ("headers", with_headers(("accept", "*/*"))),
        ("headers", with_headers(("accept", "text/html"), without="accept")),
        ("headers", with_headers(("accept-language", "de"), without="accept-language")),
        ("headers", with_headers(("user-agent", '{"balance": 1}'), without="user-agent")),
        ("headers", with_headers(("accept-encoding", "zstd"), without="accept-encoding")),
        ("headers", with_headers(("accept-encoding", "gzip;q=0.5"), without="accept-encoding")),
        ("headers", with_headers(("connection", "x-mine"), without="connection")),
        ("headers", with_headers(("connection", "keep-alive"))),
    ],
)
def test_a_difference_is_a_violation_with_its_path(name: str, seen: WebRequest) -> None:
    assert refused(seen).startswith(f"{REQUEST}.{name}: ")


def test_no_violation_quotes_what_was_sent_or_meant() -> None:
    wanted = replace(WANTED, headers=(("x-mine", "confidential"),), body=b"confidential")
    for seen in (SEEN, replace(SEEN, body=b"confidential")):
        assert "confidential" not in refused(seen, wanted)


def test_a_manifest_may_state_the_neutral_ones_otherwise_and_then_they_are_not_free() -> None:
    for name in ("accept", "accept-encoding", "accept-language", "user-agent"):
        wanted = replace(WANTED, headers=(*WANTED.headers, (name, "mine")))
        assert (name, "mine") in check(with_headers((name, "mine"), without=name), wanted).headers
        assert refused(SEEN, wanted).startswith(f"{REQUEST}.headers.{name}: ")
        assert refused(with_headers(without=name), wanted).startswith(f"{REQUEST}.headers.{name}: ")


def test_what_a_manifest_states_of_the_connection_holds() -> None:
    wanted = replace(WANTED, headers=(*WANTED.headers, ("host", "site.example"), ("connection", "Close")))
    assert check(SEEN, wanted) == check(SEEN, WANTED)
    for seen in (with_headers(without="connection"), with_headers(("connection", "keep-alive"), without="connection")):
        assert refused(seen, wanted).startswith(f"{REQUEST}.headers.connection: ")


ADDED = (
    *(("accept", "*/*"), ("accept-encoding", "gzip"), ("user-agent", "pluto-notary"), ("accept-language", "*")),
    *(("connection", "close"), ("content-length", "5")),
)


@given(st.permutations([*WANTED.headers, *ADDED]), st.sets(st.sampled_from(ADDED)))
def test_what_passes_here_passes_as_an_exchange_of_the_manifest(
    sent: list[tuple[str, str]], left_out: set[tuple[str, str]]
) -> None:
    """The manifest is enforced once more over the exchange, and must not stumble over what was let through."""
    seen = check(replace(WANTED, headers=tuple(header for header in sent if header not in left_out)), WANTED)
    exchange = Exchange(
        seen, WebResponse("HTTP/1.1", 200, "OK", (("content-type", "text/plain"),), b""), b"", "", 0.0, 0.0
    )
    assert MANIFEST.values(WANTED, exchange) == ()


def test_every_single_header_more_or_less_is_told_apart() -> None:
    for kept in itertools.combinations(WANTED.headers, 1):
        refused(replace(WANTED, headers=kept))
