"""One operator's session: samples that hold the truth, and everything that is no answer to the question asked."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pluto_measure.record import replace
from pluto_notary.trusted_time import packet as ntp
from pluto_notary.trusted_time.agree import Rules, Sample
from pluto_notary.trusted_time.errors import SampleError
from pluto_notary.trusted_time.key_exchange import KeyExchange, Keys
from pluto_notary.trusted_time.nts import Association
from simulators.notary.time_servers import Authority, TimeServer

UNIX = 1.79e9  # true Unix time when the local clock shows 0
RULES = Rules(built_at=1_780_000_000)
ISSUED = Authority(UNIX - 1e6, UNIX + 1e6).issue("time.test", UNIX - 1e6, UNIX + 1e6)
KEYS = Keys(b"c" * 32, b"s" * 32)


def server(**wrong: object) -> TimeServer:
    return TimeServer("time.test", *ISSUED, **wrong)  # type: ignore[arg-type]


def joined(peer: TimeServer, cookies: int = 8) -> Association:
    return Association(KEYS, [peer.cookie(KEYS) for _ in range(cookies)])


def asked(association: Association, peer: TimeServer, now: float = 100.0) -> bytes:
    """A request's only answer, which left the server at local time `now` + 0.02."""
    (answer,) = peer.answer(association.request(os.urandom, now), UNIX + now + 0.02)
    return answer


def sampled(peer: TimeServer, rules: Rules = RULES) -> Sample | None:
    association = joined(peer)
    return association.receive(asked(association, peer), 3, rules, 100.05)


def test_a_recorded_session_with_chronyd_is_written_and_read_to_the_byte() -> None:
    vector = json.loads((Path(__file__).parents[2] / "vectors/notary/time/chronyd.json").read_text())
    exchange = KeyExchange()
    exchange.feed(bytes.fromhex(vector["keyExchange"]))
    assert exchange.established is not None
    assert len(exchange.established.cookies) == 8
    calls = iter(range(1, 100))

    def random(size: int) -> bytes:
        return hashlib.sha512(str(next(calls)).encode()).digest()[:size]

    keys = Keys(bytes.fromhex(vector["clientToServer"]), bytes.fromhex(vector["serverToClient"]))
    association = Association(keys, exchange.established.cookies[: vector["cookiesLeft"]])
    assert association.request(random, vector["sentAt"]).hex() == vector["request"]
    sample = association.receive(bytes.fromhex(vector["response"]), 0, RULES, vector["receivedAt"])
    assert sample is not None
    assert (sample.low, sample.high) == pytest.approx((vector["low"], vector["high"]), abs=1e-5)


def test_an_honest_answer_is_a_sample_that_holds_the_truth() -> None:
    sample = sampled(server())
    assert sample is not None
    assert (sample.operator, sample.at) == (3, 100.05)
    assert sample.low <= UNIX <= sample.high
    assert sample.high - sample.low == pytest.approx(0.05 + 0.005 + 2 * 0.002, abs=1e-4)


@given(st.floats(0, 0.4), st.floats(0, 0.4), st.floats(0, 0.2), st.floats(-200, 200), st.floats(-1, 1))
@example(out=0.0, back=0.4, hold=0.0, drift=200.0, off=0.0)
@example(out=0.4, back=0.0, hold=0.2, drift=-200.0, off=0.0)
def test_however_unequal_the_ways_are_the_truth_is_inside(
    out: float, back: float, hold: float, drift: float, off: float
) -> None:
    vague = {"root_delay": abs(off) * 0.005, "root_dispersion": abs(off) * 0.002 + 2e-5}
    peer = server(lie=off * 0.0045, hold=hold, **vague)
    association = joined(peer)
    rate = 1 + drift / 1e6
    (answer,) = peer.answer(association.request(os.urandom, 100.0), UNIX + (100.0 + out) * rate)
    now = 100.0 + out + back + hold / rate
    sample = association.receive(answer, 0, RULES, now)
    assert sample is not None
    assert sample.low <= UNIX + now * rate - now <= sample.high


