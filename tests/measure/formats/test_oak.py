"""Oak's event log: events out of evidence, and every way in which the protobuf can be wrong."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.errors import FormatError
from pluto_measure.formats import oak
from pluto_measure.formats.eventlog import LogEvent
from pluto_measure.registers.replay import replay
from simulators.event_logs import oak_evidence, protobuf


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.text(st.characters(categories=["L"])), st.binary(max_size=300)), min_size=1, max_size=4))
def test_every_event_extends_rtmr_2_with_the_digest_of_its_encoding(events: list[tuple[str, bytes]]) -> None:
    log = oak.parse(oak_evidence(events))
    value = bytes(48)
    for event, (tag, message) in zip(log.events, events, strict=True):
        encoded = protobuf(1, tag.encode()) + protobuf(2, protobuf(1, b"type.example/Layer") + protobuf(2, message))
        assert event == LogEvent(3, oak.OAK_EVENT, {"sha384": hashlib.sha384(encoded).digest()}, encoded)
        assert oak.parse_event(event.data) == (tag, "type.example/Layer")
        value = hashlib.sha384(value + hashlib.sha384(encoded).digest()).digest()
    assert replay(log)["sha384"] == {"rtmr0": bytes(48), "rtmr1": bytes(48), "rtmr2": value, "rtmr3": bytes(48)}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "0 events are not between 1 and 1024"),
        (oak_evidence([]), "0 events are not between"),
        (protobuf(4, protobuf(2, b"") * 1025), "1025 events are not between"),
        (protobuf(4, protobuf(2, b"event"))[:-1], "field needs 7 bytes, 6 left"),
        (protobuf(4, protobuf(2, b"event")[:-1]), "field needs 5 bytes, 4 left"),
        (b"\x0d\0\0\0\0", "wire type 5 is not a varint and not bytes"),
        (b"\x08" + b"\x80" * 10, "varint does not end"),
        (b"\x80" * 3, "key needs 1 bytes"),
        (b"\x22\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "field needs 9223372036854775807 bytes"),
        (bytes(4 * 1024 * 1024 + 1), "are more than"),
    ],
)
def test_what_is_no_evidence_is_refused_with_its_offset(data: bytes, problem: str) -> None:
    with pytest.raises(FormatError, match=problem) as caught:
        oak.parse(data)
    assert caught.value.offset is not None


def test_fields_of_other_numbers_are_passed_over() -> None:
    evidence = b"\x18\x96\x01" + oak_evidence([("Stage0", b"")]) + protobuf(9, b"more")
    assert len(oak.parse(evidence).events) == 1
    assert oak.parse_event(b"") == ("", "")


def test_evidence_begins_with_a_field_and_not_with_a_register() -> None:
    assert oak.begins(oak_evidence([]))
    for data in (b"", b"\x0a", b"\x0a\0\0\0\3\0\0\0", b"\0\0\0\0\3", b"{}"):
        assert not oak.begins(data)
