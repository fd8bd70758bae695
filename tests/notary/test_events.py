"""The closed event schema: what is in it round-trips, nothing else gets onto the line or off it."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.errors import FormatError
from pluto_notary import events
from pluto_notary.events import Event
from pluto_notary.serial import EventWriter

BUILD = "ab" * 32
# The rules as docs/formats/events.md has them.
PATTERNS: dict[Callable[[str], bool], str] = {
    events.is_number: r"0|[1-9][0-9]{0,9}",
    events.is_digest: r"[0-9a-f]{64}",
    events.is_version: r"[0-9]{1,4}(\.[0-9]{1,4}){1,3}",
}


def values_of(rule: events.Rule) -> st.SearchStrategy[str]:
    return st.sampled_from(rule) if isinstance(rule, tuple) else st.from_regex(PATTERNS[rule], fullmatch=True)


def events_called(name: str) -> st.SearchStrategy[Event]:
    keys = events.SCHEMA[name]
    values = st.tuples(*(values_of(rule) for rule in keys.values()))
    return values.map(lambda chosen: Event(name, tuple(zip(keys, chosen, strict=True))))


known = st.sampled_from(sorted(events.SCHEMA)).flatmap(events_called)


@settings(max_examples=100, deadline=None)
@given(known)
def test_every_event_survives_its_line(event: Event) -> None:
    assert len(event.to_line()) <= events.LARGEST_LINE
    assert events.parse(event.to_line()) == event


NEAR = st.text("0123456789abcdefAFg.-\u0668 \n", max_size=12)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(tuple(PATTERNS)), st.data())
def test_a_rule_takes_what_its_pattern_takes_and_nothing_else(rule: Callable[[str], bool], data: st.DataObject) -> None:
    exact = st.from_regex(PATTERNS[rule], fullmatch=True)
    text = data.draw(st.one_of(NEAR, exact, exact.map(lambda text: f"{text}0"), st.from_regex(PATTERNS[rule])))
    assert rule(text) == bool(re.fullmatch(PATTERNS[rule], text))


def test_a_line_reads_as_documented() -> None:
    assert Event.of("ready", port=8443, buildid=BUILD).to_line() == f"pluto: ready port=8443 buildid={BUILD}"
    assert Event.of("ready", port=8443, buildid=BUILD).to_json() == {"event": "ready", "port": "8443", "buildid": BUILD}


@pytest.mark.parametrize(
    "line",
    [
        "[    4.250123] pluto: evidence purpose=node",
        "[12345.250123][    T1] pluto: evidence purpose=node\r\n",
        "pluto: evidence purpose=node\r\n",
    ],
)
def test_the_kernels_prefix_and_line_ends_are_understood(line: str) -> None:
    event = events.parse(line)
    assert event is not None
    assert event["purpose"] == "node"


@pytest.mark.parametrize(
    "line", ["", "\0", "[    0.000000] Linux version 6.12", "systemd[1]: pluto: ready", " pluto: x"]
)
def test_other_lines_are_not_events(line: str) -> None:
    assert events.parse(line) is None


@pytest.mark.parametrize(
    "line",
    [
        "pluto: ",
        "pluto: unknown",
        "pluto: ready",
        f"pluto: ready buildid={BUILD} port=8443",
        f"pluto: ready port=8443 buildid={BUILD} extra=1",
        f"pluto: ready port=08443 buildid={BUILD}",
        f"pluto: ready port=8443 buildid={BUILD.upper()}",
        f"pluto: ready  port=8443 buildid={BUILD}",
        f"pluto: ready port=٨ buildid={BUILD}",
        "pluto: evidence purpose=node=node",
        "pluto: refused code=anything",
        "pluto: dropped count=" + "1" * 300,
    ],
)
def test_a_line_that_only_claims_to_be_an_event_is_refused(line: str) -> None:
    with pytest.raises(FormatError):
        events.parse(line)


@pytest.mark.parametrize("value", ["node\npluto: ready", "node x=1", "", "NODE"])
def test_no_value_outside_the_schema_can_be_written(value: str) -> None:
    with pytest.raises(FormatError):
        Event.of("evidence", purpose=value)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60).map(lambda text: f"pluto: {text}") | st.text(max_size=60))
def test_any_line_is_an_event_none_or_a_format_error(line: str) -> None:
    try:
        event = events.parse(line)
    except FormatError:
        return
    assert event is None or event.to_line() in line


def test_events_that_clients_cause_are_limited_and_the_missing_are_counted() -> None:
    now = [0.0]
    lines: list[str] = []
    writer = EventWriter(lambda line: lines.append(line.decode()), clock=lambda: now[0], prefix="<25>")
    for _ in range(100):
        writer.emit("refused", code="path")
    assert lines == ["<25>pluto: refused code=path\n"] * 20
    writer.emit("stopping", component="notary")
    assert lines[20:] == ["<25>pluto: dropped count=80\n", "<25>pluto: stopping component=notary\n"]
    now[0] = 1.0
    writer.emit("refused", code="path")
    assert lines[22:] == ["<25>pluto: refused code=path\n"]
