"""Writes event logs as firmware does. For tests alone; the parser of such logs is what is tested."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

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


def tlv(kind: int, value: bytes) -> bytes:
    """One field of a canonical log: big-endian, as everything in it."""
    return bytes([kind]) + len(value).to_bytes(4, "big") + value


def canonical_record(
    number: int, index: int, content: bytes, *, digests: Mapping[str, bytes] | None = None, register: int = 108
) -> bytes:
    """One record of a canonical log. `content` is a whole TLV, and what is digested (SHA-384) unless told otherwise."""
    digests = {"sha384": digest("sha384", content)} if digests is None else digests
    listed = b"".join(tlv(ALGORITHMS[name][0], value) for name, value in digests.items())
    return tlv(0, number.to_bytes(8, "big")) + tlv(register, bytes([index])) + tlv(3, listed) + content


def cos(kind: int, text: bytes) -> bytes:
    """The content of a record of Container-Optimized OS, as a whole TLV."""
    return tlv(80, tlv(kind, text))


def pc_client(kind: int, data: bytes) -> bytes:
    """The content of a canonical record that carries a firmware's event, as a whole TLV."""
    return tlv(5, tlv(0, kind.to_bytes(4, "big")) + tlv(1, data))


def ccel_table(log_size: int, *, address: int = 0xBEDBF000, kind: int = 2) -> bytes:
    """The ACPI table CCEL, with its checksum."""
    body = b"CCEL" + le(56, 4) + b"\1\0" + b"PLUTO PLUTOTEE".ljust(26) + bytes([kind, 0, 0, 0]) + le(log_size, 8)
    table = bytearray(body + le(address, 8))
    table[9] = -sum(table) % 256
    return bytes(table)


def aael(domain: str, operation: str, content: str) -> LogEvent:
    """An event of the Confidential Containers' attestation agent."""
    text = f"{domain} {operation} {content}".encode()
    return measured(4, EventType.EV_EVENT_TAG, b"LEAA" + le(len(text), 4) + text, ("sha384",))


def protobuf(number: int, content: bytes) -> bytes:
    """One length-delimited field."""
    size, length = len(content), bytearray()
    while size > 0x7F:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([number << 3 | 2, *length, size]) + content


def oak_evidence(events: Iterable[tuple[str, bytes]], quote: bytes = b"quote") -> bytes:
    """Oak's Evidence with a quote and an event log; an event is its tag and the message inside."""
    encoded = (
        protobuf(1, tag.encode()) + protobuf(2, protobuf(1, b"type.example/Layer") + protobuf(2, message))
        for tag, message in events
    )
    return protobuf(1, b"\x08\4" + protobuf(2, quote)) + protobuf(4, b"".join(protobuf(2, e) for e in encoded))
