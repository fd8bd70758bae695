"""Records of one direction: which bytes are some, and how many there may be."""

from __future__ import annotations

import pytest

from notary.observe import wire
from pluto_measure.record import replace
from pluto_notary.observe.errors import OBSERVE_CODES, ObserveError
from pluto_notary.observe.limits import RECORD_BYTES, ObserveLimits
from pluto_notary.observe.records import APPLICATION_DATA, HANDSHAKE, Record, check_alert, plain, split

LIMITS = ObserveLimits()
HELLO = wire.record(22, b"hello", b"\3\1")
DATA = wire.record(23, bytes(100))


def refusal(data: bytes, *, client: bool = False, limits: ObserveLimits = LIMITS) -> tuple[str, str]:
    with pytest.raises(ObserveError) as caught:
        split(data, limits, client=client)
    return caught.value.code, caught.value.problem


def test_records_are_taken_apart() -> None:
    found = split(HELLO + DATA + wire.record(23, b""), LIMITS, client=True)
    assert [(one.kind, one.head, bytes(one.body)) for one in found] == [
        (HANDSHAKE, b"\x16\3\1\0\5", b"hello"),
        (APPLICATION_DATA, b"\x17\3\3\0\x64", bytes(100)),
        (APPLICATION_DATA, b"\x17\3\3\0\0", b""),
    ]
    assert split(b"", LIMITS, client=True) == []


def test_bodies_are_not_copied() -> None:
    data = DATA * 3
    assert all(one.body.obj is data for one in split(data, LIMITS, client=False))


@pytest.mark.parametrize("kind", [0, 19, 24, 25, 128, 255])
def test_type_that_does_not_exist(kind: int) -> None:
    assert refusal(wire.record(kind, b"x")) == ("tls", "a record has a type that does not exist")


@pytest.mark.parametrize("version", [b"\3\0", b"\3\1", b"\3\2", b"\3\4", b"\2\3", b"\0\0"])
def test_version_of_the_site(version: bytes) -> None:
    assert refusal(wire.record(22, b"x", version)) == ("tls", "a record has another version")


@pytest.mark.parametrize("version", [b"\3\0", b"\3\2", b"\3\4", b"\0\0"])
def test_version_of_the_client(version: bytes) -> None:
    assert refusal(wire.record(22, b"x", version), client=True) == ("tls", "a record has another version")


def test_old_version_is_for_the_first_hello_alone() -> None:
    assert len(split(HELLO + HELLO + DATA, LIMITS, client=True)) == 3
    for data in (DATA + HELLO, wire.record(22, b"x") + HELLO, HELLO + wire.record(23, b"x", b"\3\1")):
        assert refusal(data, client=True) == ("tls", "a record has another version")


def test_longest() -> None:
    longest = wire.record(23, bytes((1 << 14) + 256))
    assert len(split(longest, LIMITS, client=True)) == 1
    assert refusal(wire.record(23, bytes((1 << 14) + 257))) == ("tls", "a record is longer than may be")
    assert refusal(b"\x17\3\3\xff\xff") == ("tls", "a record is longer than may be")  # before its body came


@pytest.mark.parametrize("client", [True, False])
def test_half_a_record_at_the_end(client: bool) -> None:
    for cut in range(1, len(DATA)):
        assert refusal(DATA + DATA[:cut], client=client) == ("tls", "a direction ends within a record")
        assert len(split(DATA + DATA[:cut], LIMITS, client=client, part=True)) == 1


def test_how_many() -> None:
    few = replace(LIMITS, records=3)
    tiny = wire.record(23, b"x")
    assert len(split(tiny * 3, few, client=True)) == 3
    assert refusal(tiny * 4, limits=few) == ("size", "there are too many records for what they carry")
    full = wire.record(23, bytes(RECORD_BYTES))
    assert len(split(full * 100, few, client=True)) == 100


@pytest.mark.parametrize(
    ("kind", "body", "problem"),
    [
        (23, b"x", "there is application data before the keys"),
        (22, b"", "a record without protection is empty or too long"),
        (21, b"", "a record without protection is empty or too long"),
        (22, bytes((1 << 14) + 1), "a record without protection is empty or too long"),
        (20, b"\0", "a change_cipher_spec is not the one byte that it is"),
        (20, b"\1\1", "a change_cipher_spec is not the one byte that it is"),
    ],
)
def test_refused_without_protection(kind: int, body: bytes, problem: str) -> None:
    with pytest.raises(ObserveError) as caught:
        plain(Record(kind, b"", memoryview(body)))
    assert (caught.value.code, caught.value.problem) == ("tls", problem)


def test_without_protection() -> None:
    for kind, body in ((22, bytes(1 << 14)), (20, b"\1"), (21, b"\1\0")):
        assert plain(Record(kind, b"", memoryview(body))) == body


def test_close_notify_of_either_level_is_no_error() -> None:
    check_alert(b"\1\0")
    check_alert(memoryview(b"\2\0"))
    for other in (b"\1\x5a", b"\2\x14", b"", b"\1", b"\1\0\0", b"\0\0"):
        with pytest.raises(ObserveError, match="an alert other than close_notify"):
            check_alert(other)


def test_errors_have_their_codes() -> None:
    for code in OBSERVE_CODES:
        assert ObserveError(code, "why").fields() == {"code": code, "problem": "why"}
    with pytest.raises(AssertionError):
        ObserveError("else", "why")
