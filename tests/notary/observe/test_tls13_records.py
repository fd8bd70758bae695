"""Records of TLS 1.3 in a recording: none away, twice or elsewhere; alerts, and what comes after the handshake."""

from __future__ import annotations

import pytest

from notary.observe import wire
from notary.observe.worlds import (
    ANSWER,
    HOST,
    LIMITS,
    QUESTION,
    SUITES,
    TO_P256,
    Tls13,
    judge,
    pieces,
    read,
    refusal,
    talked,
)
from pluto_measure.record import replace
from pluto_notary.observe.errors import ObserveError
from pluto_notary.observe.opened import opened


def test_weakness_12_key_updates_of_both_sides() -> None:
    made = Tls13()
    for turn in range(5):
        made.client.data(b"question %d\n" % turn, zeros=turn)
        made.client.update(b"\1")
        made.site.data(b"answer %d\n" % turn, zeros=100 * turn)
        made.site.update()
        made.site.ticket()
    seen = read(made)
    assert (seen.client, seen.site, seen.closed) == (made.client.said, made.site.said, False)


def test_largest_and_smallest_records() -> None:
    made = Tls13()
    made.site.data(bytes(1 << 14))
    made.site.data(b"")
    made.site.data(b"x", zeros=(1 << 14) - 1)
    made.site.data(b"\0\0")
    assert read(made).site == made.site.said


def test_record_size_limit() -> None:
    limits = {"offered": {28: wire.u16(500)}, "agreed": {28: wire.u16(64)}, "cut": pieces(63)}
    made = Tls13(**limits)  # type: ignore[arg-type]
    made.client.data(bytes(60), zeros=3)
    made.site.data(bytes(499))
    assert read(made).site == made.site.said
    made.client.data(bytes(60), zeros=4)
    assert refusal(made) == ("tls", "a record holds more than the other side's record_size_limit")
    made = Tls13(**limits)  # type: ignore[arg-type]
    made.site.data(bytes(500))
    assert refusal(made) == ("tls", "a record holds more than the other side's record_size_limit")


def test_oversize() -> None:
    for content, zeros in ((bytes((1 << 14) + 1), 0), (b"x", 1 << 14)):
        made = Tls13()
        made.site.data(content, zeros)
        assert refusal(made) == ("tls", "a record holds more than may be")
    made = Tls13()
    made.site.data(bytes((1 << 14) + 240))
    assert len(made.site.records[-1]) == 5 + (1 << 14) + 256 + 1
    assert refusal(made) == ("tls", "a record is longer than may be")
    assert refusal(Tls13(hello_cut=lambda _: [bytes((1 << 14) + 1)]))[0] == "tls"


def test_short_record() -> None:
    for size in range(18):
        made = Tls13()
        made.client.records.append(wire.record(23, bytes(size)))
        assert refusal(made) == ("tls", "a record does not open with its key")


def test_types_inside() -> None:
    for kind in (20, 24, 255):
        made = Tls13()
        made.site.seal(kind, b"x")
        assert refusal(made) == ("tls", "a record has a type inside that does not exist")
    made = Tls13()
    made.site.seal(0, b"", zeros=40)
    assert refusal(made) == ("tls", "a record has no type inside")


# Lost, repeated, moved -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["client", "site"])
def test_weakness_12_cut_between_records_and_nowhere_else(side: str) -> None:
    """Behind the handshake a direction may end with any record; then nobody says that it was all."""
    made = talked()
    whole, records = getattr(made.recording, side), getattr(made, side).records
    ends = {len(b"".join(records[:count])) for count in range(3, len(records))}
    for end in range(len(whole)):
        cut = replace(made.recording, **{side: whole[:end]})
        if end in ends:
            seen = opened(cut, made.secret, host=HOST, judge=judge, limits=LIMITS)
            assert QUESTION.startswith(seen.client)
            assert ANSWER.startswith(seen.site)
            assert seen.closed == (side == "client")
        else:
            with pytest.raises(ObserveError):
                opened(cut, made.secret, host=HOST, judge=judge, limits=LIMITS)


