"""Clients that say what nobody may, manifests that are traps, sites that lie: a code each, and nothing is signed."""

from __future__ import annotations

import contextlib
import gzip
import json
from typing import Any

import pytest

from notary.server.shared import (
    BODY,
    CANARY,
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
from pluto_measure.formats.strict_json import canonical
from pluto_measure.record import replace
from pluto_notary.fetch.limits import FetchLimits
from pluto_notary.manifest.model import LARGEST_BODY
from pluto_notary.protocol.messages import Fetch
from pluto_notary.protocol.observe import DATA, OBSERVE, REVEAL
from simulators.notary import clients, sites, whole
from simulators.notary.clients import ERROR, EVIDENCE, FETCH, HELLO, PROGRESS, PROOF
from simulators.notary.sites import Visit, chunked

NONCE = "5a" * 32
GOOD_HELLO = {"version": 2, "nonce": NONCE, "manifestDigest": NONCE, "fresh": False}


def head(kind: int, size: int) -> bytes:
    return bytes([kind]) + size.to_bytes(4, "big")


AT_HELLO: list[tuple[bytes, str]] = [
    (head(HELLO, 4097), "size"),
    (head(HELLO, 2**32 - 1), "size"),
    (head(FETCH, 10), "order"),
    (head(EVIDENCE, 10), "order"),
    (head(PROOF, 10), "order"),
    (head(ERROR, 10), "order"),
    (head(0, 0), "frame"),
    (head(7, 0), "frame"),
    (head(255, 2**32 - 1), "frame"),
    (head(16, 0), "order"),
    (head(22, 2**32 - 1), "order"),
    (head(23, 0), "unsupported"),
    (head(31, 9), "unsupported"),
    (head(HELLO, 0), "json"),
    (head(HELLO, 3) + b"\xff\xff\xff", "json"),
    (head(HELLO, 4000) + b"[" * 4000, "json"),
    (b"TEETLS", "frame"),
    (b"GET / HTTP/1.1\r\n\r\n", "frame"),
]
AT_FETCH: list[tuple[bytes, str]] = [
    (head(FETCH, (2 << 20) + 1), "size"),
    (head(OBSERVE, (2 << 20) + 1), "size"),
    (head(OBSERVE, 0), "json"),
    (head(DATA, 1), "order"),
    (head(REVEAL, 1), "order"),
    (head(HELLO, 10), "order"),
    (head(PROGRESS, 10), "order"),
    (head(FETCH, 0), "json"),
    (head(FETCH, 500_000) + b"[" * 500_000, "json"),
    (head(FETCH, 500_000) + b'{"a":' * 100_000, "json"),
    (head(FETCH, 500_001) + b"[" + b"0," * 250_000, "json"),
]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("step", ["established", "evidence"])
def test_a_frame_that_may_not_come_ends_its_session_with_a_code(
    start: Start, watched: Watched, step: str, protocol: str
) -> None:
    notary, cases = start(), AT_HELLO if step == "established" else AT_FETCH
    for frame, code in cases:
        with notary.client(manifest(), protocol, **SECRETS).go(step) as client:
            client.send(frame)
            assert client.ending() == code, frame[:20]
            assert client.closed_in_order()
    lives(notary)
    refused(notary, *(code for _, code in cases))
    assert watched.signatures == 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_error_reaches_a_client_that_is_still_sending(start: Start, protocol: str) -> None:
    with start().client(manifest(), protocol, **SECRETS).go("evidence") as client:
        for piece in (head(FETCH, 3 << 20), *[bytes(65536)] * 40):
            client.send(piece)
        assert client.ending() == "size"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"version": 1}, "version"),
        ({"version": True}, "json"),
        ({"nonce": "00" * 32}, "nonce"),
        ({"nonce": "5a"}, "nonce"),
        ({"nonce": NONCE.upper()}, "nonce"),
        ({"fresh": 1}, "json"),
        ({"manifestDigest": None}, "json"),
        ({CANARY: CANARY}, "json"),
    ],
)
def test_a_commitment_that_is_none_is_refused(
    start: Start, watched: Watched, change: dict[str, Any], code: str
) -> None:
    notary = start()
    with notary.client(manifest()).go("established") as client:
        client.say(HELLO, {**GOOD_HELLO, **change})
        assert client.ending() == code
    assert watched.signatures == 0


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("step", ["upgraded", "established", "evidence"])
def test_bytes_that_are_no_inner_tls_end_their_connection(start: Start, step: str, protocol: str) -> None:
    notary = start()
    masked = bytes([0x82, 0x80 | 20]) + bytes(4)
    junk = [b"\x17\x03\x03\xff\xff" + bytes(15), b"\x17\x03\x03\x00\x0f" + bytes(15), b"GET / HTTP/1.1\r\n\r\n  "]
    broken = [b"\x81\x85\x00\x00\x00\x00hello", b"\x82\x05hello", b"\xf2\x85" + bytes(9), b"\x82\xff" + b"\xff" * 12]
    for data in [masked + one for one in junk] + broken if protocol == "websocket" else junk:
        with notary.client(manifest(), protocol, **SECRETS).go(step) as client:
            client.raw(data)
            client.socket.recv(65536)  # an alert, a close frame, or the end
    notary.soon(lambda: len(notary.codes) >= 3)
    assert set(notary.codes) <= {"tls", "frame"}
    lives(notary)