def test_every_request_has_a_cookie_of_its_own_and_none_runs_out() -> None:
    peer = server()
    association = joined(peer)
    for turn in range(50):
        assert association.receive(asked(association, peer, turn), 0, RULES, turn + 0.05) is not None
    assert len(set(peer.cookies_used)) == 50
    nonces = {ntp.parse(packet)[1][-1].body for packet in peer.requests}
    assert len(nonces) == 50


def test_what_is_lost_is_asked_for_again_by_placeholders() -> None:
    peer = server()
    association = joined(peer)
    sizes = []
    for turn in range(6):
        packet = association.request(os.urandom, turn)
        sizes.append([one.kind for one in ntp.parse(packet)[1]].count(ntp.PLACEHOLDER))
        assert len(packet) <= 1280
    assert sizes == [0, 1, 2, 3, 4, 5]
    (answer,) = peer.answer(packet, UNIX + 5.02)
    assert association.receive(answer, 0, RULES, 5.05) is not None
    assert [one.kind for one in ntp.parse(association.request(os.urandom, 6.0))[1]].count(ntp.PLACEHOLDER) == 0


def test_without_a_cookie_it_is_of_no_use() -> None:
    peer = server()
    association = joined(peer, cookies=1)
    association.request(os.urandom, 0.0)
    assert not association.usable


def test_an_answer_counts_once() -> None:
    peer = server()
    association = joined(peer)
    answer = asked(association, peer)
    assert association.receive(answer, 0, RULES, 100.05) is not None
    assert association.receive(answer, 0, RULES, 100.06) is None
    association.request(os.urandom, 101.0)
    assert association.receive(answer, 0, RULES, 101.05) is None, "a replay is no answer to another request"


def test_nobody_is_listened_to_who_was_not_asked() -> None:
    peer = server()
    assert joined(peer).receive(asked(joined(peer), peer), 0, RULES, 100.05) is None


