"""Observed connections in a whole notary: what is proved of them, and what is not; who is not even connected."""

from __future__ import annotations

import hashlib
import os
import ssl
from collections.abc import Callable
from typing import Any

import pytest

from notary.server.observed import Observe, drinks, request
from notary.server.shared import (
    BODY,
    HOST,
    JSON,
    PROTOCOLS,
    QUICK,
    SECRETS,
    Start,
    Watched,
    document,
    lives,
    manifest,
    refused,
)
from pluto_measure.errors import FormatError
from pluto_notary.protocol.frames import encode
from pluto_notary.protocol.observe import OBSERVE, Reveal
from pluto_notary.statement.keys import address
from pluto_notary.statement.proof import Proof
from pluto_notary.trusted_time.errors import ClockError
from simulators.notary import clients, sites, whole
from simulators.notary.certificates import Authority
from simulators.notary.observers import EndedError, Observer
from simulators.notary.sites import Site, Visit


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_observed_session_is_proved(start: Start, observer: Observe, watched: Watched, protocol: str) -> None:
    notary = start()
    with observer(notary, protocol) as one:
        assert one.whole(request()) == "proof"
        assert one.counts == {"client": len(one.sent), "site": len(one.received), "version": 2}
        assert one.client.closed_in_order()
    assert watched.signatures == 1
    notary.soon(lambda: notary.lines.count("pluto: proof\n") == 1)
    lives(notary)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda one: one.name)
@pytest.mark.parametrize("reveal", ["values", "commitments"])
def test_what_the_statement_says(authority: Authority, observer: Observe, version: ssl.TLSVersion, reveal: str) -> None:
    identity = authority.issue(HOST)
    with (
        Site(identity, sites.page(BODY, JSON), versions=(version, version)) as site,
        whole.running(authority, {HOST: site}, limits=QUICK) as notary,
        observer(notary, reveal=reveal, chain_id=5) as one,
    ):
        one.connect().shake().ask(request()).hear_all().close()
        assert one.tls.version == version.name.replace("_", ".")
        one.client.send(encode(Reveal(one.tls.secret, 0)))
        proof = Proof.parse(proof_of(one))
        session = one.client.evidence["sessionId"]
        assert site.names == [HOST]
        assert len(site.requests) == 1, "what the client asked, and nothing of ours"
    statement = proof.statement
    assert (statement.mode, statement.host, statement.domain.chain_id) == ("observe", HOST, 5)
    assert statement.certificate == hashlib.sha256(identity.der).digest()
    assert statement.manifest == manifest().digest()
    assert statement.session.hex() == session
    assert (statement.nonce, statement.build) == (whole.STATEMENT_NONCE, notary.provider.domain.build_id)
    assert 0 <= statement.not_after - statement.not_before <= 3
    assert [(one.id, one.text, one.is_revealed) for one in proof.openings] == [("price", '"12.50"', reveal == "values")]
    assert address(proof.signed_by()) == proof.signer


def proof_of(one: Observer) -> bytes:
    while (heard := one.client.hear()) is not None:
        if heard[0] != clients.PROGRESS:
            assert heard[0] == clients.PROOF, heard[1]
            return heard[1]
    raise EOFError


def test_the_steps_are_told(start: Start, observer: Observe) -> None:
    with observer(start()) as one:
        assert one.whole(request()) == "proof"
        assert one.client.steps == ["resolving", "connecting", "checking", "signing"]


def keeps_alive(*bodies: bytes) -> Callable[[Visit], None]:
    """A site that answers one request after the other on the same connection."""

    def act(visit: Visit) -> None:
        for body in bodies:
            visit.read_request()
            visit.send(sites.whole(body, JSON))
        visit.goodbye()

    return act


@pytest.mark.parametrize(("exchange", "ending"), [(0, "violation"), (1, "proof"), (2, "http"), (3, "http")])
def test_one_of_several_exchanges_is_proved(
    start: Start, observer: Observe, watched: Watched, exchange: int, ending: str
) -> None:
    notary = start(keeps_alive(b'{"welcome":true}', BODY, b'{"price":7}'))
    wanted = request().replace(b"connection: close", b"connection: keep-alive")
    login = b"GET /login HTTP/1.1\r\nhost: shop.example\r\ncookie: a=b\r\n\r\n"
    with observer(notary) as one:
        one.connect().shake()
        for number, text in enumerate((login, wanted, wanted)):
            one.ask(text).hear(len(one.heard) + 1)
            assert len(one.heard) > 0, number
        one.hear_all().close()
        assert one.reveal(exchange=exchange) == ending
    assert watched.signatures == (ending == "proof")


@pytest.mark.parametrize(
    ("was", "is_"),
    [
        (b"/item/", b"/item2/"),
        (b"POST", b"PUT"),
        (b"Bearer ", b"Basic "),
        (b'{"note"', b'{"nota"'),
        (b"user-agent: pluto-notary", b"x-user: me"),
        (b"user-agent: pluto-notary", b"user-agent: an answer's words"),
        (b"host: shop.example", b"host: shop2.example"),
    ],
)
def test_another_request_than_the_manifests_is_no_proof(
    start: Start, observer: Observe, watched: Watched, was: bytes, is_: bytes
) -> None:
    notary, text = start(), request().replace(was, is_)
    assert text != request()
    with observer(notary) as one:
        assert one.whole(text) == ("http" if was.startswith(b"host") else "violation")
    assert watched.signatures == 0
    lives(notary)


