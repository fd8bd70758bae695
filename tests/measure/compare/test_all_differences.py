"""All differences of a log at once: each edit of any log is named exactly, and nothing else is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from pluto_measure.compare.difference import (
    compare,
    expected_from_log,
)
from pluto_measure.compare.roles import roles
from pluto_measure.formats import eventlog
from pluto_measure.formats.eventlog import EventLog, EventType, LogEvent
from pluto_measure.predict.events import ExpectedEvent
from simulators import boot_logs
from simulators.edited_logs import append
from simulators.edited_logs import found as compared
from simulators.event_logs import measured

Report = list[tuple[str, str, str]]


def report(expected: Sequence[ExpectedEvent], log: EventLog, registers: Sequence[str] | None = None) -> Report:
    """Register, role and kind of every difference."""
    return [(d.register, d.role, d.kind) for d in compare(expected, log, registers).differences]


@pytest.mark.parametrize("name", boot_logs.MACHINES)
def test_each_single_edit_of_any_machine_is_named_exactly(name: str) -> None:
    expected, log = boot_logs.machine(name)
    assert report(expected, log) == []
    for place, wanted in enumerate(expected, 1):
        event = log.events[place]
        zeros = {bank: bytes(len(value)) for bank, value in event.digests.items()}
        other = LogEvent(event.index, event.type, zeros, event.data)
        if wanted.is_open:
            continue
        for kind, instead in (("missing", ()), ("changed", (other,))):
            edited = replace(log, events=(*log.events[:place], *instead, *log.events[place + 1 :]))
            assert report(expected, edited) == [(wanted.register, wanted.role, kind)]
            (difference,) = compare(expected, edited).differences
            if kind == "changed":
                assert (difference.index, difference.actual) == (place, other)
            else:
                later = (i for i, e in enumerate(edited.events[place:], place) if log.register(e) == wanted.register)
                assert difference.index == next(later, len(edited.events))


def edits(log: EventLog) -> list[tuple[str, str, str, EventLog]]:
    """Register, role and kind of each single edit that has a name, and the log with it."""
    found = []
    for place, (event, role) in enumerate(zip(log.events, roles(log), strict=True)):
        if event.type == EventType.EV_NO_ACTION:
            continue
        zeros = {bank: bytes(len(value)) for bank, value in event.digests.items()}
        other = LogEvent(event.index, event.type, zeros, event.data)
        for kind, instead in (("missing", ()), ("changed", (other,))):
            edited = replace(log, events=(*log.events[:place], *instead, *log.events[place + 1 :]))
            found.append((log.register(event), role, kind, edited))
    return found


@pytest.mark.parametrize("name", boot_logs.MACHINES)
def test_a_log_expected_of_itself_differs_nowhere_and_each_edit_is_named(name: str) -> None:
    log = boot_logs.machine(name)[1]
    expected = expected_from_log(log)
    assert report(expected, log) == []
    for register, role, kind, edited in edits(log):
        assert report(expected, edited) == [(register, role, kind)]


def test_real_logs_differ_from_themselves_nowhere_and_each_edit_is_named(vectors: Path) -> None:
    folder = vectors / "measure"
    paths = [
        *(folder / "ccel").glob("*.ccel.bin"),
        *(folder / "ccel").glob("trustee-CCEL_*"),
        *(folder / "tpm").glob("*.bin"),
    ]
    paths = [path for path in paths if path.suffix != ".json" and path.suffix != ".xz"]
    assert len(paths) >= 15
    for path in paths:
        log = eventlog.parse(path.read_bytes())
        expected = expected_from_log(log)
        registers = sorted({event.register for event in expected})
        assert report(expected, log, registers) == []
        for register, role, kind, edited in edits(log):
            assert report(expected, edited, registers) == [(register, role, kind)]


def test_every_difference_is_reported_up_to_a_limit_and_all_are_counted() -> None:
    more = [measured(8, EventType.EV_IPL, b"%d" % n) for n in range(100)]
    comparison = compared("tpm", append("tpm", *more))
    assert [d.index for d in comparison.differences] == list(range(28, 60))
    assert comparison.counts["pcr8"] == 100
    assert comparison.firsts == comparison.differences[:1]
    assert "pcr8" not in comparison.explainable
    assert "pcr4" in comparison.explainable


def test_the_json_of_a_difference_says_what_kind_it_is() -> None:
    (difference,) = compared("tpm", append("tpm", measured(8, EventType.EV_IPL, b"grub_cmd: x"))).differences
    document = difference.to_json()
    assert document | {"kind": "unexpected", "role": "grub:command", "harmless": False, "understood": False} == document


def test_of_logs_with_several_banks_all_common_ones_count() -> None:
    expected, log = boot_logs.machine("tpm")
    place = roles(log).index("initrd")
    event = log.events[place]
    one_bank = LogEvent(event.index, event.type, {**event.digests, "sha256": bytes(32)}, event.data)
    edited = replace(log, events=(*log.events[:place], one_bank, *log.events[place + 1 :]))
    assert report(expected, edited) == [("pcr9", "initrd", "changed")]
    sha384 = [replace(e, digests={"sha384": e.digests["sha384"]}) for e in expected]
    assert report(sha384, edited) == []


def test_a_bank_that_nobody_predicts_does_not_hide_that_an_event_moved() -> None:
    kernel, log = boot_logs.machine("tpm kernel")[0], boot_logs.machine("tpm")[1]
    more = [LogEvent(e.index, e.type, {"sha1": bytes(20), **e.digests}, e.data) for e in log.events]
    three = EventLog("tpm", ("sha1", *log.algorithms), tuple(more))
    said = {d.role: d.meaning for d in compare(kernel, three).differences}
    assert "the same images in another order" in said["image:uki"]


def test_an_event_without_a_register_is_in_none() -> None:
    """Canonical logs record NV indices too."""
    expected, log = boot_logs.machine("tpm")
    nowhere = LogEvent(-1, EventType.EV_IPL, log.events[1].digests, b"")
    assert report(expected, replace(log, events=(*log.events, nowhere))) == [("none", "ipl", "unexpected")]
    assert report(expected, replace(log, events=(*log.events, nowhere)), ["pcr4"]) == []
