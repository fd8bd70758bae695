"""From a recording to what the manifest asked for: the whole way, and every refusal on it."""

from __future__ import annotations

import gzip
import hashlib
import time
from typing import Any

import pytest

from notary.observe import wire
from notary.observe.chains import DAY, NOW, Certificate, made, site
from notary.observe.openssl import OpenSsl, client, server
from notary.observe.worlds import HOST, LIMITS, Tls13
from notary.observe.worlds12 import ECDSA_128
from pluto_measure.record import replace
from pluto_notary.fetch.http1 import Http1Session
from pluto_notary.fetch.limits import FetchLimits
from pluto_notary.fetch.outgoing import prepared
from pluto_notary.observe.errors import ObserveError
from pluto_notary.observe.recording import Recording
from pluto_notary.observe.roots import Roots
from pluto_notary.observe.seen import seen
from pluto_notary.web import WebRequest, WebResponse
from simulators.notary.sites import whole

FETCH_LIMITS = FetchLimits(body_bytes=100_000)
ROOT = made("Root")
BETWEEN = made("Between", ROOT)
LEAF = site(BETWEEN, HOST, key="p256")
ROOTS = Roots.load(ROOT.pem)
REQUEST = WebRequest("POST", HOST, 443, "/page?x=1", (("x-mine", "1"), ("content-type", "text/plain")), b"asked")
BODY = b'{"answer": 42}' + b" " * 4082
FIRST = b"GET /login HTTP/1.1\r\nHost: site.example\r\nCookie: a=b\r\n\r\n"
SECOND = Http1Session(prepared(REQUEST, FETCH_LIMITS), FETCH_LIMITS).start()
ANSWERS = (
    whole(b"welcome"),
    whole(gzip.compress(BODY), ("Content-Encoding", "gzip"), ("Content-Type", "application/json")),
)


def by_openssl(leaf: Certificate = LEAF, answers: tuple[bytes, bytes] = ANSWERS) -> tuple[Recording, bytes]:
    """A session of TLS 1.2 with two exchanges: its recording and its master secret."""
    session = OpenSsl(client(ECDSA_128), server(leaf.pem + BETWEEN.pem, leaf.private_pem))
    session.talk(FIRST, answers[0])
    session.talk(SECOND, answers[1])
    session.close()
    return session.recording, session.secret


def by_hand(leaf: Certificate = LEAF, answers: tuple[bytes, bytes] = ANSWERS) -> tuple[Recording, bytes]:
    """The same in TLS 1.3, with its handshake secret."""
    session = Tls13(chain=(leaf.der, BETWEEN.der), key=leaf.key)
    for request, answer in ((FIRST, answers[0]), (SECOND, answers[1])):
        session.client.data(request)
        session.site.data(answer)
    session.client.close()
    session.site.close()
    return session.recording, session.secret


VERSIONS = pytest.mark.parametrize("talk", [by_openssl, by_hand])


def look(session: tuple[Recording, bytes], **changes: Any) -> tuple[WebRequest, WebResponse, bytes]:
    arguments: dict[str, Any] = {
        "request": REQUEST,
        "exchange": 1,
        "roots": ROOTS,
        "judged_at": (NOW - 1, NOW + 1),
        "limits": LIMITS,
        "fetch_limits": FETCH_LIMITS,
    }
    return seen(*session, **(arguments | changes))


def refused(session: tuple[Recording, bytes], code: str, **changes: Any) -> None:
    with pytest.raises(ObserveError) as caught:
        look(session, **changes)
    assert caught.value.code == code, caught.value.problem


@VERSIONS
def test_the_exchange_that_was_asked_for_is_seen(talk: Any) -> None:
    request, response, leaf = look(talk())
    assert (request.method, request.url, request.body) == ("POST", REQUEST.url, b"asked")
    assert request.headers == tuple(
        one for one in prepared(REQUEST, FETCH_LIMITS).headers if one[0] != "content-length"
    )
    assert (response.version, response.status, response.body) == ("HTTP/1.1", 200, BODY)
    assert ("content-type", "application/json") in response.headers
    assert leaf == hashlib.sha256(LEAF.der).digest()


@VERSIONS
def test_another_exchange_of_the_connection_is_not_the_one(talk: Any) -> None:
    session = talk()
    refused(session, "violation", exchange=0)
    for number in (-1, 2, 1000):
        refused(session, "http", exchange=number)
    first = WebRequest("GET", HOST, 443, "/login", (("cookie", "a=b"),), b"")
    assert look(session, request=first, exchange=0)[1].body == b"welcome"
    refused(session, "violation", request=replace(first, headers=()), exchange=0)


