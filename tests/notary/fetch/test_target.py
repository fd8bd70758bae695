"""Who a site is: every certificate that lies is refused before the request leaves. And when a stream has ended."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from notary.fetch.worlds import AUTHORITY, GET, HOST, IDENTITY, PUBLIC, ask, now
from pluto_measure.errors import FormatError
from pluto_measure.record import replace
from pluto_notary.fetch.egress import EgressRules
from pluto_notary.fetch.errors import TARGET_CODES, TargetError
from pluto_notary.fetch.target import client_context
from pluto_notary.fetch.validity import validity
from simulators.notary.certificates import Authority, Identity
from simulators.notary.names import Names
from simulators.notary.sites import Site, Visit, frame, frames, headers_frame, page, raw, whole

OK = b"HTTP/1.1 200 OK\r\n"
V2, V3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
CLIENT_AUTH = ExtendedKeyUsageOID.CLIENT_AUTH
LIARS: dict[str, Identity] = {
    "another name": AUTHORITY.issue("bank.example"),
    "a name below": AUTHORITY.issue("www.site.example"),
    "a wildcard below": AUTHORITY.issue("*.site.example"),
    "a wildcard for all": AUTHORITY.issue("*"),
    "a wildcard for a top-level domain": AUTHORITY.issue("*.example"),
    "the name as common name": AUTHORITY.issue(common_name=HOST, alternatives=False),
    "the name as common name beside another": AUTHORITY.issue("bank.example", common_name=HOST),
    "the address alone": AUTHORITY.issue(PUBLIC),
    "expired": AUTHORITY.issue(HOST, from_day=-30, to_day=-1),
    "not valid yet": AUTHORITY.issue(HOST, from_day=1, to_day=30),
    "signed by itself": AUTHORITY.issue(HOST, self_signed=True),
    "of another authority": Authority("Another root").issue(HOST),
    "of another authority of the same name": Authority().issue(HOST),
    "for clients": AUTHORITY.issue(HOST, purpose=CLIENT_AUTH),
}


@pytest.mark.parametrize("lie", sorted(LIARS))
@pytest.mark.parametrize("version", [V2, V3])
def test_weakness_01_a_certificate_that_lies_is_refused_before_anything_is_asked(
    lie: str, version: ssl.TLSVersion
) -> None:
    with Site(LIARS[lie], page(b"forged"), versions=(version, version)) as site, pytest.raises(TargetError) as caught:
        ask(site)
    assert caught.value.code == "certificate"
    assert site.requests == []
    assert HOST not in str(caught.value)


def test_a_wildcard_stands_for_one_label() -> None:
    host = "www.site.example"
    request, names = replace(GET, host=host), Names({host: [[PUBLIC]]})
    with Site(AUTHORITY.issue("*.site.example"), page(b"hello")) as site:
        assert ask(site, request, resolve=names).response.body == b"hello"


def test_an_address_as_host_needs_a_certificate_for_the_address() -> None:
    request = replace(GET, host=PUBLIC)
    rules, names = EgressRules(allow_literals=True), Names({PUBLIC: [[PUBLIC]]})
    with Site(AUTHORITY.issue(PUBLIC), page(b"hello")) as site:
        assert ask(site, request, rules=rules, resolve=names).response.body == b"hello"
    with Site(IDENTITY, page(b"hello")) as site, pytest.raises(TargetError, match="another address"):
        ask(site, request, rules=rules, resolve=names)


@pytest.mark.parametrize("days", [-400, -2, 29.9999999, 31, 4000])
def test_a_certificate_is_judged_by_the_trusted_time_also_where_this_machines_clock_lies(days: float) -> None:
    with Site(IDENTITY, page(b"forged")) as site, pytest.raises(TargetError, match="trusted time") as caught:
        ask(site, judged_at=now(days, 60))
    assert caught.value.code == "certificate"
    assert site.requests == []


def test_the_root_is_judged_by_the_trusted_time_too() -> None:
    short = Authority(from_day=-5, to_day=5)
    with Site(short.issue(HOST), page(b"hello")) as site:
        context = client_context(short.pem)
        assert ask(site, tls=context, judged_at=now(4)).response.body == b"hello"
        with pytest.raises(TargetError, match="trusted time"):
            ask(site, tls=context, judged_at=now(6))


@pytest.mark.parametrize("liar", ["old TLS", "no forward secrecy", "no AEAD"])
def test_weakness_22_weak_tls_is_not_spoken(liar: str) -> None:
    options = {
        "old TLS": {"versions": (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1), "ciphers": "ALL:@SECLEVEL=0"},
        "no forward secrecy": {"versions": (V2, V2), "ciphers": "AES128-GCM-SHA256"},
        "no AEAD": {"versions": (V2, V2), "ciphers": "ECDHE-ECDSA-AES128-SHA256"},
    }
    with pytest.warns(DeprecationWarning, match="TLS") if liar == "old TLS" else contextlib.nullcontext():
        site = Site(IDENTITY, page(b"hello"), **options[liar])  # type: ignore[arg-type]
    with site, pytest.raises(TargetError) as caught:
        ask(site)
    assert caught.value.code == "tls"


@pytest.mark.parametrize("version", [V2, V3])
def test_an_end_that_nobody_authenticated_is_no_end(version: ssl.TLSVersion) -> None:
    for data, goodbye, fits in [
        (OK + b"\r\nhello", True, True),
        (OK + b"\r\nhello", False, False),
        (whole(b"hello"), False, True),  # its length was told
        (whole(b"hello")[:-1], True, False),
        (whole(b"hello")[:-1], False, False),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", True, False),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", False, False),
        (b"", True, False),
        (b"", False, False),
    ]:
        with Site(IDENTITY, raw(data, goodbye=goodbye), versions=(version, version)) as site:
            if fits:
                assert ask(site).response.body == b"hello"
                continue
            with pytest.raises(TargetError) as caught:
                ask(site)
            assert caught.value.code == ("http" if goodbye else "tls")


def reset(visit: Visit) -> None:
    visit.read_request()
    visit.send(whole(b"hello")[:-1])
    visit.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def garbage(visit: Visit) -> None:
    """Bytes that are no record, past TLS."""
    visit.read_request()
    with socket.fromfd(visit.connection.fileno(), socket.AF_INET, socket.SOCK_STREAM) as plain:
        plain.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
        visit.site.over.wait(5)


OK2 = headers_frame((":status", "200"))
HOSTILE = {
    "resets the connection": (IDENTITY, reset, "http/1.1", "tls"),
    "forges a record": (IDENTITY, garbage, "http/1.1", "tls"),
    "speaks no TLS": (None, lambda visit: visit.send(b"220 mail.example ESMTP\r\n"), "http/1.1", "tls"),
    "closes at once": (None, lambda _: None, "http/1.1", "tls"),
    "speaks HTTP/2 after agreeing on HTTP/1.1": (IDENTITY, raw(frame(4) + OK2), "http/1.1", "http"),
    "speaks HTTP/1.1 after agreeing on HTTP/2": (IDENTITY, lambda visit: visit.send(whole(b"x")), "h2", "http"),
    "floods pings": (IDENTITY, frames(frame(6, 0, 0, bytes(8)) * 1000, hang=True), "h2", "http"),
    "floods settings": (IDENTITY, frames(frame(4) * 1000, hang=True), "h2", "http"),
    "continues headers for ever": (IDENTITY, frames(frame(1, 0, 1) + frame(9, 0, 1) * 1000, hang=True), "h2", "http"),
    "resets the stream": (IDENTITY, frames(OK2, frame(3, 0, 1, bytes(4))), "h2", "http"),
    "cuts the stream": (IDENTITY, frames(OK2, goodbye=False), "h2", "tls"),
    "ends the stream early": (IDENTITY, frames(OK2), "h2", "http"),
    "says nothing in HTTP/2": (IDENTITY, frames(hang=True), "h2", "time"),
    "gives no window": (IDENTITY, frames(frame(4, 0, 0, b"\0\4\0\0\0\0"), hang=True), "h2", "time"),
    "sends without end": (IDENTITY, raw(OK + b"\r\n" + bytes(2 * 1024 * 1024)), "http/1.1", "size"),
    "sends interim answers": (IDENTITY, raw(b"HTTP/1.1 100 Continue\r\n\r\n" * 100), "http/1.1", "http"),
}


@pytest.mark.parametrize("kind", sorted(HOSTILE))
def test_weakness_15_a_hostile_site_ends_its_own_fetch_with_a_code_and_in_time(kind: str) -> None:
    identity, act, protocol, code = HOSTILE[kind]
    with Site(identity, act, alpn=(protocol,)) as site, pytest.raises(TargetError) as caught:
        ask(site, replace(GET, method="POST", body=b"x" * 100))
    assert caught.value.code == code
    assert code in TARGET_CODES


def test_a_protocol_that_was_not_offered_is_not_spoken() -> None:
    with Site(IDENTITY, page(b"hello"), alpn=("spdy/3",)) as site:  # no protocol in common: OpenSSL's server goes on
        assert ask(site).response.version == "HTTP/1.1"


@given(st.binary(max_size=60) | st.integers(0, len(IDENTITY.der)).map(lambda size: IDENTITY.der[:size]))
def test_any_bytes_have_a_validity_or_are_refused(der: bytes) -> None:
    try:
        first, last = validity(der)
    except FormatError:
        return
    assert (first, last) == validity(IDENTITY.der)


@pytest.mark.parametrize("days", [(-1, 30), (-20000, 40000), (-1000, 5), (9000, 9001)])
def test_the_validity_is_what_another_reader_reads(days: tuple[float, float]) -> None:
    der = AUTHORITY.issue(HOST, from_day=days[0], to_day=days[1]).der
    other = x509.load_der_x509_certificate(der)
    times = other.not_valid_before_utc.timestamp(), other.not_valid_after_utc.timestamp()
    assert validity(der) == times


@pytest.mark.parametrize("version", [V2, V3])
def test_no_session_is_resumed(version: ssl.TLSVersion) -> None:
    resumed = []

    def act(visit: Visit) -> None:
        assert isinstance(visit.connection, ssl.SSLSocket)
        resumed.append(visit.connection.session_reused)
        page(b"hello")(visit)

    with Site(IDENTITY, act, versions=(version, version)) as site:
        for _ in range(3):
            ask(site)
    assert resumed == [False] * 3
