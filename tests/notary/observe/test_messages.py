"""Handshake messages put together from records, and both hellos read strictly."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notary.observe import wire
from pluto_measure.record import replace
from pluto_notary.observe.errors import ObserveError
from pluto_notary.observe.limits import ObserveLimits
from pluto_notary.observe.messages import (
    TLS12,
    TLS13,
    ClientHello,
    Message,
    Messages,
    ServerHello,
    check_protocol,
    client_hello,
    server_hello,
)

LIMITS = ObserveLimits()
HOST = "site.example"
CHOICE = wire.u16s(0x1301, 0xC02F) + b"\1\0"
OFFER = {
    0: wire.server_name(HOST),
    10: wire.u16s(29, 23),
    13: wire.u16s(0x0403),
    16: wire.protocols(b"h2", b"http/1.1"),
    43: wire.u16s(TLS13, TLS12, size=1),
    51: b"",
}


def offer(
    found: dict[int, bytes] | None = None, *, session: bytes = b"", choice: bytes = CHOICE, more: bytes = b""
) -> bytes:
    extra = wire.extensions(OFFER if found is None else found)
    return wire.hello(1, bytes(32), session, choice, extra + more)


def answer(
    found: dict[int, bytes] | None = None, *, suite: int = 0x1301, random: bytes = bytes(32), tail: bytes = b""
) -> bytes:
    extra = b"" if found is None else wire.extensions(found)
    return wire.hello(2, random, b"", wire.u16(suite) + b"\0", extra + tail)


def offered(**changes: Any) -> ClientHello:
    return client_hello(Message(1, offer(**changes)))


def answered(*values: Any, **changes: Any) -> ServerHello:
    return server_hello(Message(2, answer(*values, **changes)))


def refusal(act: Any, *values: Any) -> tuple[str, str]:
    with pytest.raises(ObserveError) as caught:
        act(*values)
    return caught.value.code, caught.value.problem


# Messages


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=8), st.data())
def test_any_cut_gives_the_same_messages(bodies: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(wire.message(11, one) for one in bodies)
    cuts = sorted({0, len(whole), *data.draw(st.lists(st.integers(0, len(whole)), max_size=10))})
    messages, found = Messages(LIMITS), []
    for start, end in pairwise(cuts):
        found += messages.feed(memoryview(whole)[start:end])
        assert messages.pending == (b"".join(one.raw for one in found) != whole[:end])
    assert [(one.kind, one.body) for one in found] == [(11, one) for one in bodies]
    assert not messages.pending


def test_limits_of_messages() -> None:
    assert refusal(Messages(LIMITS).feed, b"") == ("tls", "a record of the handshake is empty")
    small = replace(LIMITS, message_bytes=14, handshake_bytes=30, messages=2)
    assert len(Messages(small).feed(wire.message(1, bytes(10)))) == 1
    # The head says it already.
    assert refusal(Messages(small).feed, b"\1\0\0\x0b") == ("size", "a message of the handshake is too large")
    assert refusal(Messages(small).feed, b"\1\xff\xff\xff") == ("size", "a message of the handshake is too large")
    assert refusal(Messages(small).feed, bytes(12)) == ("size", "there are too many messages of the handshake")
    messages = Messages(small)
    messages.feed(wire.message(1, bytes(10)))
    messages.feed(wire.message(1, bytes(10)))
    assert refusal(messages.feed, b"\1\0\0") == ("size", "the handshake is too large")


# The client's hello


def test_client_hello() -> None:
    hello = offered()
    assert (hello.suites, hello.versions(), hello.schemes()) == ((0x1301, 0xC02F), (TLS13, TLS12), (0x0403,))
    assert (hello.groups(), hello.protocols()) == ((29, 23), (b"h2", b"http/1.1"))
    assert list(hello.extensions) == list(OFFER)
    hello.check(HOST)
    bare = offered(found={})
    assert (bare.versions(), bare.protocols()) == ((TLS12,), ())


def test_every_prefix_of_a_hello_is_refused_and_every_byte_more() -> None:
    for whole, read, kind in ((offer(), client_hello, 1), (answer({43: b"\3\4"}), server_hello, 2)):
        bare = 4 + 2 + 32 + 1 + 3  # a ServerHello may end before its extensions
        for end in range(4, len(whole)):
            if kind == 1 or end != bare:
                assert refusal(read, Message(kind, whole[:end]))[0] == "tls"
        assert refusal(read, Message(kind, whole + b"\0"))[0] == "tls"


@pytest.mark.parametrize(
    "raw",
    [
        offer(choice=b"\0\0\1\0"),  # no suite
        offer(choice=b"\0\3\x13\1\x13\1\0"),  # one and a half
        offer(choice=wire.u16s(0x1301) + b"\0"),  # no compression, not even none
        offer(choice=wire.u16s(0x1301) + b"\1\1"),
        offer(choice=wire.u16s(0x1301) + b"\2\0\1"),
        offer(session=bytes(33)),
        offer().replace(b"\3\3" + bytes(32), b"\3\4" + bytes(32)),
        wire.hello(1, bytes(32), b"", CHOICE, b""),
        wire.hello(1, bytes(32), b"", CHOICE, wire.vec(2, 2 * wire.extension(7, b""))),
        wire.hello(1, bytes(32), b"", CHOICE, wire.vec(2, wire.extension(7, b"") + b"\0")),
        wire.hello(1, bytes(32), b"", CHOICE, wire.vec(2, b"\0\7\0\2x")),
    ],
)
def test_malformed_client_hello(raw: bytes) -> None:
    assert refusal(client_hello, Message(1, raw)) == ("tls", "the client's hello is malformed")


@pytest.mark.parametrize(
    "raw",
    [
        answer({}, tail=b"\0"),
        answer().replace(b"\3\3", b"\3\2"),
        wire.hello(2, bytes(32), bytes(33), b"\x13\1\0", b""),
        wire.hello(2, bytes(32), b"", b"\x13\1\1", b""),
        wire.hello(2, bytes(32), b"", b"\x13\1\0", wire.vec(2, 2 * wire.extension(43, b"\3\4"))),
    ],
)
def test_malformed_server_hello(raw: bytes) -> None:
    assert refusal(server_hello, Message(2, raw)) == ("tls", "the site's hello is malformed")


def test_other_messages_are_no_hellos() -> None:
    assert refusal(client_hello, Message(2, offer())) == ("tls", "the client does not begin with a hello")
    assert refusal(server_hello, Message(1, answer())) == ("tls", "the site does not begin with a hello")


@pytest.mark.parametrize(
    "content",
    [
        wire.server_name("other.example"),
        wire.server_name(HOST + "."),
        wire.server_name(HOST.upper()),
        wire.server_name(""),
        wire.server_name(HOST) + b"\0",
        wire.vec(2, b"\1" + wire.vec(2, HOST.encode())),
        wire.vec(2, 2 * (b"\0" + wire.vec(2, HOST.encode()))),
        b"",
    ],
)
def test_server_name(content: bytes) -> None:
    hello = offered(found={**OFFER, 0: content})
    problem = "the client does not name the host, as its one server name"
    assert refusal(hello.check, HOST) == ("tls", problem)


def test_server_name_is_required_and_early_data_refused() -> None:
    assert refusal(offered(found={}).check, HOST)[0] == "tls"
    assert refusal(offered(found={**OFFER, 42: b""}).check, HOST) == ("tls", "the client offers early data")


def test_pre_shared_key_comes_last() -> None:
    assert offered(found={**OFFER, 41: b"x"}).extensions[41] == b"x"
    with pytest.raises(ObserveError, match="not its last extension"):
        offered(found={41: b"x", **OFFER})


@pytest.mark.parametrize("content", [b"", b"\0", b"\0\0", b"\0\3\4\3\5", b"\0\2\4\3\0", b"\0\4\4\3"])
def test_malformed_numbers(content: bytes) -> None:
    hello = offered(found={13: content, 10: content})
    for read in (hello.schemes, hello.groups):
        assert refusal(read) == ("tls", "a list of numbers is absent or malformed")


@pytest.mark.parametrize("content", [b"", b"\0", b"\1\3", b"\3\3\4\3", b"\2\3\4\0"])
def test_malformed_versions(content: bytes) -> None:
    assert refusal(offered(found={43: content}).versions)[0] == "tls"


@pytest.mark.parametrize("content", [b"", b"\0\0", b"\0\1\0", b"\0\3\1a\0", b"\0\2\2a", b"\0\2\1a\0"])
def test_malformed_protocols(content: bytes) -> None:
    assert refusal(offered(found={16: content}).protocols) == ("tls", "an ALPN extension is malformed")
    assert refusal(check_protocol, offered(), content) == ("tls", "an ALPN extension is malformed")


def test_protocol_of_the_site() -> None:
    check_protocol(offered(), None)
    check_protocol(offered(), wire.protocols(b"http/1.1"))
    for chosen, code in ((b"h2", "unsupported"), (b"h3", "tls"), (b"http/1.0", "tls")):
        assert refusal(check_protocol, offered(), wire.protocols(chosen))[0] == code
    both = wire.protocols(b"http/1.1", b"h2")
    assert refusal(check_protocol, offered(), both)[0] == "tls"
    none = offered(found={})
    assert refusal(check_protocol, none, wire.protocols(b"http/1.1"))[0] == "tls"


# The site's hello


def test_server_hello() -> None:
    hello = answered({43: b"\3\4", 51: b"share"})
    assert (hello.version, hello.suite, hello.retry) == (TLS13, 0x1301, False)
    hello.check(offered())
    assert answered(suite=0xC02F).version == TLS12
    answered(suite=0xC02F).check(offered())


@pytest.mark.parametrize("content", [b"", b"\3", b"\3\3", b"\3\5", b"\3\4\3", b"\x7f\x1c"])
def test_version_that_does_not_exist(content: bytes) -> None:
    with pytest.raises(ObserveError, match="unsupported"):
        _ = answered({43: content}).version


@pytest.mark.parametrize("end", [b"DOWNGRD\1", b"DOWNGRD\0"])
def test_talked_down(end: bytes) -> None:
    hello = answered(suite=0xC02F, random=bytes(24) + end)
    assert refusal(hello.check, offered()) == ("tls", "the site says that the version was talked down")
    hello.check(offered(found={k: v for k, v in OFFER.items() if k != 43}))  # it was not: nothing better was offered
    answered({43: b"\3\4"}, random=bytes(24) + end).check(offered())


def test_choices_that_were_not_offered() -> None:
    only13, only12 = ({**OFFER, 43: wire.u16s(one, size=1)} for one in (TLS13, TLS12))
    version = ("tls", "the site chose a version that was not offered")
    assert refusal(answered({43: b"\3\4"}).check, offered(found=only12)) == version
    assert refusal(answered(suite=0xC02F).check, offered(found=only13)) == version
    suite = ("tls", "the site chose a suite that was not offered")
    assert refusal(answered({43: b"\3\4"}, suite=0x1302).check, offered()) == suite
    extension = ("tls", "the site answers an extension that was not offered")
    assert refusal(answered({43: b"\3\4", 44: b"c"}).check, offered()) == extension
    assert refusal(answered({0xFF01: b"\0"}, suite=0xC02F).check, offered()) == extension
    answered({0xFF01: b"\0"}, suite=0xC02F).check(offered(choice=wire.u16s(0xC02F, 0x00FF) + b"\1\0"))
    answered({0xFF01: b"\0"}, suite=0xC02F).check(offered(found={**OFFER, 0xFF01: b"\0"}))


def test_retry_may_bring_a_cookie() -> None:
    retry = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
    hello = answered({43: b"\3\4", 44: b"c"}, random=retry)
    assert hello.retry
    hello.check(offered())


@given(st.binary(max_size=300), st.sampled_from([1, 2]))
def test_hellos_raise_nothing_else(content: bytes, kind: int) -> None:
    message = Message(kind, wire.message(kind, b"\3\3" + content))
    with suppress(ObserveError):
        (client_hello if kind == 1 else server_hello)(message)