@VERSIONS
@pytest.mark.parametrize(
    "change",
    [
        *({"method": "PUT"}, {"target": "/page?x=2"}, {"body": b"other"}),
        *(
            {"headers": (("x-mine", "2"), ("content-type", "text/plain"))},
            {"headers": (("content-type", "text/plain"),)},
        ),
    ],
)
def test_another_request_than_the_manifests_is_a_violation(talk: Any, change: dict[str, Any]) -> None:
    refused(talk(), "violation", request=replace(REQUEST, **change))


@VERSIONS
def test_the_host_is_one_everywhere(talk: Any) -> None:
    refused(talk(), "tls", request=replace(REQUEST, host="other.example"))  # the client's hello named this one
    refused(talk(), "http", request=replace(REQUEST, port=8443))  # and its request this one
    refused(talk(site(BETWEEN, "other.example", key="p256")), "certificate")


@VERSIONS
def test_the_chain_is_judged_by_these_roots_at_both_times(talk: Any) -> None:
    session = talk()
    refused(session, "certificate", roots=Roots.load(made("Root", key="p256.false root").pem))
    for at in ((NOW, NOW + 101 * DAY), (NOW - 101 * DAY, NOW)):
        refused(session, "certificate", judged_at=at)
    short = talk(site(BETWEEN, HOST, key="p256", last=NOW))
    assert look(short, judged_at=(NOW - 1, NOW))
    refused(short, "certificate", judged_at=(NOW - 1, NOW + 1))


@VERSIONS
def test_a_secret_of_another_session_shows_nothing(talk: Any) -> None:
    (recording, secret), (_, other) = talk(), talk()
    if other == secret:  # what is played by hand has always the same
        other = secret[::-1]
    refused((recording, other), "secret")
    refused((recording, b""), "secret")


@VERSIONS
def test_what_was_said_is_http_and_all_of_it(talk: Any) -> None:
    refused(talk(answers=(ANSWERS[0], ANSWERS[1] + b"!")), "http")
    refused(talk(answers=(ANSWERS[0], ANSWERS[1][:-1])), "http")
    refused(talk(answers=(ANSWERS[0] * 2, ANSWERS[1])), "http")
    refused(talk(answers=(b"no HTTP", ANSWERS[1])), "http")


@VERSIONS
def test_a_bomb_does_not_go_off(talk: Any) -> None:
    bomb = whole(gzip.compress(bytes(10_000_000)), ("Content-Encoding", "gzip"))
    refused(talk(answers=(ANSWERS[0], bomb)), "size")
    assert look(talk(answers=(bomb, ANSWERS[1])))[1].body == BODY  # the other one is never decoded


@VERSIONS
def test_a_recording_is_bounded(talk: Any) -> None:
    session = talk()
    for name in ("client_bytes", "site_bytes"):
        refused(session, "size", limits=replace(LIMITS, **{name: 300}))
    refused(session, "size", fetch_limits=replace(FETCH_LIMITS, body_bytes=4095))
    refused(session, "size", fetch_limits=replace(FETCH_LIMITS, request_bytes=4))


@VERSIONS
def test_a_tampered_record_shows_nothing(talk: Any) -> None:
    recording, secret = talk()
    at = len(recording.site) - 100
    changed = recording.site[:at] + bytes([recording.site[at] ^ 1]) + recording.site[at + 1 :]
    refused((Recording(recording.client, changed), secret), "tls")
    records = wire.split(recording.site)
    refused((Recording(recording.client, b"".join(records[:-2] + records[-1:])), secret), "tls")


@VERSIONS
def test_what_is_no_recording_shows_nothing(talk: Any) -> None:
    _, secret = talk()
    for data in (b"", b"\x16", b"GET / HTTP/1.1\r\n\r\n", bytes(1000)):
        with pytest.raises(ObserveError):
            look((Recording(data, data), secret))


@VERSIONS
def test_a_session_costs_little(talk: Any) -> None:
    """A notary is planned with 4 ms of a processor for an answer of 4 KiB, all else that a session costs included."""
    session, best = talk(), 1.0
    for _ in range(20):
        started = time.process_time()
        look(session)
        best = min(best, time.process_time() - started)
    assert best < 0.004


def test_nothing_is_seen_behind_a_request_with_a_body() -> None:
    """A site that passes it over takes it for the next request, and answers that one in place of the wanted one."""
    hidden = b"GET /quote HTTP/1.1\r\nHost: site.example\r\n\r\n"
    first = b"POST /static HTTP/1.1\r\nHost: site.example\r\nContent-Length: %d\r\n\r\n" % len(hidden) + hidden
    session = Tls13(chain=(LEAF.der, BETWEEN.der), key=LEAF.key)
    for request, answer in ((first, whole(b"no", status="405 No")), (SECOND, ANSWERS[1])):
        session.client.data(request)
        session.site.data(answer)
    session.client.close()
    session.site.close()
    with pytest.raises(ObserveError, match="behind a request with a body"):
        look((session.recording, session.secret))