@pytest.mark.parametrize(
    ("act", "code"),
    [
        (sites.page(b'{"price":7}', JSON), "violation"),
        (sites.page(BODY, ("content-type", "text/html")), "violation"),
        (sites.page(BODY, JSON, status="404 Not Found"), "violation"),
        (sites.page(b"", ("location", "https://elsewhere.example/"), status="302 Found"), "redirect"),
        (sites.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n{}"), "http"),
        (sites.raw(b"no HTTP at all\r\n\r\n"), "http"),
    ],
)
def test_an_answer_that_does_not_show_it_is_no_proof(
    start: Start, observer: Observe, watched: Watched, act: Any, code: str
) -> None:
    notary = start(act)
    with observer(notary) as one:
        assert one.whole(request()) == code
    refused(notary, code)
    assert watched.signatures == 0
    with observer(notary) as one:
        one.connect().shake()


@pytest.mark.parametrize("when", ["relay", "reveal"])
def test_a_clock_that_is_lost_meanwhile_signs_nothing(
    start: Start, observer: Observe, watched: Watched, when: str
) -> None:
    notary = start()
    with observer(notary) as one:
        one.connect().shake().ask(request())
        if when == "relay":
            notary.clock.error = ClockError("few", "lost")
        one.hear_all().close()
        notary.clock.error = ClockError("few", "lost")
        assert one.reveal() == "clock"
    assert watched.signatures == 0


# Who is not connected.


def test_the_rules_of_egress_are_those_of_fetch(authority: Authority, observer: Observe, watched: Watched) -> None:
    def at(url: str) -> Any:
        return manifest(request={"method": "GET", "url": url, "headers": {}, "vars": {}})

    answers = {"inner.example": [["10.0.0.7"]], "mixed.example": [["93.184.215.14", "127.0.0.1"]],
               "metadata.example": [["169.254.169.254"]], "away.example": [["93.184.215.99"]]}  # fmt: skip
    urls = {
        "https://inner.example/": "egress", "https://mixed.example/": "egress", "https://metadata.example/": "egress",
        f"https://{HOST}:8443/": "egress", "https://nowhere.example/": "resolve", "https://away.example/": "connect",
        "https://localhost/": "egress", "https://127.0.0.1/": "egress",
    }  # fmt: skip
    with (
        Site(authority.issue(HOST), sites.page(BODY, JSON)) as site,
        whole.running(authority, {HOST: site}, limits=QUICK, answers=answers) as notary,
    ):
        found = {}
        for url in urls:
            try:
                asked = at(url)
            except FormatError:  # a manifest cannot even say it
                found[url] = urls[url]
                continue
            with observer(notary, manifest=asked, variables=()) as one, pytest.raises(EndedError) as caught:
                one.connect()
            found[url] = str(caught.value)
        assert found == urls
        assert notary.net.connected == [("93.184.215.99", 443)]
        assert site.visits == 0
    assert watched.signatures == 0


@pytest.mark.parametrize(("query", "code"), [("target_host=other.example", "target"), ("target_port=444", "target")])
def test_another_target_than_was_named_is_not_connected(start: Start, observer: Observe, query: str, code: str) -> None:
    notary = start()
    with observer(notary, query=query) as one, pytest.raises(EndedError, match=code):
        one.connect()
    assert notary.net.connected == []


def test_another_manifest_than_was_committed_is_not_connected(start: Start, observer: Observe) -> None:
    notary = start()
    with observer(notary) as one:
        one.client.go("evidence")
        one.client._order = whole.order(manifest(id="another"), **SECRETS)
        with pytest.raises(EndedError, match="manifest-digest"):
            one.connect()
    assert notary.net.connected == []


@pytest.mark.parametrize("what", ["the old format", "HTTP/2"])
def test_what_cannot_be_observed_is_not_connected(start: Start, what: str) -> None:
    notary = start()
    version = {"version": "HTTP/2"} if what == "HTTP/2" else {}
    asked = manifest(request={**document()["request"], **version})
    with notary.client(asked, **SECRETS).go("evidence") as one:
        one.say(OBSERVE, whole.order(asked, legacy=what == "the old format", **SECRETS).to_body())
        assert one.ending() == "unsupported"
    assert notary.net.connected == []


def test_without_a_clock_or_evidence_nothing_is_connected(start: Start, observer: Observe, watched: Watched) -> None:
    notary = start()
    notary.clock.error = ClockError("few", "no agreement")
    with observer(notary) as one, pytest.raises(EndedError, match="clock"):
        one.connect()
    assert (notary.net.connected, watched.signatures) == ([], 0)


# Secrets.


def test_weakness_11_only_the_secret_of_this_connection_opens_it(
    start: Start, observer: Observe, watched: Watched
) -> None:
    notary = start()
    with observer(notary) as other:
        assert other.whole(request()) == "proof"
    right = other.tls.secret
    wrong = [bytes(len(right)), os.urandom(32), os.urandom(48), right[:-1] + bytes([right[-1] ^ 1]), right[::-1]]
    for secret in [right, *wrong]:
        with observer(notary) as one:
            one.connect().shake().ask(request()).hear_all().close()
            assert one.reveal(secret) == "secret"
    assert watched.signatures == 1
    refused(notary, *["secret"] * 6)


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n", bytes(70_000)])
def test_a_recording_that_is_no_tls_shows_nothing(
    authority: Authority, observer: Observe, watched: Watched, said: bytes
) -> None:
    with (
        Site(None, drinks) as site,
        whole.running(authority, {HOST: site}, limits=QUICK) as notary,
        observer(notary) as one,
    ):
        one.connect().say(said).close()
        assert one.counts == {"client": len(said), "site": 0, "version": 2}
        assert one.reveal(bytes(32)) == "tls"
    assert watched.signatures == 0
