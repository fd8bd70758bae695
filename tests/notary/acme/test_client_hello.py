"""Whether a first flight is an authority's: real ones, in any records and any pieces, and bytes of all kinds."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_notary.acme.client_hello import LARGEST, PROTOCOL, offers


def flight(*protocols: str, name: str = "notary.example", newest: bool = True) -> bytes:
    """What OpenSSL says first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not newest:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    if protocols:
        context.set_alpn_protocols(list(protocols))
    there = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), there, server_hostname=name).do_handshake()
    return there.read()


OURS = flight("acme-tls/1")
OTHERS = {
    "a browser": flight("h2", "http/1.1"),
    "a client without ALPN": flight(),
    "both": flight("acme-tls/1", "http/1.1"),
    "both, the other way": flight("http/1.1", "acme-tls/1"),
    "a longer name": flight("acme-tls/1x"),
    "a shorter name": flight("acme-tls/"),
    "in the server's name": flight("http/1.1", name="acme-tls-1.example"),
}


def message(data: bytes) -> bytes:
    return data[5:]


def records(content: bytes, sizes: list[int]) -> bytes:
    """The same message in records of these sizes, and the rest in one."""
    found, at = b"", 0
    for size in [*sizes, len(content)]:
        piece = content[at : at + size]
        at += size
        if piece:
            found += b"\x16\x03\x01" + len(piece).to_bytes(2, "big") + piece
    return found


@pytest.mark.parametrize("newest", [True, False])
def test_an_authority_is_known(newest: bool) -> None:
    assert offers(flight("acme-tls/1", newest=newest)) is True


@pytest.mark.parametrize("who", OTHERS)
def test_nobody_else_is(who: str) -> None:
    assert offers(OTHERS[who]) is False


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([OURS, *OTHERS.values()]), st.lists(st.integers(1, 80), max_size=12), st.data())
def test_the_answer_is_the_same_in_any_records_and_any_pieces(
    data: bytes, sizes: list[int], more: st.DataObject
) -> None:
    split = records(message(data), sizes)
    assert offers(split) is offers(data)
    cut = more.draw(st.integers(0, len(split) - 1))
    assert offers(split[:cut]) is None
    assert offers(split + more.draw(st.binary(max_size=40))) is offers(data)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda data: records(b"\1\0\0\xb4" + data, [])))
def test_any_bytes_have_an_answer_that_more_bytes_do_not_change(data: bytes) -> None:
    answers = [offers(data[:end]) for end in range(len(data) + 1)]
    settled = [answer for answer in answers if answer is not None]
    assert answers == [None] * (len(answers) - len(settled)) + settled
    assert len(set(settled)) <= 1
    assert True not in settled or PROTOCOL in data


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(OURS) - 1), st.integers(1, 255))
def test_a_changed_byte_raises_nothing(at: int, change: int) -> None:
    offers(OURS[:at] + bytes([OURS[at] ^ change]) + OURS[at + 1 :])


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"\x80\x2e\x01\x00\x02",
        b"\x17\x03\x03\x00\x05",
        b"\x16\x02\x00\x00\x05",
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x01\x40\x01",
        b"\x16\x03\x01\x00\x05\x02",
    ],
)
def test_what_is_not_tls_is_nobody_at_once(data: bytes) -> None:
    assert offers(data) is False


def test_what_is_too_large_is_nobody_and_is_not_waited_for() -> None:
    long = b"\x01" + (LARGEST + 1).to_bytes(3, "big")
    assert offers(records(long, [])) is False
    drops = records(b"\x01\x00\x30\x00" + bytes(LARGEST // 6), [1] * LARGEST)
    assert offers(drops[:LARGEST]) is False
    assert offers(OURS[:-1] + bytes(0)) is None


def test_alpn_twice_is_nobody() -> None:
    alpn = b"\x00\x10\x00\x0d\x00\x0b\x0aacme-tls/1"
    content = message(OURS)
    at = content.index(alpn)
    start = content.index((len(content) - 4).to_bytes(3, "big"))
    assert start == 1
    sizes_at = 4 + 2 + 32
    session = content[sizes_at]
    suites_at = sizes_at + 1 + session
    suites = int.from_bytes(content[suites_at : suites_at + 2], "big")
    length_at = suites_at + 2 + suites + 2
    length = int.from_bytes(content[length_at : length_at + 2], "big") + len(alpn)
    twice = content[4:length_at] + length.to_bytes(2, "big") + content[length_at + 2 : at] + alpn + content[at:]
    whole = b"\x01" + len(twice).to_bytes(3, "big") + twice
    assert offers(records(whole, [])) is False
    once = whole.replace(alpn + alpn, alpn)
    assert offers(records(once, [])) is not True, "its lengths are those of two"
