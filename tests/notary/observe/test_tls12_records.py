"""Records of TLS 1.2 in a recording: none away, twice or elsewhere; what comes late, and the change of ciphers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notary.observe import wire
from notary.observe.keys import certificate_of, key_of
from notary.observe.openssl import ANSWER, REQUEST, by_openssl
from notary.observe.worlds import HOST, LIMITS, judge, read, refused
from notary.observe.worlds12 import ECDSA_128, ECDSA_CHACHA, HELLO_REQUEST, Changed, Tls12, talked
from pluto_notary.observe.errors import ObserveError
from pluto_notary.observe.opened import opened
from pluto_notary.observe.recording import Recording

SESSION = talked(ticket=bytes(4) + wire.vec(2, b"ticket"), asks=True)


@pytest.fixture(scope="module", params=[ECDSA_128, ECDSA_CHACHA])
def plain(request: Any) -> Changed:
    """A session, never changed in place."""
    made = Changed(by_openssl(request.param))
    assert read(made).site == ANSWER
    return made


@pytest.mark.parametrize("side", ["client", "site"])
def test_no_record_can_be_left_out_doubled_or_exchanged(plain: Changed, side: str) -> None:
    records = getattr(plain, side)
    for at in range(len(records)):
        for changed in (
            records[:at] + records[at + 1 :],
            records[:at] + [records[at]] * 2 + records[at + 1 :],
            records[:at] + records[at + 1 : at + 2] + records[at : at + 1] + records[at + 2 :],
        ):
            if changed == records:
                continue
            made = Changed(plain)
            setattr(made, side, changed)
            if changed == records[:-1]:  # the end alone was left out: then it was not said
                assert read(made).closed == (side == "client")
                continue
            with pytest.raises(ObserveError) as caught:
                read(made)
            assert caught.value.code in ("tls", "secret", "unsupported")


@pytest.mark.parametrize("side", ["client", "site"])
def test_weakness_12_no_record_can_be_carried_to_the_other_direction(plain: Changed, side: str) -> None:
    made = Changed(plain)
    made.client.insert(-1, plain.site[-2]) if side == "client" else made.site.insert(-1, plain.client[-2])
    assert "does not open" in refused(made)


def strict(chain: tuple[bytes, ...]) -> Any:
    """A judge that believes one chain."""
    if chain != (certificate_of("p256"),):
        raise ObserveError("certificate", "another")
    return key_of("p256").public_key()


@settings(max_examples=300)
@given(st.booleans(), st.integers(0, 1 << 16), st.integers(0, 7))
def test_no_bit_can_be_changed(of_site: bool, at: int, bit: int) -> None:
    made = [SESSION.recording.client, SESSION.recording.site]
    at %= len(made[of_site])
    changed = made[of_site][at] ^ (1 << bit)
    made[of_site] = made[of_site][:at] + bytes([changed]) + made[of_site][at + 1 :]
    try:
        opened(Recording(*made), SESSION.secret, host=HOST, judge=strict, limits=LIMITS)
    except ObserveError:
        return
    assert (of_site, at) in ((False, 1), (False, 2)), "only the version of the first record says nothing"


@pytest.mark.parametrize("side", ["client", "site"])
def test_weakness_12_a_cut_is_refused_or_says_less_and_no_end(plain: Changed, side: str) -> None:
    whole = b"".join(getattr(plain, side))
    ends = {sum(map(len, getattr(plain, side)[:number])) for number in range(len(getattr(plain, side)) + 1)}
    for cut in sorted({*ends, *(end - 1 for end in ends if end), *range(0, len(whole), 211)} - {len(whole)}):
        made = Recording(whole[:cut], b"".join(plain.site)) if side == "client" else None
        made = made or Recording(b"".join(plain.client), whole[:cut])
        try:
            found = opened(made, plain.secret, host=HOST, judge=judge, limits=LIMITS)
        except ObserveError as error:
            assert error.code in ("tls", "secret")  # noqa: PT017
            continue
        assert cut in ends
        assert ANSWER.startswith(found.site)
        assert found.closed == (side == "client")


def test_a_nonce_is_used_once() -> None:
    made = Tls12()
    made.site.data(b"one")
    made.site.seal(23, b"two", explicit=bytes(7) + b"\1")
    assert "same nonce" in refused(made)
    made = Tls12()
    made.site.seal(23, b"any other will do", explicit=b"anything")
    assert read(made).site == b"any other will do"


def test_records_are_not_larger_than_may_be() -> None:
    for suite in (ECDSA_128, ECDSA_CHACHA):
        made = Tls12(suite=suite)
        made.site.data(bytes(1 << 14))
        assert len(read(made).site) == 1 << 14
        made.site.data(bytes((1 << 14) + 1))
        assert "more than may be" in refused(made)
        made = Tls12(suite=suite)
        made.site.records.append(wire.record(23, bytes(15 if suite == ECDSA_CHACHA else 23)))
        assert "too short" in refused(made)
        made = Tls12(suite=suite)
        made.site.records.append(wire.record(23, bytes((1 << 14) + 257)))
        assert "longer" in refused(made)


def test_a_limit_of_records_that_was_agreed_on_holds_in_its_direction() -> None:
    fields: dict[str, Any] = {"offered": {28: wire.u16(100)}, "agreed": {28: wire.u16(64)}}
    made = Tls12(**fields)
    made.site.data(bytes(100))
    made.client.data(bytes(64))
    assert read(made).site == bytes(100)
    for side, size in (("site", 101), ("client", 65)):
        made = Tls12(**fields)
        getattr(made, side).data(bytes(size))
        assert "record_size_limit" in refused(made)
    for wrong in (wire.u16(63), b"\1", bytes(3)):
        refused(Tls12(offered={28: wire.u16(100)}, agreed={28: wrong}))
        refused(Tls12(offered={28: wrong}, agreed={28: wire.u16(100)}))


def test_empty_data_is_data_and_other_empty_records_are_not() -> None:
    made = Tls12()
    made.site.data(b"")
    assert read(made).site == b""
    for kind in (21, 22):
        made = Tls12()
        made.site.seal(kind, b"")
        refused(made)


# Ends and what comes late --------------------------------------------------------------------------------------------


def test_data_and_ends_are_told_apart() -> None:
    found = read(talked())
    assert (found.client, found.site, found.closed) == (REQUEST, b"HTTP/1.1 200 OK\r\n\r\nthe answer", True)
    made = Tls12()
    made.client.close()
    assert not read(made).closed
    made.site.seal(21, b"\2\0")
    assert read(made).closed


@pytest.mark.parametrize("side", ["client", "site"])
@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (21, b"\1\x64"),  # no_renegotiation
        (21, b"\2\x28"),
        (21, b"\1\x5a"),  # user_canceled
        (21, b"\1"),
        (21, b"\1\0\1\0"),
        (22, HELLO_REQUEST),
        (22, wire.message(1, bytes(40))),
        (22, wire.message(4, bytes(4) + wire.vec(2, b"ticket"))),
        (22, wire.message(20, bytes(12))),
        (22, b"\0"),
        (20, b"\1"),
    ],
)
def test_nothing_but_data_and_an_end_comes_after_the_handshake(side: str, kind: int, content: bytes) -> None:
    made = Tls12()
    getattr(made, side).seal(kind, content)
    refused(made)
    made = talked()
    getattr(made, side).seal(kind, content)
    refused(made)


@pytest.mark.parametrize("side", ["client", "site"])
def test_nothing_comes_after_an_end(side: str) -> None:
    for again in ("data", "close"):
        made = talked()
        getattr(made, side).data(b"") if again == "data" else getattr(made, side).close()
        assert "after close_notify" in refused(made)
    made = talked()
    made.site.records.append(b"\x17")
    refused(made)


@pytest.mark.parametrize("side", ["client", "site"])
@pytest.mark.parametrize("kind", [20, 21, 22, 23])
def test_nothing_without_protection_comes_after_the_handshake(side: str, kind: int) -> None:
    made = talked()
    getattr(made, side).plain(kind, b"\1\0" if kind == 21 else b"\1")
    refused(made)


# The change of ciphers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["client", "site"])
def test_the_change_of_ciphers_comes_once_in_its_place(side: str) -> None:
    def changed(change: Callable[[list[bytes], int], None]) -> Changed:
        made = Changed(talked())
        records = getattr(made, side)
        change(records, next(number for number, one in enumerate(records) if one[0] == 20))
        return made

    assert read(changed(lambda records, at: None)).closed
    for change in (
        lambda records, at: records.pop(at),
        lambda records, at: records.insert(at, records[at]),
        lambda records, at: records.insert(0, records[at]),
        lambda records, at: records.insert(1, records[at]),
        lambda records, at: records.insert(at + 2, records[at]),
        lambda records, at: records.append(records.pop(at)),
        lambda records, at: records.insert(at + 1, records.pop(at)),
        lambda records, at: records.__setitem__(at, wire.record(20, b"\2")),
        lambda records, at: records.__setitem__(at, wire.record(20, b"\1\1")),
        lambda records, at: records.__setitem__(at, wire.record(20, b"")),
        lambda records, at: records.__setitem__(at, wire.record(23, b"\1")),
        lambda records, at: records.insert(at, wire.record(21, b"\1\0")),
    ):
        with pytest.raises(ObserveError) as caught:
            read(changed(change))
        assert caught.value.code in ("tls", "secret")


def followed_by(more: bytes) -> Callable[[bytes], bytes]:
    return lambda same: same + more


@pytest.mark.parametrize(
    "name", ["client_key_exchange", "done", "ticket", "client_hello", "client_finished", "site_finished"]
)
def test_a_message_that_ends_a_flight_ends_its_record(name: str) -> None:
    ticket = bytes(4) + wire.vec(2, b"ticket")
    for behind in (HELLO_REQUEST, b"\0", b"\0\0\0\1"):
        assert "goes on behind" in refused(Tls12(ticket=ticket, change={name: followed_by(behind)}))
