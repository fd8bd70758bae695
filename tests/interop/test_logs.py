"""Event logs: what go-eventlog, eventlog-rs and cctrusted-base read and replay, beside what we do.

Where a peer differs, its name stands in a table here with the reason; a difference that goes away is noticed too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from interop.peers import Log
from interop.samples import BANKS_OF_GO, Sample, invented, predicted, real, sample, without
from pluto_measure.formats.eventlog import EventType, LogEvent
from simulators import event_logs

pytestmark = pytest.mark.interop

Go = Callable[..., list[dict[str, Any]]]

# td-shim pads its log area with zeros; go-eventlog and cctrusted-base know 0xff alone and run into the end.
PADDED_WITH_ZEROS: Final = ("trustee-CCEL_data-tdshim",)
# eventlog-rs reads every EV_NO_ACTION as the record that lists the algorithms; Google's firmware logs others too.
MORE_NO_ACTION: Final = ("trustee-CCEL_data_grub_gke",)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    folder = tmp_path_factory.mktemp("ours")
    return [*predicted(folder), *invented(folder)]


@pytest.fixture(scope="module")
def recorded(vectors: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    return real(vectors, tmp_path_factory.mktemp("recorded"))


def test_go_eventlog_reads_and_replays_our_logs_as_we_do(go: Go, ours: list[Sample]) -> None:
    assert go_differs(go, ours) == []
    assert sum(len(one.extending) for one in ours) > 800


def test_go_eventlog_reads_and_replays_recorded_logs_as_we_do(go: Go, recorded: list[Sample]) -> None:
    assert go_differs(go, without(recorded, PADDED_WITH_ZEROS)) == []
    shimmed = [one for one in recorded if one.name in PADDED_WITH_ZEROS]
    assert [answer["error"] for answer in go("events", logs(shimmed, "sha384"))] == ["unexpected EOF"]


def test_go_eventlog_refuses_every_register_that_differs_by_one_bit(go: Go, ours: list[Sample]) -> None:
    cases, wanted = [], []
    for one in ours:
        bank = one.log.algorithms[0]
        for number in sorted(one.extended()):
            registers = one.registers(bank)
            registers[number] = bytes([registers[number][0] ^ 1]) + registers[number][1:]
            cases.append(Log(one.path, one.log.kind, bank, registers))
            wanted.append(f"the following registers failed to replay: [{number + (one.log.kind == 'cc')}]")
    answers = go("replay", cases)
    assert len(answers) > 200
    assert [answer.get("error", "accepted").rpartition(": event log failed to verify: ")[2] for answer in answers] == (
        wanted
    )


def test_what_google_takes_out_of_a_log_it_takes_out_of_ours(go: Go, ours: list[Sample]) -> None:
    """Its verifiers are stricter than a replay: separators, actions and the Secure Boot variables have their places."""
    table = event_logs.ccel_table(1 << 16)
    said = {}
    for one in ours:
        if not one.name.startswith("invented"):
            (answer,) = go("state", [Log(one.path, one.log.kind, "sha384", one.registers("sha384"), table)])
            said[one.name] = answer.get("secureBoot", answer.get("error"))
    without_variable = "failed to parse SecureBootState: event {}: SecureBoot data len is 0, expected 1"
    before_calling = "found EFIBootServicesApplication in {} before CallingEFIApp event"
    assert said == {
        "google": False,
        "google-keys": True,
        "qemu-tdx-keys": True,
        # It asks for the variable SecureBoot, which does not exist where the firmware has no Secure Boot.
        "qemu-tdx-disk": without_variable.format(3),
        # The same; and with -kernel the firmware loads the image before it announces the boot option.
        "qemu-tdx": f"{without_variable.format(3)}\n{before_calling.format('RTMR2')}",
        "laptop": f"{without_variable.format(1)}\n{before_calling.format('PCR4')}",
        "laptop-keys": before_calling.format("PCR4"),
    }


def test_eventlog_rs_reads_and_replays_our_logs_as_we_do(
    rust: Callable[..., list[list[str]]], ours: list[Sample]
) -> None:
    assert rust_differs(rust, of_cc(ours)) == []


def test_eventlog_rs_reads_and_replays_recorded_logs_as_we_do(
    rust: Callable[..., list[list[str]]], recorded: list[Sample]
) -> None:
    assert rust_differs(rust, without(of_cc(recorded), MORE_NO_ACTION)) == []
    for one in recorded:
        if one.name in MORE_NO_ACTION:
            assert sum(event.type == EventType.EV_NO_ACTION for event in one.logged) > 0
            with pytest.raises(RuntimeError, match="get digest size failed"):
                rust("log", one.path)


def test_cctrusted_reads_and_replays_our_logs_as_we_do(python: Callable[..., Any], ours: list[Sample]) -> None:
    # It cannot read an event without data, which no firmware logs.
    readable = [one for one in of_cc(ours) if all(event.data for event in one.logged)]
    assert cctrusted_differs(python, readable[:12]) == []


def test_cctrusted_reads_and_replays_recorded_logs_as_we_do(python: Callable[..., Any], recorded: list[Sample]) -> None:
    assert cctrusted_differs(python, without(of_cc(recorded), PADDED_WITH_ZEROS)) == []


def test_an_event_without_a_register_ends_the_log_for_others(
    go: Go, python: Callable[..., Any], tmp_path: Path
) -> None:
    """Google's firmware gives an EV_NO_ACTION the index -1. Peers take it for padding and see nothing behind it."""
    behind = event_logs.measured(2, EventType.EV_EFI_ACTION, b"behind", ("sha384",))
    nowhere = LogEvent(-1, EventType.EV_NO_ACTION, {"sha384": bytes(48)}, b"SP800-155 Event\0")
    one = sample("no-register", event_logs.encode([nowhere, behind], ("sha384",), cc=True), tmp_path)
    assert [event.index for event in one.extending] == [2]
    assert any(one.registers("sha384")[1])
    assert go("events", logs([one], "sha384")) == [{"events": []}]
    assert python("log", one.path)["events"] == []