@pytest.mark.parametrize("side", ["client", "site"])
@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("retry", [None, TO_P256])
def test_weakness_12_records_dropped_repeated_swapped(side: str, suite: int, retry: dict[int, bytes] | None) -> None:
    """No record but a change_cipher_spec, or the last, can be away; none can come twice or at another's place."""
    count = len(getattr(talked(suite=suite, retry=retry), side).records)
    for at in range(count):
        for act in ("drop", "repeat", "swap"):
            made = talked(suite=suite, retry=retry)
            records = getattr(made, side).records
            dummy = records[at][0] == 20
            if act == "drop":
                del records[at]
            elif act == "repeat":
                records.insert(at, records[at])
            elif at + 1 < count:
                records[at], records[at + 1] = records[at + 1], records[at]
                dummy = dummy or records[at][0] == 20
            if dummy or (act == "drop" and at == count - 1) or (act == "swap" and at == count - 1):
                continue
            assert refusal(made)[0] in ("tls", "secret"), (at, act)


@pytest.mark.parametrize("side", ["client", "site"])
def test_weakness_12_records_of_the_other_direction(side: str) -> None:
    made = talked()
    for at in range(3, 5):
        mixed = talked()
        getattr(mixed, side).records[at] = (made.site if side == "client" else made.client).records[at]
        assert refusal(mixed) == ("tls", "a record does not open with its key")


@pytest.mark.parametrize("at", [2, 3, 4])
def test_tampered_record_of_the_client(at: int) -> None:
    """The site's records have opened by then: the secret is the right one."""
    made = talked()
    made.client.records[at] = made.client.records[at][:-1] + bytes([made.client.records[at][-1] ^ 1])
    assert refusal(made) == ("tls", "a record does not open with its key")


def test_record_of_another_session() -> None:
    made, other = talked(), talked(suite=0x1303)
    made.site.records[3] = other.site.records[3]
    assert refusal(made) == ("tls", "a record does not open with its key")


# Alerts, and what is not protected -----------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["client", "site"])
def test_weakness_12_nothing_after_close_notify(side: str) -> None:
    for late in ("data", "close", "update"):
        made = talked()
        saying = getattr(made, side)
        getattr(saying, late)(*([b"more"] if late == "data" else []))
        assert refusal(made) == ("tls", "there is a record after close_notify")
    made = talked()
    made.site.records.append(b"\x17\3\3\0\x20half of it")
    assert refusal(made) == ("tls", "a direction ends within a record")


@pytest.mark.parametrize("side", ["client", "site"])
@pytest.mark.parametrize("alert", [b"\2\x14", b"\1\x5a", b"\2\x28", b"\1", b"", b"\1\0\0", b"\3\0"])
def test_alerts(side: str, alert: bytes) -> None:
    made = Tls13()
    getattr(made, side).seal(21, alert)
    assert refusal(made) == ("tls", "there is an alert other than close_notify")


@pytest.mark.parametrize("side", ["client", "site"])
def test_alerts_in_the_handshake(side: str) -> None:
    for at in (0, 1, 2):
        made = talked()
        getattr(made, side).records.insert(at, wire.record(21, b"\2\x28"))
        assert refusal(made)[0] == "tls"


def test_protected_alert_in_the_handshake() -> None:
    made = Tls13()
    made.site.use(made.schedule.derive(made.secret, "s hs traffic", made.transcript[: _hellos(made)]))
    del made.site.records[2:]
    made.site.seal(21, b"\2\x28")
    assert refusal(made) == ("tls", "there is something else than the handshake before its end")


def _hellos(made: Tls13) -> int:
    """How long the hellos are in the transcript."""
    return sum(len(side.records[0]) - 5 for side in (made.client, made.site))


def test_unprotected_where_protection_is_due() -> None:
    made = talked()
    made.site.records[2] = wire.record(22, wire.message(8, b"\0\0"))
    assert refusal(made) == ("tls", "a record is not protected where it has to be")
    for late in (wire.record(22, b"\4"), wire.record(21, b"\1\0"), wire.record(20, b"\1")):
        made = talked()
        made.site.records.insert(4, late)
        assert refusal(made) == ("tls", "a record is not protected where it has to be")


