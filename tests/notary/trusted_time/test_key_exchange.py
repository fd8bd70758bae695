"""NTS key establishment: what is accepted, what is refused, and that no cut of the bytes matters."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluto_measure.errors import FormatError
from pluto_notary.trusted_time.key_exchange import (
    LARGEST_RESPONSE,
    Established,
    KeyExchange,
    Keys,
    encode,
    export_keys,
    exporter_contexts,
    request,
)

PROTOCOL = encode(1, b"\0\0", critical=True)
ALGORITHM = encode(4, b"\0\x0f", critical=True)
COOKIES = b"".join(encode(5, bytes([number]) * 100, critical=False) for number in range(8))
END = encode(0, b"", critical=True)
GOOD = PROTOCOL + ALGORITHM + COOKIES + END


def established(data: bytes) -> Established:
    exchange = KeyExchange()
    exchange.feed(data)
    exchange.end()
    assert exchange.established is not None
    return exchange.established


def test_the_request_is_the_bytes_of_the_specification() -> None:
    assert request().hex() == "80010002" + "0000" + "80040002" + "000f" + "80000000"


def test_the_exporter_is_asked_as_the_specification_says() -> None:
    asked = []

    def export(label: bytes, length: int, context: bytes) -> bytes:
        asked.append((label, length, context.hex()))
        return context[-1:] * length

    assert export_keys(export) == Keys(bytes(32), b"\1" * 32)
    label = b"EXPORTER-network-time-security"
    assert asked == [(label, 32, "0000000f00"), (label, 32, "0000000f01")]
    assert exporter_contexts() == (bytes.fromhex("0000000f00"), bytes.fromhex("0000000f01"))


def test_keys_are_not_shown() -> None:
    assert "00" not in repr(Keys(bytes(32), bytes(32)))


def test_cookies_server_and_port_are_taken() -> None:
    given = established(GOOD)
    assert (len(given.cookies), given.server, given.port) == (8, None, 123)
    other = encode(6, b"NTP.Example.", critical=True) + encode(7, (4123).to_bytes(2, "big"), critical=True)
    given = established(PROTOCOL + ALGORITHM + COOKIES + other + END)
    assert (given.server, given.port) == ("ntp.example", 4123)


def test_what_is_unknown_and_not_critical_is_passed_over() -> None:
    assert established(encode(1024, b"whatever", critical=False) + GOOD) == established(GOOD)


def test_of_many_cookies_eight_are_kept() -> None:
    more = b"".join(encode(5, bytes([number]) * 64, critical=False) for number in range(8, 40))
    assert len(established(PROTOCOL + ALGORITHM + COOKIES + more + END).cookies) == 8


@pytest.mark.parametrize(
    ("case", "data"),
    [
        ("error 0", PROTOCOL + encode(2, b"\0\0", critical=True) + END),
        ("error 1", encode(2, b"\0\1", critical=True) + END),
        ("error 9", encode(2, b"\0\x09", critical=True)),
        ("warning", encode(3, b"\0\0", critical=True) + GOOD),
        ("warning, not critical", encode(3, b"\0\0", critical=False) + GOOD),
        ("unknown critical", encode(1024, b"", critical=True) + GOOD),
        ("no protocol", ALGORITHM + COOKIES + END),
        ("another protocol", encode(1, b"\0\1", critical=True) + ALGORITHM + COOKIES + END),
        ("no protocol offered", encode(1, b"", critical=True) + ALGORITHM + COOKIES + END),
        ("two protocols", encode(1, b"\0\0\0\1", critical=True) + ALGORITHM + COOKIES + END),
        ("protocol twice", PROTOCOL + GOOD),
        ("no algorithm", PROTOCOL + COOKIES + END),
        ("another algorithm", PROTOCOL + encode(4, b"\0\x1e", critical=True) + COOKIES + END),
        ("no cookie", PROTOCOL + ALGORITHM + END),
        ("empty cookie", PROTOCOL + ALGORITHM + encode(5, b"", critical=False) + END),
        ("uneven cookie", PROTOCOL + ALGORITHM + encode(5, bytes(101), critical=False) + END),
        ("large cookie", PROTOCOL + ALGORITHM + encode(5, bytes(516), critical=False) + END),
        ("port 0", PROTOCOL + ALGORITHM + COOKIES + encode(7, b"\0\0", critical=True) + END),
        ("long port", PROTOCOL + ALGORITHM + COOKIES + encode(7, b"\0\0\1", critical=True) + END),
        ("empty server", PROTOCOL + ALGORITHM + COOKIES + encode(6, b"", critical=True) + END),
        ("server with a space", PROTOCOL + ALGORITHM + COOKIES + encode(6, b"a b", critical=True) + END),
        ("end with a body", PROTOCOL + ALGORITHM + COOKIES + encode(0, b"x", critical=True)),
        ("cut off", GOOD[:-2]),
        ("nothing", b""),
        ("endless", encode(1024, bytes(1000), critical=False) * 17 + GOOD),
        ("a record larger than all", encode(1024, bytes(LARGEST_RESPONSE), critical=False)[:100]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refused(case: str, data: bytes) -> None:
    with pytest.raises(FormatError):
        established(data)


def outcome(pieces: list[bytes]) -> object:
    """What was established, or the error, which every later call has to repeat."""
    exchange = KeyExchange()

    def feed_all() -> None:
        for piece in pieces:
            exchange.feed(piece)
        exchange.end()

    problems = {_problem(call) for call in (feed_all, lambda: exchange.feed(GOOD), exchange.end)}
    assert len(problems) == 1, "failed stays failed, established stays established"
    return problems.pop() or exchange.established


def _problem(call: Callable[[], None]) -> str | None:
    try:
        call()
    except FormatError as error:
        return str(error)
    return None


@given(st.data())
def test_no_cut_of_the_bytes_matters(data: st.DataObject) -> None:
    whole = bytearray(data.draw(st.sampled_from([GOOD, GOOD + b"more", GOOD[:-3], PROTOCOL * 2, GOOD[:40] + GOOD])))
    for _ in range(data.draw(st.integers(0, 2))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    pieces = [bytes(whole[a:b]) for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert outcome(pieces) == outcome([bytes(whole)])