@given(st.data())
@settings(max_examples=200)
def test_no_changed_bit_is_believed_and_none_ends_the_wait(data: st.DataObject) -> None:
    peer = server()
    association = joined(peer)
    answer = asked(association, peer)
    position = data.draw(st.integers(0, 8 * len(answer) - 1))
    changed = bytearray(answer)
    changed[position // 8] ^= 1 << position % 8
    assert association.receive(bytes(changed), 0, RULES, 100.05) is None
    assert association.receive(answer[: data.draw(st.integers(0, len(answer) - 1))], 0, RULES, 100.05) is None
    assert association.receive(data.draw(st.binary(max_size=200)), 0, RULES, 100.05) is None
    assert association.receive(answer, 0, RULES, 100.05) is not None


def forgeries(association: Association, peer: TimeServer) -> Iterator[tuple[str, bytes]]:
    packet = association.request(os.urandom, 100.0)
    (answer,) = peer.answer(packet, UNIX + 100.02)
    header, fields = ntp.parse(answer)
    request = ntp.parse(packet)[0]
    plain = answer[: fields[-1].start]
    yield "without authenticator", plain
    yield "with another's key", ntp.sealed(plain, b"x" * 32, bytes(16))
    yield "with the client's key", ntp.sealed(plain, KEYS.client_to_server, bytes(16))
    yield "the request itself", packet
    other = plain[:24] + bytes(8) + plain[32:]
    yield "to another request's transmit", ntp.sealed(other, KEYS.server_to_client, bytes(16))
    wrong = plain[:48] + ntp.field(ntp.UNIQUE_IDENTIFIER, bytes(32))
    yield "to another request's identifier", ntp.sealed(wrong, KEYS.server_to_client, bytes(16))
    twice = plain + ntp.field(ntp.UNIQUE_IDENTIFIER, fields[0].body)
    yield "with two identifiers", ntp.sealed(twice, KEYS.server_to_client, bytes(16))
    yield "without identifier", ntp.sealed(plain[:48], KEYS.server_to_client, bytes(16))
    yield (
        "identifier behind the authenticator",
        (ntp.sealed(plain[:48], KEYS.server_to_client, bytes(16)) + ntp.field(ntp.UNIQUE_IDENTIFIER, fields[0].body)),
    )
    version = bytes([3 << 3 | 4]) + plain[1:]
    yield "of another version", ntp.sealed(version, KEYS.server_to_client, bytes(16))
    broadcast = bytes([4 << 3 | 5]) + plain[1:]
    yield "of another mode", ntp.sealed(broadcast, KEYS.server_to_client, bytes(16))
    garbage = ntp.sealed(plain, KEYS.server_to_client, bytes(16), b"no extension field")
    yield "with garbage encrypted", garbage
    assert header.origin == request.transmit


def test_forgeries_are_passed_over() -> None:
    peer = server()
    association = joined(peer)
    for name, packet in forgeries(association, peer):
        assert association.receive(packet, 0, RULES, 100.05) is None, name


def test_a_cookie_that_the_server_forgot_is_told_and_not_believed() -> None:
    peer = server()
    association = joined(peer)
    peer.forget()
    assert association.receive(asked(association, peer), 0, RULES, 100.05) is None
    assert association.rejected, "so that keys are established anew when no other answer comes"
    assert association.usable


def test_a_forged_rejection_is_forgotten_when_the_answer_comes() -> None:
    peer = server()
    association = joined(peer)
    answer = asked(association, peer)
    forged = bytes([0x24, 0]) + answer[2:12] + b"NTSN" + answer[16 : 48 + 36]
    assert association.receive(forged, 0, RULES, 100.04) is None
    assert association.rejected
    assert association.receive(answer, 0, RULES, 100.05) is not None
    assert not association.rejected


@pytest.mark.parametrize(("code", "usable"), [(b"RATE", True), (b"DENY", False), (b"RSTR", False), (b"XXXX", True)])
def test_an_authentic_kiss_is_obeyed(code: bytes, usable: bool) -> None:
    peer = server(kiss=code)
    association = joined(peer)
    with pytest.raises(SampleError) as refused:
        association.receive(asked(association, peer), 0, RULES, 100.05)
    assert refused.value.code == "kiss"
    assert association.usable is usable


def test_a_kiss_from_nobody_is_not() -> None:
    peer = server()
    association = joined(peer)
    answer = asked(association, peer)
    forged = bytes([0x24, 0]) + answer[2:12] + b"DENY" + answer[16 : 48 + 36]
    assert association.receive(forged, 0, RULES, 100.04) is None
    assert association.receive(answer, 0, RULES, 100.05) is not None


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"leap": 3}, "unsynchronised"),
        ({"stratum": 16}, "unsynchronised"),
        ({"stratum": 255}, "unsynchronised"),
        ({"root_dispersion": 0.6}, "width"),
        ({"root_delay": 1.5}, "width"),
        ({"hold": 1.0}, "width"),  # longer than the request was away
        ({"hold": -0.5}, "width"),
        ({"lie": -1e8}, "epoch"),
    ],
)
def test_a_server_without_a_time_of_worth(wrong: dict[str, float], code: str) -> None:
    with pytest.raises(SampleError) as refused:
        sampled(server(**wrong))
    assert refused.value.code == code


def test_an_answer_that_took_too_long_says_nothing() -> None:
    peer = server()
    association = joined(peer)
    with pytest.raises(SampleError, match="width"):
        association.receive(asked(association, peer), 0, RULES, 101.1)
    assert association.receive(asked(association, peer), 0, replace(RULES, sample_width=9.0), 101.1) is not None


def test_timestamps_of_nothing_are_no_time() -> None:
    peer = server(lie=-UNIX - 100.02 - 2_208_988_800)  # 0 in NTP's first era
    with pytest.raises(SampleError, match="unsynchronised"):
        sampled(peer)
