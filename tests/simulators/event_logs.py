"""Writes event logs as firmware does. For tests alone; the parser of such logs is what is tested."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pluto_measure.digests import ALGORITHMS, digest
from pluto_measure.formats import uefi
from pluto_measure.formats.eventlog import EventLog, EventType, LogEvent
from pluto_measure.predict.events import ExpectedEvent

SPEC_ID = b"Spec ID Event03\0"
SHELL = "7c04a583-9e3e-4f1c-ad65-e05268d0b4d1"
UI_APP = "462caa21-7614-4503-836e-8ab6f4662331"


def le(value: int, size: int) -> bytes:
    return value.to_bytes(size, "little")


def spec_id(algorithms: Sequence[str], vendor: bytes = b"") -> bytes:
    """The data of a log's first record."""
    listed = b"".join(le(ALGORITHMS[name][0], 2) + le(ALGORITHMS[name][1], 2) for name in algorithms)
    return SPEC_ID + le(0, 4) + bytes([0, 2, 0, 2]) + le(len(algorithms), 4) + listed + bytes([len(vendor)]) + vendor


def first_record(algorithms: Sequence[str], *, index: int = 0, vendor: bytes = b"") -> bytes:
    data = spec_id(algorithms, vendor)
    return le(index, 4) + le(EventType.EV_NO_ACTION, 4) + bytes(20) + le(len(data), 4) + data


def record(event: LogEvent) -> bytes:
    """Any record but the first."""
    digests = b"".join(le(ALGORITHMS[name][0], 2) + value for name, value in event.digests.items())
    head = le(event.index & 0xFFFFFFFF, 4) + le(event.type, 4) + le(len(event.digests), 4)
    return head + digests + le(len(event.data), 4) + event.data


def encode(events: Iterable[LogEvent], algorithms: Sequence[str] = ("sha256", "sha384"), *, cc: bool = False) -> bytes:
    """A whole log, without padding."""
    return first_record(algorithms, index=1 if cc else 0) + b"".join(record(event) for event in events)


def measured(index: int, kind: int, data: bytes, algorithms: Sequence[str] = ("sha256", "sha384")) -> LogEvent:
    """An event whose digest is that of its data."""
    return LogEvent(index, kind, {name: digest(name, data) for name in algorithms}, data)


def of_expected(expected: Iterable[ExpectedEvent]) -> list[LogEvent]:
    """What an honest machine logs; the data is left empty, since no digest of these is compared with it."""
    return [LogEvent(int(event.register[3:]), event.type, dict(event.digests), b"") for event in expected]


def firmware_application(guid: str, content: bytes) -> LogEvent:
    """An application started from a firmware volume: digest of the image, data that only names it."""
    fv = uefi.PathNode(4, 7, bytes(16))
    path = uefi.encode_path((fv, uefi.PathNode(4, 6, _guid(guid))))
    data = le(0x1000, 8) + le(len(content), 8) + le(0, 8) + le(len(path), 8) + path
    event = measured(4, EventType.EV_EFI_BOOT_SERVICES_APPLICATION, content)
    return LogEvent(4, event.type, event.digests, data)


def log_of(events: Iterable[LogEvent]) -> EventLog:
    """A parsed TPM log."""
    return EventLog("tpm", ("sha256", "sha384"), tuple(events))


def _guid(text: str) -> bytes:
    first, second, third, fourth, fifth = text.split("-")
    head = b"".join(bytes.fromhex(part)[::-1] for part in (first, second, third))
    return head + bytes.fromhex(fourth + fifth)
