"""Whole fetches over real TLS: who is asked, what is read, and that every way to fail ends with its code, in time."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import socket
import time
from collections.abc import Sequence

import brotli
import pytest

from notary.fetch.worlds import AUTHORITY, GET, HOST, IDENTITY, LIMITS, PUBLIC, TLS, ask, now
from pluto_measure.record import replace
from pluto_notary.fetch.egress import EgressRules
from pluto_notary.fetch.errors import TargetError
from pluto_notary.fetch.limits import FetchLimits
from pluto_notary.fetch.redirect import location
from pluto_notary.fetch.run import STEPS, fetch
from simulators.notary.names import Names
from simulators.notary.sites import Net, Site, Visit, chunked, page, page2, raw, whole

OK = b"HTTP/1.1 200 OK\r\n"


def test_a_page_is_fetched_over_http_1() -> None:
    steps: list[str] = []
    with Site(IDENTITY, page(b"hello", ("Content-Type", "text/plain"))) as site:
        exchange = ask(site, step=steps.append)
    assert exchange.request is GET
    assert (exchange.response.version, exchange.response.status, exchange.response.reason) == ("HTTP/1.1", 200, "OK")
    assert exchange.response.body == b"hello"
    assert exchange.address == PUBLIC
    assert exchange.leaf_sha256 == hashlib.sha256(IDENTITY.der).digest()
    assert exchange.started < exchange.ended
    assert steps == list(STEPS)
    head = site.requests[0].split(b"\r\n")
    assert head[:3] == [b"GET /page?x=1 HTTP/1.1", b"host: site.example", b"connection: close"]
    assert site.names == [HOST]


def test_weakness_26_a_page_is_fetched_over_http_2() -> None:
    body = bytes(range(256)) * 2000
    with Site(IDENTITY, page2(body, ("content-type", "text/plain")), alpn=("h2", "http/1.1")) as site:
        exchange = ask(site, replace(GET, method="POST", body=b"x" * 200_000))
    assert (exchange.response.version, exchange.response.status) == ("HTTP/2", 200)
    assert exchange.response.body == body
    head, _, content = site.requests[0].partition(b"\r\n\r\n")
    assert b":authority: site.example\r\n" in head
    assert b":path: /page?x=1\r\n" in head
    assert content == b"x" * 200_000


@pytest.mark.parametrize("coding", ["gzip", "br"])
def test_weakness_26_chunks_and_codings_are_taken_off(coding: str) -> None:
    coded = gzip.compress(b"hello" * 100) if coding == "gzip" else brotli.compress(b"hello" * 100)
    head = OK + f"Content-Encoding: {coding}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    with Site(IDENTITY, raw(head, chunked(coded[:9], coded[9:]))) as site:
        assert ask(site).response.body == b"hello" * 100


@pytest.mark.parametrize("status", ["201 Created", "404 Not Found", "503 Service Unavailable"])
def test_weakness_26_an_answer_of_any_status_is_an_answer(status: str) -> None:
    with Site(IDENTITY, page(b"hello", status=status)) as site:
        response = ask(site, replace(GET, method="DELETE")).response
    assert (f"{response.status} {response.reason}", response.body) == (status, b"hello")


def test_weakness_01_proof_about_another_site_no_certificate_no_answer() -> None:
    """The asker leads the name to a server of his own: it has no certificate for it, so nothing is asked there."""
    own = AUTHORITY.issue("asker.example")
    with Site(own, page(b"forged")) as site, pytest.raises(TargetError, match="for another name") as caught:
        ask(site)
    assert caught.value.code == "certificate"
    assert site.requests == []
    assert site.names == [HOST]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_weakness_03_redirects_are_errors_unless_the_caller_wants_to_decide(status: int) -> None:
    act = page(b"", ("Location", "https://secret.example/x?y#z"), status=f"{status} Moved")
    with Site(IDENTITY, act) as site:
        with pytest.raises(TargetError) as caught:
            ask(site)
        exchange = ask(site, follow=True)
    assert caught.value.code == "redirect"
    assert "secret" not in str(caught.value)
    assert exchange.response.status == status
    assert location(exchange) == ("secret.example", 443, "/x?y")
    assert site.visits == 2


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("/a?b#c", (HOST, 443, "/a?b")),
        ("https://a.example", ("a.example", 443, "/")),
        ("https://A.example?x/y", ("a.example", 443, "/?x/y")),
        ("https://a.example:8443/", ("a.example", 8443, "/")),
        ("//a.example/", None),
        ("http://a.example/", None),
        ("https://a@b.example/", None),
        ("https://a.example:99999999/", None),
        ("x", None),
        ("", None),
    ],
)
def test_a_location_is_read(value: str, wanted: tuple[str, int, str] | None) -> None:
    with Site(IDENTITY, page(b"", ("Location", value), status="302 Found")) as site:
        exchange = ask(site, follow=True)
    if wanted is None:
        with pytest.raises(TargetError, match="redirect"):
            location(exchange)
    else:
        assert location(exchange) == wanted


INNER = ["127.0.0.1", "10.0.0.1", "169.254.169.254", "168.63.129.16", "::1", "fd00:ec2::254", "::ffff:127.0.0.1"]


@pytest.mark.parametrize("address", [*INNER, "64:ff9b::a9fe:a9fe", "2002:7f00:1::1", "0.0.0.0", "224.0.0.1"])
def test_weakness_04_ssrf_a_name_with_an_inner_address_is_not_connected(address: str) -> None:
    net = Net({address: 1, PUBLIC: 1})
    for answer in ([address], [PUBLIC, address], [address, PUBLIC]):
        with pytest.raises(TargetError) as caught:
            ask(1, answer=answer, connect=net.connect)
        assert caught.value.code == "egress"
    assert net.connected == []


def test_weakness_04_ssrf_a_name_that_changes_between_check_and_connection_gains_nothing() -> None:
    names = Names({HOST: [[PUBLIC], ["127.0.0.1"], ["169.254.169.254"]]})
    with Site(IDENTITY, page(b"hello")) as site:
        net = Net({PUBLIC: site})
        exchange = ask(site, resolve=names, connect=net.connect)
    assert exchange.address == PUBLIC
    assert names.asked == [HOST]  # once: there is no second answer to fall for
    assert net.connected == [(PUBLIC, 443)]


@pytest.mark.parametrize(("host", "port"), [("metadata.google.internal", 443), ("127.0.0.1", 443), (HOST, 80)])
def test_weakness_04_ssrf_forbidden_names_and_ports_are_not_even_resolved(host: str, port: int) -> None:
    names = Names({})
    with pytest.raises(TargetError) as caught:
        ask(1, replace(GET, host=host, port=port), resolve=names)
    assert caught.value.code == "egress"
    assert names.asked == []


def test_weakness_04_no_tls_no_exchange() -> None:
    with Site(None, lambda visit: visit.send(whole(b"hello"))) as site, pytest.raises(TargetError) as caught:
        ask(site)
    assert caught.value.code == "tls"


def test_the_next_address_is_tried_if_one_takes_no_connection() -> None:
    with Site(IDENTITY, page(b"hello")) as site:
        net = Net({PUBLIC: site})
        exchange = ask(site, answer=["1.1.1.1", "2606:4700::1", PUBLIC], connect=net.connect)
    assert exchange.address == PUBLIC
    assert [address for address, _ in net.connected] == ["1.1.1.1", "2606:4700::1", PUBLIC]


def test_weakness_15_an_unreachable_target_is_an_error_with_a_code() -> None:
    net = Net({})
    many = [f"1.1.1.{n}" for n in range(20)]
    with pytest.raises(TargetError) as caught:
        ask(1, answer=many, connect=net.connect)
    assert caught.value.code == "connect"
    assert len(net.connected) == LIMITS.addresses


def test_a_name_without_an_address_is_an_error_with_a_code() -> None:
    with pytest.raises(TargetError) as caught:
        ask(1, resolve=Names({}))
    assert caught.value.code == "resolve"


@pytest.mark.parametrize("kind", ["resolver", "connection", "handshake", "head", "body", "drip"])
def test_weakness_16_whatever_stalls_ends_in_time(kind: str) -> None:
    acts = {
        "handshake": lambda visit: visit.site.over.wait(10),
        "head": raw(hang=True),
        "body": raw(OK + b"Content-Length: 9\r\n\r\nhell", hang=True),
        "drip": raw(OK + b"Content-Length: 999\r\n\r\n", *[b"x"] * 40, pause=0.1),
    }
    act = acts.get(kind, page(b"hello"))
    with Site(None if kind == "handshake" else IDENTITY, act) as site:
        net = Net({PUBLIC: site})

        async def never(address: str, port: int) -> socket.socket:
            await asyncio.sleep(60)
            return await net.connect(address, port)

        names = Names({HOST: [[PUBLIC]]}, seconds=60 if kind == "resolver" else 0)
        started = time.monotonic()
        with pytest.raises(TargetError) as caught:
            ask(site, resolve=names, connect=never if kind == "connection" else net.connect)
    assert caught.value.code == ("connect" if kind == "connection" else "time")
    assert time.monotonic() - started < 3


def test_a_site_that_does_not_read_ends_in_time() -> None:
    def act(visit: Visit) -> None:
        visit.site.over.wait(10)

    with Site(IDENTITY, act) as site:
        with pytest.raises(TargetError) as caught:
            ask(
                site,
                replace(GET, method="POST", body=bytes(2 * 1024 * 1024)),
                limits=replace(LIMITS, total_seconds=3.0),
            )
        assert caught.value.code in ("time", "tls")


def test_cancellation_closes_the_socket_and_says_nothing() -> None:
    with Site(IDENTITY, raw(hang=True)) as site:
        net, held = Net({PUBLIC: site}), []

        async def connect(address: str, port: int) -> socket.socket:
            held.append(await net.connect(address, port))
            return held[-1]

        async def main() -> None:
            names = Names({HOST: [[PUBLIC]]})
            running = asyncio.create_task(
                fetch(
                    GET,
                    rules=EgressRules(),
                    limits=FetchLimits(),
                    tls=TLS,
                    resolve=names,
                    connect=connect,
                    clock=time.monotonic,
                    judged_at=now(),
                )
            )
            while not site.requests:
                await asyncio.sleep(0.01)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running

        asyncio.run(main())
    assert [each.fileno() for each in held] == [-1]


@pytest.mark.parametrize("version", [1, 2])
def test_many_at_once_do_not_meet(version: int) -> None:
    act = page(b"hello" * 5000) if version == 1 else page2(b"hello" * 5000)
    with Site(IDENTITY, act, alpn=("http/1.1",) if version == 1 else ("h2",)) as site:
        net = Net({PUBLIC: site})

        async def one(number: int) -> Sequence[bytes]:
            exchange = await fetch(
                replace(GET, target=f"/{number}"),
                rules=EgressRules(),
                limits=FetchLimits(),
                tls=TLS,
                resolve=Names({HOST: [[PUBLIC]]}),
                connect=net.connect,
                clock=time.monotonic,
                judged_at=now(),
            )
            return exchange.request.target.encode(), exchange.response.body

        async def main() -> list[Sequence[bytes]]:
            return await asyncio.gather(*map(one, range(20)))

        answers = asyncio.run(main())
    assert answers == [(b"/%d" % number, b"hello" * 5000) for number in range(20)]


def test_a_private_target_needs_the_insecure_switch() -> None:
    with Site(IDENTITY, page(b"hello")) as site:
        net = Net({"127.0.0.1": site})
        with pytest.raises(TargetError, match="egress"):
            ask(site, answer=["127.0.0.1"], connect=net.connect)
        rules = EgressRules(insecure_allow_private=True)
        assert ask(site, answer=["127.0.0.1"], connect=net.connect, rules=rules).address == "127.0.0.1"