def logs(samples: Sequence[Sample], bank: str) -> list[Log]:
    return [Log(one.path, one.log.kind, bank, one.registers(bank)) for one in samples]


def of_cc(samples: Sequence[Sample]) -> list[Sample]:
    return [one for one in samples if one.log.kind == "cc"]


def go_differs(go: Go, samples: Sequence[Sample]) -> list[str]:
    """What the peer says otherwise: events in their order, and whether they give our registers."""
    differs = []
    for bank in BANKS_OF_GO:
        having = [one for one in samples if bank in one.log.algorithms]
        assert having
        read, replayed = go("events", logs(having, bank)), go("replay", logs(having, bank))
        for one, found, verified in zip(having, read, replayed, strict=True):
            theirs = [(event["index"], event["type"], event["digest"], event["data"]) for event in found["events"]]
            if theirs != one.events(bank):
                differs.append(f"{one.name} {bank}: events")
            if verified.get("events") != len(one.extending):
                differs.append(f"{one.name} {bank}: {verified.get('error', 'number of events')}")
            if verified.get("covered") != sum(event.covers(event.data) for event in one.extending):
                differs.append(f"{one.name} {bank}: events whose digest is that of their data")
    return differs


def rust_differs(rust: Callable[..., list[list[str]]], samples: Sequence[Sample]) -> list[str]:
    differs = []
    assert samples
    for one in samples:
        lines = rust("log", one.path)
        events = [(int(line[1]), int(line[2]), line[3]) for line in lines if line[0] == "event"]
        if events != [(event.index, event.type, event.digests["sha384"].hex()) for event in one.extending]:
            differs.append(f"{one.name}: events")
        registers = {int(line[1]) - 1: line[2] for line in lines if line[0] == "register"}
        if registers != extended_registers(one):
            differs.append(f"{one.name}: registers")
    return differs


def cctrusted_differs(python: Callable[..., Any], samples: Sequence[Sample]) -> list[str]:
    differs = []
    assert samples
    for one in samples:
        said = python("log", one.path)
        if [(index + 1, *rest) for index, *rest in said["events"]] != one.events("sha384"):
            differs.append(f"{one.name}: events")
        if {int(number): value for number, value in said["registers"].items()} != extended_registers(one):
            differs.append(f"{one.name}: registers")
    return differs


def extended_registers(one: Sample) -> dict[int, str]:
    return {number: value.hex() for number, value in one.registers("sha384").items() if number in one.extended()}
