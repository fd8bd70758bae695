"""NTP packets and their extension fields: bytes, eras, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluto_measure.errors import FormatError, VerificationError
from pluto_notary.trusted_time import packet as ntp

HEADER = bytes.fromhex("240106ec" + "00000148" + "00000083" + "47505300" + "ee" * 8 + "01" * 8 + "02" * 8 + "03" * 8)
TIME_2026 = 1_790_000_000


def test_a_header_is_read_as_the_specification_lays_it_out() -> None:
    header, fields = ntp.parse(HEADER)
    assert fields == ()
    assert (header.leap, header.version, header.mode, header.stratum) == (0, 4, 4, 1)
    assert header.precision == 2**-20
    assert header.root_delay == pytest.approx(0.005, abs=1e-4)
    assert header.root_dispersion == pytest.approx(0.002, abs=1e-4)
    assert header.reference == b"GPS\0"
    assert (header.origin, header.receive, header.transmit) == tuple(0x0101010101010101 * n for n in (1, 2, 3))


def test_a_request_tells_nothing_of_the_client() -> None:
    assert ntp.client_header(0xA1A2A3A4A5A6A7A8).hex() == "23" + "00" * 39 + "a1a2a3a4a5a6a7a8"


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        (b"\1\4\0\x0c" + bytes(8), "12 bytes"),
        (b"\1\4\0\x12" + bytes(14), "18 bytes"),
        (b"\1\4\0\0" + bytes(12), "0 bytes"),
        (b"\1\4\0\x20" + bytes(12), "needs 28"),
        (b"\1\4", "needs 2"),
        (bytes(20), "0 bytes"),  # a MAC of the old kind
    ],
)
def test_fields_of_a_wrong_length_are_refused(fields: bytes, problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        ntp.parse(HEADER + fields)


def test_too_much_and_too_little_are_refused() -> None:
    with pytest.raises(FormatError):
        ntp.parse(HEADER + ntp.field(0x0104, bytes(8192)))
    for size in range(48):
        with pytest.raises(FormatError):
            ntp.parse(HEADER[:size])


def test_nothing_behind_the_authenticator_is_read() -> None:
    packet = ntp.sealed(HEADER, bytes(32), bytes(16))
    assert ntp.parse(packet + ntp.field(ntp.COOKIE, bytes(100)))[1] == ntp.parse(packet)[1]
    assert ntp.parse(packet + b"x")[1] == ntp.parse(packet)[1]


@given(st.binary(max_size=100).map(lambda body: body + bytes(-len(body) % 4)), st.binary(min_size=32, max_size=32))
def test_what_is_sealed_is_opened_and_belongs_to_its_packet(body: bytes, key: bytes) -> None:
    inside = ntp.field(ntp.COOKIE, body)
    packet = ntp.sealed(HEADER + ntp.field(ntp.UNIQUE_IDENTIFIER, bytes(32)), key, bytes(16), inside)
    _, fields = ntp.parse(packet)
    assert [one.kind for one in fields] == [ntp.UNIQUE_IDENTIFIER, ntp.AUTHENTICATOR]
    (cookie,) = ntp.opened(packet, fields[-1], key)
    assert cookie.body == body.ljust(12, b"\0")
    for changed in (0, 20, 60):
        other = bytearray(packet)
        other[changed] ^= 1
        with pytest.raises(VerificationError):
            ntp.opened(bytes(other), fields[-1], key)


@pytest.mark.parametrize("body", [b"\0\0\0\x10" + bytes(16), b"\0\x10\0\x20" + bytes(16), b"\xff\xff\0\0" + bytes(12)])
def test_an_authenticator_whose_lengths_lie_is_refused(body: bytes) -> None:
    with pytest.raises(FormatError):
        ntp.opened(HEADER, ntp.Field(ntp.AUTHENTICATOR, body, 48), bytes(32))


def test_known_timestamps() -> None:
    assert ntp.unix_seconds(2_208_988_800 << 32, 0) == 0
    assert ntp.unix_seconds(0xDA6C4E80_80000000, 1_460_000_000) == 1_455_542_272.5  # 2016-02-15 13:17:52
    assert ntp.unix_seconds(0, TIME_2026) == 2_085_978_496  # 2036-02-07 06:28:16, where era 1 begins


@given(st.floats(-2e9, 2e9), st.integers(0, 1 << 35))
def test_the_era_is_the_one_that_comes_near(off: float, near: int) -> None:
    assert ntp.unix_seconds(ntp.ntp_timestamp(near + off), near) == pytest.approx(near + off, abs=1e-5)