def test_version_1_is_not_spoken_outside_of_confidential_space(start: Start, watched: Watched) -> None:
    notary = start()
    with notary.client(manifest(), version=1).go("established") as client:
        client.send(b"TEETLS")
        assert client.ending() == "unsupported"
        assert client.closed_in_order()
    assert watched.signatures == 0


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_version_1_opens_a_channel_of_version_2_where_there_is_a_token(
    start: Start, watched: Watched, protocol: str
) -> None:
    asked: list[bytes] = []

    async def token(ekm: bytes) -> bytes:
        asked.append(ekm)
        return b"a.b.c"

    notary = start(token=token)
    with notary.client(manifest(), protocol, version=1, **SECRETS).go("established") as client:
        client.send(b"TEETLS")
        assert client.inner is not None
        data = b""
        while len(data) < 11:
            assert client.more()
            data += client.inner.read()
        assert data == b"\0\1\0\0\0\5a.b.c"
        assert asked == [client.inner.ekm]
        client.go("fetch")
        assert client.ending() == "proof"
    assert watched.signatures == 1
    with notary.client(manifest(), protocol, version=1).go("established") as client:
        client.send(b"TEETLX")
        assert client.ending() == "unsupported"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        (f"target_host={HOST}&target_port=443", "proof"),
        (f"target_host={HOST.upper()}&session_id=01234567-89ab-cdef-0123-456789abcdef", "proof"),
        ("target_host=other.example", "target"),
        ("target_port=8443", "target"),
    ],
)
def test_the_target_that_was_named_is_that_of_the_manifest(
    start: Start, watched: Watched, query: str, code: str
) -> None:
    with start().client(manifest(), query=query, **SECRETS).go("fetch") as client:
        assert client.ending() == code
    assert watched.signatures == (code == "proof")


def test_another_manifest_than_was_committed_to_is_refused(start: Start, watched: Watched) -> None:
    notary = start()
    with notary.client(manifest(), **SECRETS).go("evidence") as client:
        client.say(FETCH, whole.order(manifest(title="another"), **SECRETS).to_body())
        assert client.ending() == "manifest-digest"
    refused(notary, "manifest-digest")
    assert watched.signatures == 0


