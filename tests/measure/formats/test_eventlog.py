"""Event logs: vectors, round trips, and which events prove their data."""

from __future__ import annotations

import base64
import hashlib
import json
import lzma
import time
import tomllib
import tracemalloc
from dataclasses import replace as changed
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.digests import ALGORITHMS
from pluto_measure.errors import FormatError
from pluto_measure.formats import eventlog, uefi
from pluto_measure.formats.eventlog import EventType, LogEvent, register_name, type_name
from pluto_measure.registers.replay import replay
from simulators import event_logs, recorded_boots
from simulators.event_logs import le

VECTORS = sorted((Path(__file__).parents[2] / "vectors/eventlog").glob("*.toml"))
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


@pytest.mark.parametrize("name", ["AAEL_alibabacloud", "data-tdshim", "data_grub", "data_grub_gke", "data_ovmf"])
def test_real_cc_logs_are_read_event_by_event_as_others_read_them(vectors: Path, name: str) -> None:
    path = vectors / f"measure/ccel/trustee-CCEL_{name}"
    data = path.read_bytes() if path.exists() else lzma.decompress(Path(f"{path}.xz").read_bytes())
    theirs = json.loads(Path(f"{path}_out.json").read_text())["uefi_event_logs"]
    ours = eventlog.parse(data).events[1:]
    assert len(ours) == len(theirs)
    for event, entry in zip(ours, theirs, strict=True):
        digest = {"sha384": bytes.fromhex(entry["digests"][0]["digest"])}
        assert event == LogEvent(entry["index"], event.type, digest, base64.b64decode(entry["event"]))
        assert type_name(event.type) == entry["type_name"]
        assert (event.measured_part == event.data) == entry["digest_matches_event"]


def test_what_real_logs_prove_is_what_their_event_types_promise(vectors: Path) -> None:
    whole = {"SEPARATOR", "EFI_ACTION", "EFI_VARIABLE_DRIVER_CONFIG", "EFI_GPT_EVENT"}
    labels = {"EFI_BOOT_SERVICES_APPLICATION", "PLATFORM_CONFIG_FLAGS", "EFI_HANDOFF_TABLES2", "NO_ACTION"}
    seen = set()
    for path in (vectors / "measure/ccel").glob("*CCEL_data_*[!n]"):
        if path.suffix:
            continue
        for event in eventlog.parse(path.read_bytes()).events:
            name = type_name(event.type).removeprefix("EV_")
            seen.add(name)
            if name in whole:
                assert event.measured_part == event.data
            elif name in labels:
                assert event.measured_part is None
            elif name == "EFI_VARIABLE_BOOT":
                assert event.measured_part is not None
                assert event.data.endswith(event.measured_part)
                assert event.measured_part != event.data
    assert seen >= whole | labels | {"EFI_VARIABLE_BOOT"}


def test_data_is_measured_only_where_every_known_digest_is_that_of_the_data() -> None:
    event = event_logs.measured(4, EventType.EV_SEPARATOR, bytes(4))
    assert (event.data_is_measured, event.measured_part) == (True, bytes(4))
    for other in (
        changed(event, digests={**event.digests, "sha256": bytes(32)}),
        changed(event, data=b"label"),
        LogEvent(4, event.type, {"0x0012": bytes(32)}, b""),
        LogEvent(4, event.type, {}, b""),
    ):
        assert (other.data_is_measured, other.measured_part) == (False, None)


def test_the_digest_of_a_boot_variable_may_be_that_of_its_content_alone() -> None:
    variable = uefi.Variable(uefi.GLOBAL_VARIABLE, "BootOrder", b"\0\0")
    event = LogEvent(1, EventType.EV_EFI_VARIABLE_BOOT, event_logs.measured(1, 4, b"\0\0").digests, variable.encode())
    assert (event.data_is_measured, event.measured_part) == (True, b"\0\0")
    renamed = uefi.Variable(uefi.GLOBAL_VARIABLE, "Boot0000", b"\0\0").encode()
    assert changed(event, data=renamed).measured_part == b"\0\0"  # the name is what somebody wrote there
    for other in (
        changed(event, type=int(EventType.EV_EFI_VARIABLE_BOOT2)),
        changed(event, data=event.data + b"\0"),
        changed(event, data=event.data[:-1]),
        changed(event, data=event.data[:31]),
        changed(event, data=bytes(31)),
    ):
        assert other.measured_part is None
    empty = uefi.Variable(uefi.GLOBAL_VARIABLE, "Boot0001", b"").encode()
    nothing = event_logs.measured(1, 4, b"").digests
    assert LogEvent(1, EventType.EV_EFI_VARIABLE_BOOT, nothing, empty).measured_part == b""


def test_events_are_values_that_cannot_be_changed() -> None:
    event = event_logs.measured(4, EventType.EV_SEPARATOR, bytes(4))
    assert event == LogEvent(index=4, type=4, digests=dict(event.digests), data=bytes(4))
    assert event != changed(event, index=5)
    with pytest.raises(AttributeError, match="cannot assign"):
        event.index = 5  # type: ignore[misc]


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


def refusal(data: bytes) -> FormatError | None:
    """The error of a log that is refused."""
    try:
        assert eventlog.parse(data).events
    except FormatError as error:
        return error
    return None


def is_placed(error: FormatError, size: int) -> bool:
    """Whether the error says where in a log of `size` bytes it is."""
    return error.offset is not None and 0 <= error.offset <= size


