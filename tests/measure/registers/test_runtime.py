"""Conventions of run-time events: each is told by its digest, and none by its data alone."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace as changed
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.formats import dstack, eventlog, logs, oak
from pluto_measure.formats.eventlog import EventType, LogEvent
from pluto_measure.registers.runtime import RuntimeEvent, describe_runtime
from simulators.event_logs import aael, canonical_record, cos, measured, oak_evidence

IMAGE = b"sha256:" + b"0123456789abcdef" * 4


def event(kind: int, data: bytes, hashed: bytes | None = None) -> LogEvent:
    return LogEvent(4, kind, {"sha384": hashlib.sha384(data if hashed is None else hashed).digest()}, data)


def of_dstack(version: int) -> LogEvent:
    return event(dstack.RUNTIME_EVENT, dstack.hashed("app-id", b"\1\2", version))


def of_google(kind: int, text: bytes) -> LogEvent:
    return eventlog.parse(canonical_record(0, 4, cos(kind, text))).events[0]


def of_secretvm(data: bytes, value: bytes) -> LogEvent:
    return LogEvent(4, EventType.EV_EVENT_TAG, {"sha384": value + bytes(16)}, data)


def of_oak(tag: str) -> LogEvent:
    return oak.parse(oak_evidence([(tag, b"\1")])).events[0]


COMPOSE = hashlib.sha256(b"services:").digest()
KNOWN = [
    (of_dstack(1), "dstack", "app-id = 0102"),
    (of_dstack(2), "dstack-v2", "app-id = 0102"),
    (event(dstack.RUNTIME_EVENT, dstack.hashed("boot-mr-done", b"", 1)), "dstack", "boot-mr-done"),
    (aael("example.com", "PullImage", "docker.example/a:1 sha256"), "coco-aael",
     "example.com PullImage = docker.example/a:1 sha256"),
    (of_google(0, b"docker.example/app:1"), "google-cel", "image reference = docker.example/app:1"),
    (of_google(8, b""), "google-cel", "launch separator"),
    (of_google(99, b"\xff"), "google-cel", "type 99 = ff"),
    (of_oak("Stage0"), "oak", "Stage0 = type.example/Layer"),
    (event(EventType.EV_IPL, IMAGE), "confidential-os-builder", f"container image = {IMAGE.decode()}"),
    (event(EventType.EV_IPL, b"docker.example/a@" + IMAGE, IMAGE), "confidential-os-builder",
     f"container image = {IMAGE.decode()}"),
    (of_secretvm(b"services:", COMPOSE), "secretvm", f"sha256 = {COMPOSE.hex()}"),
    (of_secretvm(COMPOSE, COMPOSE), "secretvm", f"sha256 = {COMPOSE.hex()}"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("logged", "convention", "description"), KNOWN, ids=[f"{i}-{k[1]}" for i, k in enumerate(KNOWN)]
)
def test_an_event_is_recognised_by_its_digest_alone(logged: LogEvent, convention: str, description: str) -> None:
    found = describe_runtime(logged)
    assert found is not None
    assert (found.convention, found.description) == (convention, description)
    forged = bytearray(logged.digests["sha384"])
    forged[0] ^= 1
    assert describe_runtime(changed(logged, digests={"sha384": bytes(forged)})) is None
    assert describe_runtime(changed(logged, data=logged.data + b"\1")) is None
    assert describe_runtime(changed(logged, digests={"0x0012": bytes(32)})) is None
    assert describe_runtime(changed(logged, type=int(EventType.EV_NO_ACTION))) is None


@pytest.mark.parametrize(
    "logged",
    [
        event(EventType.EV_EVENT_TAG, b"LEAA\x03\0\0\0a b"),
        event(EventType.EV_EVENT_TAG, b"LEAA\x04\0\0\0a b"),
        event(EventType.EV_EVENT_TAG, b"LEAB\x05\0\0\0a b c"),
        event(EventType.EV_IPL, aael("a", "b", "c").data),
        event(EventType.EV_IPL, dstack.hashed("a", b"", 1)),
        event(dstack.RUNTIME_EVENT, b"\1\0\0\x08:a"),
        event(eventlog.CEL_CONTENT + 80, b"\x50\0\0\0\1"),
        event(eventlog.CEL_CONTENT + 80, b"\x50\0\0\0\1\1"),
        event(eventlog.CEL_CONTENT + 4, cos(0, b"a")),
        event(oak.OAK_EVENT, b"\x0d"),
        event(EventType.EV_IPL, IMAGE.upper()),
        event(EventType.EV_IPL, b"docker.example/a@" + IMAGE),
        LogEvent(4, EventType.EV_EVENT_TAG, {"sha384": bytes(48)}, b""),
        LogEvent(4, EventType.EV_EVENT_TAG, {"sha384": bytes(48)}, bytes(32)),
        LogEvent(4, EventType.EV_EVENT_TAG, {"sha256": COMPOSE}, COMPOSE),
        measured(4, EventType.EV_SEPARATOR, bytes(4)),
    ],
)
def test_what_only_resembles_a_convention_follows_none(logged: LogEvent) -> None:
    assert describe_runtime(logged) is None


def test_untrusted_text_is_made_fit_for_a_terminal() -> None:
    found = RuntimeEvent("dstack", "a\x1b[2J", b"x" * 300)
    assert found.description == "a\\x1b[2J = " + "x" * 200 + "..."
    assert RuntimeEvent("dstack", "a", "\N{REPLACEMENT CHARACTER}".encode()).description == "a = efbfbd"


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([k[0] for k in KNOWN]),
    st.binary(max_size=40),
    st.sampled_from([dstack.RUNTIME_EVENT, 6, 0xD, oak.OAK_EVENT, eventlog.CEL_CONTENT + 80]),
)
def test_any_event_is_described_printably_or_not_at_all(known: LogEvent, data: bytes, kind: int) -> None:
    for content in (data, known.data[: len(known.data) // 2] + data, known.data + data):
        found = describe_runtime(event(kind, content))
        assert found is None or found.description.isprintable()


def test_real_logs_have_the_conventions_of_their_products(vectors: Path) -> None:
    folder = vectors / "measure/ccel"
    dstacks = logs.parse((folder / "dstack-lite-getquote.json").read_bytes())
    found = [describe_runtime(event) for event in dstacks.events]
    assert [item is not None for item in found] == [event.index == 4 for event in dstacks.events]
    names = [item.name for item in found if item and item.convention == "dstack"]
    assert names[:4] == ["system-preparing", "app-id", "compose-hash", "instance-id"]
    alibaba = eventlog.parse((folder / "trustee-CCEL_AAEL_alibabacloud").read_bytes())
    aaels = [item for event in alibaba.events if (item := describe_runtime(event))]
    assert [item.convention for item in aaels] == ["coco-aael"] * 2
    assert json.loads(aaels[1].content) == {"key": "value", "nested-key": {"sub-key": "value"}}
    evidence = logs.parse((vectors / "quotes/oak/tdx_oc_evidence.binarypb").read_bytes())
    tags = [item.name for event in evidence.events if (item := describe_runtime(event))]
    assert tags == ["Stage0", "stage1", "ORCHESTRATOR"]


def test_firmwares_events_follow_no_convention(vectors: Path) -> None:
    for path in (vectors / "measure/ccel").glob("q*.ccel.bin"):
        assert not any(describe_runtime(event) for event in eventlog.parse(path.read_bytes()).events)