HOSTILE: list[tuple[Any, str]] = [
    ({}, "manifest"),
    ({"manifestVersion": "3"}, "manifest"),
    ({**document(), "unknown": 1}, "manifest"),
    ({**document(), "request": {**document()["request"], "url": f"http://{HOST}/"}}, "manifest"),
    ({**document(), "request": {**document()["request"], "url": f"https://a:{CANARY}@{HOST}/"}}, "manifest"),
    ({**document(), "request": {**document()["request"], "url": f"https://{HOST}:22/"}}, "egress"),
    ({**document(), "request": {**document()["request"], "url": "https://127.0.0.1/"}}, "egress|manifest"),
    ({**document(), "request": {**document()["request"], "url": "https://169.254.169.254/"}}, "egress|manifest"),
    ({**document(), "request": {**document()["request"], "url": "https://nowhere.example/"}}, "resolve"),
    ({**document(), "request": {**document()["request"], "method": "TRACE"}}, "manifest"),
    ({**document(), "request": {**document()["request"], "headers": {"Host": "a.example"}}}, "manifest|violation"),
    ({**document(), "request": {**document()["request"], "headers": {"x": "a\r\nb: c"}}}, "manifest|violation"),
    ({**document(), "request": {**document()["request"], "vars": {"token": {"pattern": "("}}}}, "manifest"),
    ({**document(), "request": {**document()["request"], "vars": {"token": {"pattern": "^(a|a)*$"}}}}, "violation"),
    ({**document(), "request": {**document()["request"], "vars": {}}}, "manifest|violation"),
]


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_a_manifest_that_is_a_trap_is_refused(start: Start, watched: Watched, number: int) -> None:
    value, codes = HOSTILE[number]
    notary = start()
    order = Fetch(**{**_members(manifest()), "manifest": canonical(value)})
    with notary.https() as connection:
        connection.sendall(clients.post("/v1/proxy", order.to_body()))
        _, _, answer = clients.json_of(clients.until_closed(connection))
    assert answer["error"]["code"] in codes.split("|"), answer
    refused(notary, answer["error"]["code"])
    assert watched.signatures == 0


def _members(wanted: Any) -> dict[str, Any]:
    order = whole.order(wanted, **SECRETS)
    return {name: getattr(order, name) for name in Fetch.__match_args__}


@pytest.mark.parametrize("variables", [(), (("token", "A B"),), (("token", "a"), ("more", CANARY)), (("nekot", "a"),)])
def test_variables_that_do_not_fit_are_violations(start: Start, watched: Watched, variables: Any) -> None:
    with start().client(manifest(), variables=variables).go("fetch") as client:
        assert client.ending() == "violation"
    assert watched.signatures == 0


OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
LENGTH = b"content-length: %d\r\n\r\n" % len(BODY)
FULL = OK + LENGTH + BODY
LIES: dict[str, tuple[bytes, str]] = {
    "no HTTP": (CANARY.encode() * 10 + b"\r\n\r\n", "http"),
    "TLS again": (b"\x16\x03\x01\x02\x00" + bytes(200), "http"),
    "HTTP/2 by itself": (b"\0\0\0\4\0\0\0\0\0", "http"),
    "another status": (FULL.replace(b"200 OK", b"201 OK"), "violation"),
    "no status": (FULL.replace(b"200 OK", b"2x0 OK"), "http"),
    "a redirect": (
        b"HTTP/1.1 302 Found\r\nlocation: https://%s/\r\ncontent-length: 0\r\n\r\n" % CANARY.encode(),
        "redirect",
    ),
    "another type": (FULL.replace(b"application/json", b"text/html"), "violation"),
    "two types": (FULL.replace(b"content-type", b"content-type: text/html\r\ncontent-type"), "violation"),
    "a longer length": (OK + b"content-length: %d\r\n\r\n" % (len(BODY) + 1) + BODY, "http"),
    "a shorter length": (OK + b"content-length: %d\r\n\r\n" % (len(BODY) - 1) + BODY, "http|violation"),
    "two lengths": (FULL.replace(b"content-length", b"content-length: 1\r\ncontent-length"), "http"),
    "a negative length": (OK + b"content-length: -1\r\n\r\n" + BODY, "http"),
    "a length of thousands of digits": (OK + b"content-length: " + b"9" * 5000 + b"\r\n\r\n" + BODY, "http|size"),
    "a huge length": (OK + b"content-length: 99999999999\r\n\r\n" + BODY, "size"),
    "length and chunks": (OK + b"transfer-encoding: chunked\r\n" + LENGTH + chunked(BODY), "http"),
    "no chunks": (OK + b"transfer-encoding: chunked\r\n\r\n" + BODY, "http"),
    "chunks without end": (OK + b"transfer-encoding: chunked\r\n\r\n" + chunked(BODY, end=b""), "http"),
    "a negative chunk": (OK + b"transfer-encoding: chunked\r\n\r\n-1\r\n" + BODY, "http"),
    "no gzip": (OK + b"content-encoding: gzip\r\n" + LENGTH + BODY, "http"),
    "half a gzip": (OK + b"content-encoding: gzip\r\n\r\n" + gzip.compress(BODY)[:-9], "http"),
    "a bomb": (OK + b"content-encoding: gzip\r\n\r\n" + gzip.compress(bytes(3_000_000)), "size"),
    "another coding": (OK + b"content-encoding: zstd\r\n" + LENGTH + BODY, "http"),
    "codings upon codings": (OK + b"content-encoding: gzip, gzip, gzip, gzip, gzip, gzip\r\n" + LENGTH + BODY, "http"),
    "a folded header": (OK + b" folded: x\r\n" + LENGTH + BODY, "http"),
    "a header without a name": (OK + b": x\r\n" + LENGTH + BODY, "http"),
    "a header with a zero": (OK + b"x: a\0b\r\n" + LENGTH + BODY, "http"),
    "very many headers": (OK + b"x: y\r\n" * 500 + LENGTH + BODY, "http|size"),
    "a very long header": (OK + b"x: " + b"y" * 100_000 + b"\r\n" + LENGTH + BODY, "http|size"),
    "interim answers without end": (b"HTTP/1.1 100 Continue\r\n\r\n" * 50 + FULL, "http|size"),
    "an upgrade": (b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: tcp\r\n\r\n" + BODY, "http"),
    "no JSON": (OK + b"content-length: 5\r\n\r\n{\"a\":", "violation"),
    "deep JSON": (OK + b"\r\n" + b"[" * 100_000 + b"]" * 100_000, "violation"),
    "a key twice": (OK + b'\r\n{"price":"1","price":"2"}', "violation"),
    "another type of value": (OK + b'\r\n{"price":12.5}', "violation"),
    "no value": (OK + b"\r\n{}", "violation"),
    "nothing": (b"", "http"),
}  # fmt: skip


def test_a_site_that_lies_anywhere_gets_nothing_signed(start: Start, watched: Watched) -> None:
    now: list[bytes] = []
    fetch_limits = replace(FetchLimits(), idle_seconds=1.0, body_bytes=1_000_000)

    def act(visit: Visit) -> None:
        sites.raw(now[0])(visit)

    notary = start(act, fetch_limits=fetch_limits, limits=replace(QUICK, idle_seconds=3.0))
    for number, (name, (answer, codes)) in enumerate(LIES.items()):
        now[:] = [answer]
        protocol = PROTOCOLS[number % 2]
        with notary.client(manifest(), protocol, **SECRETS).go("fetch") as client:
            assert client.ending() in codes.split("|"), name
            assert client.closed_in_order(), name
    assert watched.signatures == 0
    now[:] = [FULL]
    lives(notary)
    assert watched.signatures == 1
    notary.soon(lambda: len(notary.codes) == len(LIES))


@pytest.mark.parametrize("form", ["json", "html"])
def test_an_answer_is_read_no_further_than_it_can_be_judged(start: Start, watched: Watched, form: str) -> None:
    largest = LARGEST_BODY[form]
    start_of, end, selector = {
        "json": (b'{"price":"1","rest":"', b'"}', ["price"]),
        "html": (b"<p>1</p><!--", b"-->", ["p"]),
    }[form]
    page = start_of + b"x" * (largest - len(start_of) - len(end)) + end
    extractor = {"id": "price", "selector": selector, "type": "string"}
    kind = {"json": "application/json", "html": "text/html; charset=utf-8"}[form]
    body = {"format": form, "extractors": [extractor]}
    response = {"status": "200", "headers": {"content-type": kind}, "body": body}
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n".encode()
    now = [page]

    def act(visit: Visit) -> None:
        with contextlib.suppress(OSError):  # who is sent too much hangs up
            sites.raw(head, chunked(now[0]))(visit)

    notary = start(act)
    for answer, ending in ((page, "proof"), (page + b" ", "size"), (page * 8, "size")):
        now[:] = [answer]
        with notary.client(manifest(response=response), **SECRETS).go("fetch") as client:
            assert client.ending() == ending
    assert watched.signatures == 1


def test_what_a_site_says_reaches_nobody_but_the_client(start: Start, watched: Watched) -> None:
    secret = json.dumps({"price": CANARY}).encode()
    notary = start(sites.page(secret, JSON, ("set-cookie", CANARY)))
    proof = notary.prove(manifest(), reveal="commitments", **SECRETS)
    assert [one.text for one in proof.openings] == [json.dumps(CANARY)]
    assert CANARY not in json.dumps(proof.statement.to_json())
    assert watched.signatures == 1
