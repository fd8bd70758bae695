"""Event logs: vectors, round trips, and which events prove their data."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.digests import ALGORITHMS
from pluto_measure.errors import FormatError
from pluto_measure.formats import eventlog
from pluto_measure.formats.eventlog import EventType, LogEvent, register_name, type_name
from pluto_measure.replay import replay
from simulators import event_logs, recorded_boots

VECTORS = sorted((Path(__file__).parents[1] / "vectors/eventlog").glob("*.toml"))
BANKS = ("sha256", "sha384")


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_vector(path: Path) -> None:
    vector = tomllib.loads(path.read_text())
    data = bytes.fromhex(vector["data"])
    if "error" in vector:
        with pytest.raises(FormatError, match=vector["error"]):
            eventlog.parse(data)
        return
    log = eventlog.parse(data)
    assert (log.kind, list(log.algorithms)) == (vector["kind"], vector["algorithms"])
    assert [f"{log.register(event)} {type_name(event.type)}" for event in log.events] == vector["events"]
    for bank, values in replay(log).items():
        moved = {name: value.hex() for name, value in values.items() if any(value) and set(value) != {0xFF}}
        assert moved == vector["registers"][bank]


def test_there_are_vectors() -> None:
    assert len(VECTORS) >= 20


@st.composite
def logged(draw: st.DrawFn) -> LogEvent:
    digests = {name: draw(st.binary(min_size=size, max_size=size)) for name in BANKS for size in [ALGORITHMS[name][1]]}
    kind = draw(st.sampled_from([int(member) for member in EventType]) | st.integers(0x10, 0xFFFFFFFE))
    return LogEvent(draw(st.integers(0, 23)), kind, digests, draw(st.binary(max_size=40)))


@settings(max_examples=60, deadline=None)
@given(st.lists(logged(), max_size=6), st.sampled_from([b"", b"\xff" * 9, bytes(100)]))
def test_what_is_written_is_read_with_any_padding(events: list[LogEvent], padding: bytes) -> None:
    log = eventlog.parse(event_logs.encode(events) + padding)
    assert (log.kind, log.algorithms, list(log.events[1:])) == ("tpm", BANKS, events)


@settings(max_examples=60, deadline=None)
@given(st.lists(logged(), min_size=1, max_size=3), st.data())
def test_a_cut_log_is_refused_or_ends_at_a_record(events: list[LogEvent], data: st.DataObject) -> None:
    whole = event_logs.encode(events)
    size = data.draw(st.integers(0, len(whole) - 1))
    ends = [len(event_logs.encode(events[:n])) for n in range(len(events) + 1)]
    try:
        log = eventlog.parse(whole[:size])
    except FormatError:
        return
    # What is left of a cut record may look like padding: zeros after the last whole record.
    whole_records = max(end for end in ends if end <= size)
    assert not any(whole[whole_records:size])
    assert len(log.events) == 1 + ends.index(whole_records)


def test_real_logs_are_read_to_their_last_byte(vectors: Path) -> None:
    for folder in recorded_boots.FOLDERS:
        data = (vectors / "qemu-swtpm" / folder / "binary_bios_measurements").read_bytes()
        log = eventlog.parse(data)
        records = b"".join(event_logs.record(event) for event in log.events[1:])
        assert data.endswith(records)


def test_data_is_measured_only_where_every_known_digest_is_that_of_the_data() -> None:
    event = event_logs.measured(4, EventType.EV_SEPARATOR, bytes(4))
    assert event.data_is_measured
    assert not LogEvent(4, event.type, {**event.digests, "sha256": bytes(32)}, event.data).data_is_measured
    assert not LogEvent(4, event.type, event.digests, b"label").data_is_measured
    assert not LogEvent(4, event.type, {"0x0012": bytes(32)}, b"").data_is_measured


def test_a_cc_logs_index_is_one_more_than_the_rtmr() -> None:
    assert [register_name("cc", index) for index in range(-1, 5)] == [
        "none",
        "mrtd",
        "rtmr0",
        "rtmr1",
        "rtmr2",
        "rtmr3",
    ]
    assert register_name("tpm", 4) == "pcr4"


def test_a_log_larger_than_16_mib_is_refused() -> None:
    with pytest.raises(FormatError, match="more than"):
        eventlog.parse(bytes(16 * 1024 * 1024 + 1))
