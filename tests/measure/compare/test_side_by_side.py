"""The table: what it shows of each kind of row, and that it fits, whatever a log holds."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.compare.difference import compare, expected_from_log
from pluto_measure.compare.side_by_side import table
from pluto_measure.formats.eventlog import EventLog, EventType, LogEvent
from pluto_measure.predict import predict
from pluto_measure.predict.events import RETURNING
from simulators import boot_logs
from simulators.boot_logs import GOOGLE, TABLES
from simulators.edited_logs import append, at, change, drop, found, insert
from simulators.event_logs import SHELL, firmware_application, log_of, measured
from simulators.launches import LAUNCH

KINDS = [int(kind) for kind in EventType]


def test_registers_that_are_equal_have_one_line_each() -> None:
    expected, log = boot_logs.machine("tdx")
    assert (
        table(compare(expected, log), {})
        == "rtmr0   equal, 13 events\nrtmr1   equal, 6 events\nrtmr2   equal, 10 events\n"
    )
    wrong = table(compare(expected, log), {"rtmr0": False, "rtmr1": None, "rtmr2": True})
    assert wrong.startswith("rtmr0   its value is not the expected one, its events are, 13 events\nrtmr1   equal")
    assert table(compare([], EventLog("cc", ("sha384",), ()), ["rtmr0"]), {}) == ""
    empty = compare([], EventLog("cc", ("sha384",), ()), ["rtmr0"])
    assert table(empty, {"rtmr0": False}) == "rtmr0   its value is not the expected one, its events are, 0 events\n"


def test_a_row_shows_both_sides_and_what_it_means() -> None:
    lines = table(found("tdx", change("tdx", "initrd", b"other")), {}).splitlines()
    assert lines[2] == "rtmr2   1 of 10 events differs"
    assert lines[3].split() == ["event", "expected", "log"]
    row = next(line for line in lines if " ! " in line)
    assert row.split()[:3] == [str(at("tdx", "initrd")), "!", "initrd"]
    assert lines[lines.index(row) + 1].strip().startswith("> the initrd is not the one of this release")
    assert lines[-1] == "= equal  ~ any digest is accepted  ! differs  - missing  + nobody expects it"


def test_missing_and_unexpected_rows_have_nothing_on_one_side() -> None:
    lines = table(found("tdx", drop("tdx", "initrd")), {}).splitlines()
    assert next(line for line in lines if " - " in line and "nothing" in line).split()[:2] == ["-", "initrd"]
    more = table(found("tdx", append("tdx", measured(9, EventType.EV_IPL, b"grub_cmd: x"))), {})
    row = next(line for line in more.splitlines() if " + " in line)
    assert row.split()[2:5] == ["GRUB:", "command", "nothing"]
    assert row.endswith(".. x")


def test_open_and_allowed_events_are_marked() -> None:
    text = table(compare(*boot_logs.machine("google open")), {})
    assert "rtmr0   equal, 14 events, 9 of any digest" in text
    assert any(line.split()[1:2] == ["~"] and "any digest" in line for line in text.splitlines())
    second = replace(TABLES, blobs={**TABLES.blobs, "rsdp": TABLES.blobs["loader"]})
    several = replace(GOOGLE, acpi=(TABLES, second))
    expected = predict(LAUNCH, several)
    log = boot_logs.honest(expected, several)
    events = list(log.events)
    change("google", "cfv", b"?")(events)
    assert "one of 2" in table(compare(expected, replace(log, events=tuple(events[:11] + events[12:]))), {})


def test_what_is_equal_between_is_left_out() -> None:
    ours = [measured(8, EventType.EV_IPL, b"grub_cmd: %d" % n) for n in range(40)]
    theirs = [*ours[:20], measured(8, EventType.EV_IPL, b"grub_cmd: x"), *ours[21:24], *ours[25:]]
    text = table(compare(expected_from_log(log_of(ours)), log_of(theirs)), {})
    assert text.count("... 17 more events") == 1
    assert text.count("more event") == 2
    one_left_out = [*ours[:4], measured(8, EventType.EV_IPL, b"grub_cmd: y"), *ours[5:]]
    shown = table(compare(expected_from_log(log_of(ours[:8])), log_of(one_left_out[:8])), {})
    assert "more event" not in shown


def test_a_cause_is_said_once_and_an_attack_is_named() -> None:
    returning = measured(4, EventType.EV_EFI_ACTION, RETURNING)
    text = table(found("tdx disk", insert("tdx disk", "image:uki", returning, firmware_application(SHELL, b"x"))), {})
    assert text.count("something was started before the UKI") == 1
    assert "[attack: foreign-application]" in " ".join(text.split())
    assert "FvFile(7c04a583" in text


def test_no_more_rows_than_anybody_reads() -> None:
    many = [measured(8, EventType.EV_IPL, b"grub_cmd: %d" % n) for n in range(500)]
    text = table(compare([], log_of(many)), {})
    assert "... 440 more events" in text
    assert len(text.splitlines()) < 80


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.builds(measured, st.integers(0, 23), st.sampled_from(KINDS), st.binary(max_size=80)), max_size=9),
    st.integers(1, 250),
)
def test_any_log_fits_into_any_width(logged: list[LogEvent], width: int) -> None:
    expected, log = boot_logs.machine("tpm")
    text = table(compare(expected, replace(log, events=(*log.events[:9], *logged, *log.events[12:]))), {}, width)
    assert max(map(len, text.splitlines())) <= max(width, 60)
    assert text.isascii()
    assert all(line == line.rstrip() for line in text.splitlines())


@pytest.mark.parametrize("width", [60, 100, 140, 240])
def test_a_wide_terminal_shows_more(width: int) -> None:
    data = boot_logs.image_data(boot_logs.file("a" * 150))
    image = LogEvent(4, EventType.EV_EFI_BOOT_SERVICES_APPLICATION, measured(4, 0, b"x").digests, data)
    text = table(found("tpm", append("tpm", image)), {}, width)
    row = next(line for line in text.splitlines() if " + " in line)
    assert row.count("a" * 5) >= {60: 0, 100: 2, 140: 5, 240: 12}[width]