@pytest.mark.parametrize("side", ["client", "site"])
@pytest.mark.parametrize(
    ("at", "content", "problem"),
    [
        (0, b"\1", "a change_cipher_spec stands where none may be"),
        (1, b"\2", "a change_cipher_spec is not the one byte that it is"),
        (1, b"\1\1", "a change_cipher_spec is not the one byte that it is"),
        (1, b"", "a record without protection is empty or too long"),
        (3, b"\1", "a record is not protected where it has to be"),
    ],
)
def test_change_cipher_spec(side: str, at: int, content: bytes, problem: str) -> None:
    made = talked(hello_version=b"\3\3")
    getattr(made, side).records.insert(at, wire.record(20, content))
    code, said = refusal(made)
    if side == "site" and at == 0:  # the version is read off the first record
        problem = "the site's direction does not begin with its hello"
    assert (code, said) == ("tls", problem)


def test_change_cipher_spec_within_a_message_and_too_often() -> None:
    made = talked(cut=pieces(100))
    made.site.records.insert(3, wire.record(20, b"\1"))
    assert refusal(made) == ("tls", "a change_cipher_spec stands where none may be")
    made = talked()
    made.site.records[1:2] = [wire.record(20, b"\1")] * LIMITS.idle_records
    assert read(made).site == ANSWER
    made.site.records.insert(1, wire.record(20, b"\1"))
    assert refusal(made) == ("tls", "a change_cipher_spec stands where none may be")


# After the handshake -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "messages", "problem"),
    [
        ("client", [wire.message(24, b"\2")], "there is a message after the handshake that may not be"),
        ("client", [wire.message(24, b"")], "there is a message after the handshake that may not be"),
        ("site", [wire.message(24, b"\0\0")], "there is a message after the handshake that may not be"),
        ("client", [wire.message(4, bytes(14))], "there is a message after the handshake that may not be"),
        ("site", [wire.message(13, b"\0\0\0")], "there is a message after the handshake that may not be"),
        ("site", [wire.message(0, b"")], "there is a message after the handshake that may not be"),
        ("site", [wire.message(5, b"\0")], "there is a message after the handshake that may not be"),
        ("client", [wire.message(1, b"")], "there is a message after the handshake that may not be"),
        ("site", [wire.message(4, bytes(13))], "a session ticket is malformed"),
        ("site", [wire.message(4, bytes(9) + b"\0\0\0\0")], "a session ticket is malformed"),
        ("site", [wire.message(4, bytes(9) + b"\0\1t\0\0\0")], "a session ticket is malformed"),
        (
            "site",
            [wire.message(24, b"\0"), wire.message(24, b"\0")],
            "a record goes on behind a message that has to end it",
        ),
        ("site", [wire.message(24, b"\0"), b"\4"], "a record goes on behind a message that has to end it"),
        ("client", [b"\x18\0\0"], "a direction ends within a message of the handshake"),
        ("client", [b""], "a record of the handshake is empty"),
    ],
)
def test_refused_after_the_handshake(side: str, messages: list[bytes], problem: str) -> None:
    made = Tls13()
    getattr(made, side).handshake(*messages)
    assert refusal(made) == ("tls", problem)


def test_message_is_not_interrupted() -> None:
    for kind, content in ((23, b"data"), (21, b"\1\0")):
        made = Tls13()
        made.site.handshake(b"\4\0")
        made.site.seal(kind, content)
        assert refusal(made) == ("tls", "a message of the handshake is interrupted")


def test_ticket_over_two_records() -> None:
    made = Tls13()
    ticket = wire.message(4, bytes(8) + b"\0" + wire.vec(2, b"t") + b"\0\0")
    made.site.handshake(ticket[:9])
    made.site.handshake(ticket[9:] + ticket)
    made.site.data(b"data")
    assert read(made).site == b"data"