def small_log(*, cc: bool = False, old: bool = False) -> tuple[bytes, set[int]]:
    """A log and the offsets at which its records end."""
    if old:
        records = [le(n, 4) + le(8, 4) + b"\1" * 20 + le(n, 4) + b"\2" * n for n in range(1, 4)]
    else:
        banks = ("sha384",) if cc else BANKS
        events = [event_logs.measured(1 + n, 0x80000007, b"\2" * n, banks) for n in range(1, 4)]
        records = [event_logs.first_record(banks, index=int(cc)), *map(event_logs.record, events)]
    return b"".join(records), {len(b"".join(records[:n])) for n in range(1, len(records) + 1)}


@pytest.mark.parametrize("form", [{"cc": True}, {"cc": False}, {"old": True}], ids=["cc", "tpm", "old"])
def test_a_log_cut_at_any_byte_ends_at_a_record_or_is_refused_with_an_offset(form: dict[str, bool]) -> None:
    whole, ends = small_log(**form)
    parsed = set()
    for size in range(len(whole)):
        error = refusal(whole[:size])
        if error is None:
            parsed.add(size)
        else:
            assert is_placed(error, size)
    # One to seven zeros behind a record may be padding that was cut: what is left of an index and a type.
    assert parsed - ends <= {end + n for end in ends for n in range(1, 8)}
    assert ends - {len(whole)} <= parsed


@pytest.mark.parametrize("name", ["gcp-cos113.ccel.bin", "trustee-CCEL_data_grub", "qemu-ccapi-NEGATIVE-ima.ccel.bin"])
def test_a_real_log_cut_at_every_4_kib_is_a_shorter_log_or_refused_with_an_offset(vectors: Path, name: str) -> None:
    data = (vectors / "measure/ccel" / name).read_bytes()
    content = len(data.rstrip(b"\xff").rstrip(b"\0"))
    for size in range(0, len(data), 4096):
        if size >= content:
            assert eventlog.parse(data[:size]) == eventlog.parse(data)
            continue
        error = refusal(data[:size])
        assert error is not None
        assert is_placed(error, size)


@pytest.mark.parametrize(
    ("changes", "offset", "problem"),
    [
        ({0x41 + 8: b"\2"}, 0x41 + 12, "2 digests, the log has 1 algorithms"),
        ({0x41 + 12: b"\x0b"}, 0x41 + 14, "algorithm sha256 is not in the list"),
        ({0x41: b"\5"}, 0x41 + 8, "index 0x5 is not a register of a cc log"),
        ({0x41 + 62: b"\xff"}, 0x41 + 66, "data needs 255 bytes, 1 left"),
        ({0x41 + 62: b"\xff\xff\xff\xff"}, 0x41 + 66, "data needs 4294967295 bytes, 1 left"),
    ],
)
def test_an_error_names_the_field_and_its_offset(changes: dict[int, bytes], offset: int, problem: str) -> None:
    log = bytearray(event_logs.encode([event_logs.measured(1, 4, b"x", ("sha384",))], ("sha384",), cc=True))
    for at, value in changes.items():
        log[at : at + len(value)] = value
    with pytest.raises(FormatError, match=problem) as caught:
        eventlog.parse(bytes(log))
    assert caught.value.offset == offset


def bombs() -> dict[str, bytes]:
    """Logs of 16 MiB that are made of as many or as large things as fit."""
    size = 16 * 1024 * 1024
    one = event_logs.first_record(("sha384",), index=1)
    event = event_logs.record(event_logs.measured(1, 4, b"", ("sha384",)))
    backwards = event_logs.record(LogEvent(4, 4, {"sha384": bytes(48), "sha256": bytes(32)}, b""))
    record = event_logs.canonical_record(0, 4, event_logs.tlv(9, b""))
    huge = one + event[:-4] + le(size - len(one) - len(event), 4)
    return {
        "events": one + event * ((size - len(one)) // len(event)),
        "events-in-another-order": event_logs.first_record(BANKS) + backwards * (size // len(backwards) - 1),
        "old-events": (le(0, 4) + le(8, 4) + b"\1" * 20 + le(0, 4)) * (size // 32),
        "canonical-records": record * (size // len(record)),
        "one-event": huge + b"\1" * (size - len(huge)),
        "digests": one + le(1, 4) + le(4, 4) + b"\xff" * 3 + b"\0" + b"\x0c\0" * (size // 2 - 100),
        "zeros": event_logs.first_record(BANKS) + bytes(size - 100) + b"\1",
        "spec": le(0, 4) + le(3, 4) + bytes(20) + le(size - 32, 4) + event_logs.SPEC_ID + b"\2" * (size - 48),
        "random": hashlib.shake_128(b"seed").digest(size),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", bombs())
def test_16_mib_of_anything_take_bounded_time(name: str) -> None:
    data = bombs()[name]
    start = time.process_time()
    error = refusal(data)
    assert time.process_time() - start < 30  # one second, and ten times that with coverage
    assert error is None or is_placed(error, len(data))


@pytest.mark.slow
def test_16_mib_of_events_take_bounded_memory() -> None:
    data = bombs()["events"]
    tracemalloc.start()
    refusal(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 1024 * 1024


def test_more_than_65536_events_are_refused() -> None:
    events = [event_logs.measured(1, 4, b"", ("sha384",))] * 65535
    assert len(eventlog.parse(event_logs.encode(events, ("sha384",), cc=True)).events) == 65536
    with pytest.raises(FormatError, match="more than 65536 events"):
        eventlog.parse(event_logs.encode([*events, events[0]], ("sha384",), cc=True))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([b"", event_logs.first_record(("sha384",), index=1)]))
def test_any_bytes_are_a_log_or_refused_with_an_offset(data: bytes, before: bytes) -> None:
    error = refusal(before + data)
    assert error is None or is_placed(error, len(before + data))


def test_a_log_larger_than_16_mib_is_refused() -> None:
    with pytest.raises(FormatError, match="more than"):
        eventlog.parse(bytes(16 * 1024 * 1024 + 1))
