"""Canonical logs: round trips, replay of a container's start, and every way in which a record can be wrong."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.digests import ALGORITHMS
from pluto_measure.errors import FormatError
from pluto_measure.formats import cel, eventlog
from pluto_measure.formats.cel import Record
from pluto_measure.formats.eventlog import CEL_CONTENT, EventType
from pluto_measure.registers.replay import replay
from simulators.event_logs import canonical_record, cos, pc_client, tlv

REGISTERS = {"pcr": 1, "nv": 2, "cc": 108}
RECORD = canonical_record(0, 4, cos(0, b"docker.example/app:1"))


def encode(record: Record, *, number_size: int = 8, index_size: int = 1) -> bytes:
    digests = b"".join(
        tlv(ALGORITHMS[name][0] if name in ALGORITHMS else int(name, 16), value)
        for name, value in record.digests.items()
    )
    return (
        tlv(0, record.number.to_bytes(number_size, "big"))
        + tlv(REGISTERS[record.register], record.index.to_bytes(index_size, "big"))
        + tlv(3, digests)
        + record.content_tlv
    )


@st.composite
def records(draw: st.DrawFn) -> Record:
    sizes = {**{name: size for name, (_, size) in ALGORITHMS.items()}, "0x0012": 32}
    names = draw(st.lists(st.sampled_from(sorted(sizes)), min_size=1, unique=True))
    digests = {name: draw(st.binary(min_size=sizes[name], max_size=sizes[name])) for name in names}
    register: cel.RegisterKind = draw(st.sampled_from(("pcr", "nv", "cc")))
    return Record(
        draw(st.integers(0, 2**32 - 1)), register, draw(st.integers(0, 255)), digests,
        draw(st.integers(4, 255)), draw(st.binary(max_size=40)),
    )  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(st.lists(records(), min_size=1, max_size=4), st.sampled_from([b"", b"\xff" * 9, bytes(100)]), st.data())
def test_what_is_written_is_read_with_any_padding_and_number_size(
    written: list[Record], padding: bytes, data: st.DataObject
) -> None:
    size, index = data.draw(st.integers(4, 8)), data.draw(st.integers(1, 4))
    whole = b"".join(encode(record, number_size=size, index_size=index) for record in written)
    assert cel.begins(whole)
    assert cel.begins(b"before" + whole, 6)
    assert list(cel.parse(whole + padding)) == written


def test_a_containers_start_replays_to_rtmr_3() -> None:
    contents = [cos(0, b"docker.example/app:1"), cos(1, b"sha256:" + b"0" * 64), cos(8, b"")]
    log = eventlog.parse(b"".join(canonical_record(n, 4, content) for n, content in enumerate(contents)))
    value = bytes(48)
    for content in contents:
        value = hashlib.sha384(value + hashlib.sha384(content).digest()).digest()
    assert (log.kind, log.algorithms) == ("cc", ("sha384",))
    assert replay(log)["sha384"] == {**{f"rtmr{i}": bytes(48) for i in range(3)}, "rtmr3": value}
    assert [(event.type, event.data, event.data_is_measured) for event in log.events] == [
        (CEL_CONTENT + cel.COS, content, True) for content in contents
    ]


def test_a_firmwares_event_is_what_it_is_in_a_firmwares_log() -> None:
    data = b"Exit Boot Services Invocation"
    digests = {"sha256": hashlib.sha256(data).digest()}
    content = pc_client(EventType.EV_EFI_ACTION, data)
    (event,) = eventlog.parse(canonical_record(0, 5, content, digests=digests, register=1)).events
    assert (event.index, event.type, event.data) == (5, EventType.EV_EFI_ACTION, data)
    assert event.data_is_measured
    silent = pc_client(EventType.EV_NO_ACTION, b"said")
    log = eventlog.parse(canonical_record(0, 5, silent, digests=digests, register=1))
    assert not any(replay(log)["sha256"]["pcr5"])


@pytest.mark.parametrize(
    ("data", "offset", "problem"),
    [
        (b"\1" + RECORD[1:], 0x1, "type 1 is not 0, that of record number"),
        (tlv(0, b"") + b"\1", 0x5, "record number of 0 bytes is not between 1 and 8"),
        (tlv(0, bytes(9)), 0x5, "record number of 9 bytes is not between 1 and 8"),
        (tlv(0, bytes(8)) + b"\4", 0xE, "type 4 is not that of a PCR, an NV index or a CC register"),
        (tlv(0, bytes(8)) + tlv(108, bytes(5)), 0x12, "register of 5 bytes is not between 1 and 4"),
        (RECORD[:19] + b"\5" + RECORD[20:], 0x14, "type 5 is not 3, that of digests"),
        (RECORD[:19] + tlv(3, b""), 0x18, "a record without a digest"),
        (RECORD[:19] + tlv(3, tlv(12, bytes(47))), 0x4C, "algorithm sha384 with 47 bytes is wrong"),
        (RECORD[:19] + tlv(3, tlv(18, bytes(65))), 0x5E, "algorithm 0x0012 with 65 bytes is wrong"),
        (RECORD[:19] + tlv(3, tlv(18, b"")), 0x1D, "algorithm 0x0012 with 0 bytes is wrong"),
        (RECORD[:19] + tlv(3, 2 * tlv(4, bytes(20))), 0x4A, "occurs twice"),
        (RECORD[:19] + tlv(3, b"".join(tlv(32 + n, b"1") for n in range(9))), 0x4E, "more than 8 digests"),
        (RECORD[:-1], 0x52, "content needs 25 bytes, 24 left"),
        (RECORD[:20] + b"\xff" * 4 + RECORD[24:], 0x18, "digests needs 4294967295 bytes"),
        (RECORD + b"\xff" * 9 + b"x", 0x6C, "type 255 is not 0"),
    ],
)
def test_a_wrong_record_is_refused_where_it_is_wrong(data: bytes, offset: int, problem: str) -> None:
    for base in (0, 1000):
        with pytest.raises(FormatError, match=problem) as caught:
            cel.parse(data, base=base)
        assert caught.value.offset == base + offset


def test_a_record_cut_at_any_byte_is_refused() -> None:
    for size in range(1, len(RECORD)):
        if any(RECORD[:size]):
            with pytest.raises(FormatError) as caught:
                cel.parse(RECORD[:size])
            assert caught.value.offset is not None
        with pytest.raises(FormatError):
            eventlog.parse(RECORD[:size])


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (tlv(5, b""), "event type type needs 1 bytes"),
        (tlv(5, tlv(1, bytes(4))), "type 1 is not 0, that of event type"),
        (tlv(5, tlv(0, bytes(5))), "event type of 5 bytes"),
        (tlv(5, tlv(0, bytes(4)) + tlv(0, b"data")), "type 0 is not 1, that of event data"),
        (pc_client(4, b"data")[:-1], "content needs 18 bytes, 17 left"),
        (tlv(5, pc_client(4, b"data")[5:] + b"\1"), "1 bytes left over"),
    ],
)
def test_a_firmwares_event_that_is_none_is_refused_at_its_place(content: bytes, problem: str) -> None:
    record = canonical_record(0, 4, content)
    with pytest.raises(FormatError, match=problem) as caught:
        eventlog.parse(RECORD + record)
    assert caught.value.offset is not None
    assert len(RECORD) + 77 <= caught.value.offset <= len(RECORD + record)


@pytest.mark.parametrize("data", [b"", b"\0", RECORD[:13], tlv(0, b"") + RECORD, tlv(0, bytes(8)) + tlv(3, b"1234")])
def test_nothing_else_begins_like_a_canonical_log(data: bytes) -> None:
    assert not cel.begins(data)


def test_padding_holds_no_record() -> None:
    assert cel.parse(b"") == cel.parse(bytes(64)) == cel.parse(b"\xff" * 64) == ()


def test_one_tlv_fills_its_bytes() -> None:
    assert cel.parse_tlv(tlv(80, b"text"), what="content") == (80, b"text")
    for data in (b"", tlv(80, b"text")[:-1], tlv(80, b"text") + b"\0"):
        with pytest.raises(FormatError):
            cel.parse_tlv(data, what="content")


def test_more_than_65536_records_are_refused() -> None:
    with pytest.raises(FormatError, match="more than 65536 records"):
        cel.parse(canonical_record(0, 4, tlv(9, b"")) * 65537)
