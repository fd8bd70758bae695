"""Google's launch endorsement: messages of our own encoder, what is passed over, and what is refused."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.errors import FormatError
from pluto_measure.formats import endorsement
from pluto_measure.formats.endorsement import EndorsedMrtd, Endorsement
from simulators.endorsements import Field, bytes_field, fixed32, fixed64, message, number, varint

GIB = 1 << 30
FIRST, SECOND, THIRD = b"\x11" * 48, b"\x22" * 48, b"\x33" * 48
DIGEST = b"\xdd" * 48


def measurement(mrtd: bytes = FIRST, ram_gib: int = 0, early: int = 0) -> bytes:
    """As the form has it, zeros are left out."""
    return message(
        *([number(1, ram_gib)] if ram_gib else []),
        *([number(2, early)] if early else []),
        bytes_field(3, mrtd),
    )


def tdx(*measurements: bytes, svn: int = 2) -> bytes:
    return message(number(1, svn), *(bytes_field(2, item) for item in measurements))


def golden(tdx_message: bytes | None = None, digest: bytes = DIGEST, *more: Field) -> bytes:
    return message(
        bytes_field(1, message(number(1, 1_700_000_000))),  # timestamp
        number(2, 123_456_789),
        bytes_field(3, b"commit"),
        bytes_field(4, b"certificate"),
        bytes_field(5, digest),
        bytes_field(6, b"bundle"),
        bytes_field(7, message(number(1, 1))),  # sev_snp
        bytes_field(8, tdx(measurement()) if tdx_message is None else tdx_message),
        *more,
    )


def whole(inner: bytes | None = None, *more: Field) -> bytes:
    return message(bytes_field(1, golden() if inner is None else inner), bytes_field(2, b"signature"), *more)


EXPECTED = Endorsement(
    golden=golden(),
    signature=b"signature",
    certificate=b"certificate",
    ca_bundle=b"bundle",
    timestamp=datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC),
    firmware_digest=DIGEST,
    cl_spec=123_456_789,
    svn=2,
    mrtds=(EndorsedMrtd(0, False, FIRST),),
)


def refused(data: bytes, problem: str) -> FormatError:
    with pytest.raises(FormatError, match=problem) as caught:
        endorsement.parse(data)
    assert caught.value.offset is not None
    assert 0 <= caught.value.offset <= len(data)
    return caught.value


def test_an_endorsement_of_one_mrtd() -> None:
    assert endorsement.parse(whole()) == EXPECTED


def test_the_bytes_that_the_signature_covers_are_kept() -> None:
    inner = golden(None, DIGEST, number(1000, 1))
    assert endorsement.parse(whole(inner)).golden == inner


def test_old_endorsements_have_an_mrtd_for_each_size_of_memory() -> None:
    several = tdx(measurement(FIRST, 16), measurement(SECOND, 16, 1), measurement(THIRD, 32), svn=1)
    parsed = endorsement.parse(whole(golden(several)))
    assert parsed.mrtds == (
        EndorsedMrtd(16, False, FIRST),
        EndorsedMrtd(16, True, SECOND),
        EndorsedMrtd(32, False, THIRD),
    )
    assert parsed.of_memory(16 * GIB) == (FIRST, SECOND)
    assert parsed.of_memory(32 * GIB) == (THIRD,)
    assert parsed.of_memory(88 * GIB) == ()
    assert parsed.of_memory(16 * GIB + 4096) == ()
    assert parsed.of_memory(0) == ()


def test_an_mrtd_for_any_size_holds_for_each_and_none_is_named_twice() -> None:
    mrtds = (EndorsedMrtd(0, False, FIRST), EndorsedMrtd(0, True, FIRST), EndorsedMrtd(32, False, SECOND))
    both = replace(EXPECTED, mrtds=mrtds)
    assert both.of_memory(16 * GIB) == (FIRST,)
    assert both.of_memory(32 * GIB) == (FIRST, SECOND)


unknown = st.lists(
    st.one_of(
        st.builds(number, st.integers(100, 1 << 28), st.integers(0, (1 << 64) - 1)),
        st.builds(bytes_field, st.integers(100, 1 << 28), st.binary(max_size=20)),
        st.builds(fixed32, st.integers(100, 1 << 28), st.integers(0, (1 << 32) - 1)),
        st.builds(fixed64, st.integers(100, 1 << 28), st.integers(0, (1 << 64) - 1)),
    ),
    max_size=4,
)


@settings(max_examples=60, deadline=None)
@given(unknown, unknown, unknown, unknown)
def test_unknown_fields_are_passed_over(
    outer: list[Field], inner: list[Field], of_tdx: list[Field], of_one: list[Field]
) -> None:
    one = message(*of_one, bytes_field(3, FIRST))
    middle = golden(message(*of_tdx, number(1, 2), bytes_field(2, one)), DIGEST, *inner)
    assert endorsement.parse(whole(middle, *outer)) == replace(EXPECTED, golden=middle)


@settings(max_examples=60, deadline=None)
@given(st.permutations(range(8)))
def test_fields_come_in_any_order(order: list[int]) -> None:
    fields = [
        number(2, 123_456_789),
        bytes_field(3, b"commit"),
        bytes_field(4, b"certificate"),
        bytes_field(5, DIGEST),
        bytes_field(6, b"bundle"),
        bytes_field(7, b""),
        bytes_field(8, tdx(measurement())),
        bytes_field(1, b""),
    ]
    inner = message(*(fields[at] for at in order))
    data = message(bytes_field(2, b"signature"), bytes_field(1, inner))
    assert endorsement.parse(data) == replace(EXPECTED, golden=inner, timestamp=datetime(1970, 1, 1, tzinfo=UTC))


def test_numbers_that_are_not_there_are_zero_and_the_last_of_several_counts() -> None:
    inner = message(
        bytes_field(4, b"certificate"),
        bytes_field(5, DIGEST),
        bytes_field(8, message(number(1, 7), number(1, 9), bytes_field(2, measurement()))),
    )
    parsed = endorsement.parse(whole(inner))
    assert (parsed.cl_spec, parsed.svn) == (0, 9)
    assert (parsed.timestamp, parsed.ca_bundle) == (None, b"")


@pytest.mark.parametrize("seconds", [253402300800, (1 << 64) - 1])
def test_a_time_that_no_calendar_has_is_refused(seconds: int) -> None:
    inner = golden().replace(message(bytes_field(1, message(number(1, 1_700_000_000)))), b"", 1)
    dated = message(bytes_field(1, message(number(1, seconds)))) + inner
    refused(whole(dated), f"timestamp at .*: {seconds} seconds are before 1970 or after the year 9999")


def test_the_last_second_of_the_calendar_is_read() -> None:
    inner = golden().replace(message(bytes_field(1, message(number(1, 1_700_000_000)))), b"", 1)
    dated = message(bytes_field(1, message(number(1, 253402300799)))) + inner
    assert endorsement.parse(whole(dated)).timestamp == datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, (1 << 64) - 1), st.integers(0, 3))
def test_every_number_of_64_bits_is_read_however_it_is_padded(value: int, padding: int) -> None:
    encoded = varint(value)
    if padding and len(encoded) + padding <= 10:
        encoded = encoded[:-1] + bytes([encoded[-1] | 0x80]) + b"\x80" * (padding - 1) + b"\0"
    spec = (varint(2 << 3), encoded)
    inner = message(spec, bytes_field(4, b"c"), bytes_field(5, DIGEST), bytes_field(8, tdx(measurement())))
    assert endorsement.parse(whole(inner)).cl_spec == value


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "launch endorsement at offset 0x0: field 1 occurs 0 times"),
        (message(bytes_field(1, golden())), "launch endorsement at offset 0x[0-9a-f]+: field 2 occurs 0 times"),
        (message(bytes_field(2, b"s")), "field 1 occurs 0 times"),
        (whole(None, bytes_field(1, golden())), "field 1 occurs 2 times"),
        (whole(None, bytes_field(2, b"s")), "field 2 occurs 2 times"),
        (message(number(1, 5), bytes_field(2, b"s")), "field 1 is not made of bytes"),
        (message(bytes_field(1, golden()), number(2, 5)), "field 2 is not made of bytes"),
        (whole(b""), r"golden at offset 0x2: field 8 occurs 0 times"),
        (whole(golden(None, DIGEST, bytes_field(8, tdx(measurement())))), "golden at .*: field 8 occurs 2 times"),
        (whole(golden(None, DIGEST, bytes_field(4, b""))), "golden at .*: field 4 occurs 2 times"),
        (whole(golden(None, DIGEST[1:])), "golden at .*: field 5 is not made of 48 bytes"),
        (whole(golden(None, DIGEST, bytes_field(2, b"1"))), "golden at .*: field 2 is not a number"),
        (whole(golden(b"")), "tdx at .*: endorses no MRTD"),
        (whole(golden(tdx())), "tdx at .*: endorses no MRTD"),
        (whole(golden(message(number(2, 5)))), "tdx at .*: field 2 is a number"),
        (whole(golden(tdx(measurement(FIRST[1:])))), "measurement at .*: field 3 is not made of 48 bytes"),
        (whole(golden(tdx(measurement(), b""))), "measurement at .*: field 3 occurs 0 times"),
        (whole(golden(tdx(message(bytes_field(1, b""), bytes_field(3, FIRST))))), "field 1 is not a number"),
        (whole(golden(tdx(message(number(3, 5))))), "measurement at .*: field 3 is not made of 48 bytes"),
        (message((b"\0", b"\0")), "field number 0"),
        (message((varint(9 << 3 | 3), b"")), "wire type 3"),
        (message((varint(9 << 3 | 4), b"")), "wire type 4"),
        (message((varint(9 << 3 | 6), b"")), "wire type 6"),
        (message((varint(9 << 3 | 7), b"")), "wire type 7"),
        (message((varint(9 << 3), b"\x80" * 10)), "varint of more than 64 bits"),
        (message((varint(9 << 3), b"\xff" * 9 + b"\2")), "varint of more than 64 bits"),
        (message((varint(9 << 3 | 2), varint((1 << 64) - 1))), "field 9 needs 18446744073709551615 bytes, 0 left"),
    ],
)
def test_what_is_no_endorsement_is_refused_at_its_offset(data: bytes, problem: str) -> None:
    refused(data, problem)


def test_the_offset_is_that_in_the_whole_message() -> None:
    data = whole(golden(tdx(measurement(FIRST), measurement(b"\x44" * 47))))
    assert refused(data, "field 3 is not made of 48 bytes").offset == data.index(b"\x44" * 47) + 47


def test_every_truncated_endorsement_is_refused() -> None:
    data = whole(golden(tdx(measurement(FIRST, 16), measurement(SECOND, 32, 1))))
    for size in range(len(data)):
        refused(data[:size], "launch endorsement")


def test_every_truncated_part_is_refused() -> None:
    inner = golden()
    for size in range(len(inner)):
        refused(whole(inner[:size]), "launch endorsement.golden")
    one = measurement(FIRST, 16, 1)
    for size in range(len(one)):
        refused(whole(golden(tdx(one[:size]))), "launch endorsement.measurement")


def test_a_message_has_a_largest_size_and_costs_little() -> None:
    refused(bytes(64 * 1024 + 1), "65537 bytes are more than 65536")
    began = time.process_time()
    refused(b"\x08\x01" * (32 * 1024), "field 1 occurs 32768 times")
    nested = whole(golden(tdx(*[measurement()] * 1200)))
    assert len(nested) < 64 * 1024
    assert len(endorsement.parse(nested).mrtds) == 1200
    assert time.process_time() - began < 5


@settings(max_examples=200, deadline=None)
@given(at=st.integers(0, len(whole()) - 1), new=st.binary(min_size=1, max_size=4))
def test_any_change_is_read_or_refused(at: int, new: bytes) -> None:
    data = whole()
    changed = data[:at] + new + data[at + len(new) :]
    try:
        parsed = endorsement.parse(changed)
    except FormatError:
        return
    assert all(len(item.mrtd) == 48 for item in parsed.mrtds)
    assert len(parsed.firmware_digest) == 48
