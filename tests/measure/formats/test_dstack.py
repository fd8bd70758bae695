"""dstack's event log: both digests of run-time events, what is left out of it, and what is refused."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.errors import FormatError
from pluto_measure.formats import dstack
from pluto_measure.formats.dstack import RUNTIME_EVENT, hashed, parse_hashed
from pluto_measure.formats.eventlog import EventType, LogEvent
from simulators.event_logs import measured

BOOT = {
    "imr": 0,
    "event_type": 4,
    "digest": measured(1, 4, bytes(4)).digests["sha384"].hex(),
    "event": "",
    "event_payload": "",
}
APP = {"imr": 3, "event_type": RUNTIME_EVENT, "digest": "", "event": "app-id", "event_payload": "0a0b"}
V1 = b"\x01\x00\x00\x08:app-id:\x0a\x0b"
V2 = b'{"event":"app-id","event_type":134217729,"payload":"0a0b","version":2}'


def sha384(data: bytes) -> dict[str, bytes]:
    return {"sha384": hashlib.sha384(data).digest()}


def text(*events: dict[str, Any]) -> bytes:
    return json.dumps(events).encode()


@pytest.mark.parametrize(
    "answer",
    [
        [BOOT, APP],
        {"event_log": [BOOT, APP], "quote": "00"},
        {"quote": "00", "event_log": json.dumps([BOOT, APP])},
    ],
    ids=["list", "object", "text-in-object"],
)
def test_a_log_is_a_list_or_in_the_answer_that_holds_it(answer: object) -> None:
    log = dstack.parse(json.dumps(answer).encode())
    assert (log.kind, log.algorithms) == ("cc", ("sha384",))
    boot, app = log.events
    assert boot == LogEvent(1, EventType.EV_SEPARATOR, sha384(bytes(4)), b"")
    assert app == LogEvent(4, RUNTIME_EVENT, sha384(V1), V1)
    assert [log.register(event) for event in log.events] == ["rtmr0", "rtmr3"]


def test_a_digest_that_was_left_out_is_made_by_the_version_of_the_event() -> None:
    first, second = dstack.parse(text(APP, {**APP, "version": 2, "hash_input": "00"})).events
    assert (first.digests, second.digests) == (sha384(V1), sha384(V2))
    assert second.data == V2


def test_a_digest_that_is_there_is_taken_right_or_wrong() -> None:
    right, wrong = dstack.parse(
        text({**APP, "digest": sha384(V1)["sha384"].hex()}, {**APP, "digest": "ab" * 48})
    ).events
    assert right.data_is_measured
    assert not wrong.data_is_measured
    assert wrong.digests["sha384"] == b"\xab" * 48
    assert dstack.parse(text({k: v for k, v in APP.items() if k != "digest"})).events[0].digests == sha384(V1)


@settings(max_examples=80, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), st.binary(max_size=12))
def test_what_is_hashed_tells_name_and_payload(name: str, payload: bytes) -> None:
    assert parse_hashed(hashed(name, payload, 2)) == (name, payload, 2)
    plain = name.replace(":", "")
    assert parse_hashed(hashed(plain, payload, 1)) == (plain, payload, 1)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01\x00\x00\x08:app-id",
        b"\x01\x00\x00\x08:\xff:",
        b"\x02" + V1[1:],
        V2[:-1],
        V2.replace(b'"version":2', b'"version":3'),
        V2.replace(b"0a0b", b"0A0B"),
        V2.replace(b"0a0b", b"0x0b"),
        V2.replace(b",", b", "),
        b'{"event":"app-id"}',
        b'{"event":1,"payload":""}',
        b'{"event":"\\ud800","event_type":134217729,"payload":"","version":2}',
        b"[]",
        b"1",
        hashed("a", bytes(512 * 1024), 2),
    ],
    ids=lambda data: repr(data[:40]),
)
def test_other_bytes_are_not_what_dstack_hashes(data: bytes) -> None:
    assert parse_hashed(data) is None


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"imr": 4}, "imr is not a number from 0 to 3"),
        ({"imr": True}, "imr is not a number"),
        ({"imr": -1}, "imr is not a number"),
        ({"event_type": 2**32}, "event_type is not a number from 0 to 4294967295"),
        ({"event_type": 4}, "has no digest"),
        ({"event_type": None}, "event_type is not a number"),
        ({"digest": "ab"}, "must be 96 lower-case hex digits"),
        ({"digest": None}, "digest is not text"),
        ({"event": None}, "event is not text"),
        ({"event": "\ud800"}, "event is not text"),
        ({"event_payload": "0"}, "event_payload is not hex"),
        ({"event_payload": 1}, "event_payload is not text"),
        ({"version": 0}, "version is not a number from 1 to 2"),
        ({"version": 3}, "version is not a number"),
    ],
)
def test_a_wrong_event_is_refused_by_its_position(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(FormatError, match=rf"dstack event log\[1\].*{problem}"):
        dstack.parse(text(APP, {**APP, **changes}))


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "not JSON"),
        (b"[]", "has no list of events"),
        (b"{}", "has no list of events"),
        (b'{"event_log": 1}', "has no list of events"),
        (b'{"event_log": "["}', "event_log: not JSON"),
        (b'{"event_log": "{}"}', "has no list of events"),
        (b"[1]", r"\[0\]: is not an object"),
        (b"[" + b"1," * 16384 + b"1]", "more than 16384 events"),
        (b" " * (4 * 1024 * 1024 + 1), "are more than"),
        (b"[" * 100000, "not JSON"),
    ],
)
def test_what_is_no_log_is_refused(data: bytes, problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        dstack.parse(data)
