"""Oak's event log: the layers that Oak Containers start, inside an Evidence message. Bytes in, values out.

Format: project-oak/oak, `proto/attestation/evidence.proto` and `eventlog.proto`, in the protobuf encoding (tag, length,
content; only length-delimited fields and varints occur).

    Evidence   4: EventLog                    other fields: quote, certificates, ...
    EventLog   2: encoded_events[]            each an Event
    Event      1: tag ("Stage0", "stage1", "ORCHESTRATOR"), 2: Any {1: type URL, 2: message}

On TDX each layer extends RTMR[2] with the SHA-384 of the next layer's encoded event. Nothing else extends a register:
Oak's stage 0 is the firmware, and MRTD covers it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final

from pluto_measure.formats.eventlog import EventLog, LogEvent
from pluto_measure.formats.reader import Reader

# Event type of an encoded event. Ours, no number of the TCG.
OAK_EVENT: Final = int.from_bytes(b"OAK\0", "big")

_WHAT: Final = "Oak evidence"
_RTMR2: Final = 3  # as a CC log counts
_LARGEST: Final = 4 * 1024 * 1024
_MOST_EVENTS: Final = 1024
_VARINT: Final = 0
_BYTES: Final = 2


def begins(data: bytes) -> bool:
    """Whether this looks like Evidence: its first field holds bytes. As a PCR's index in a log this is none."""
    return data[:1] == b"\x0a" and data[1:4] not in (b"", b"\0\0\0")


def parse(data: bytes) -> EventLog:
    """The events of an Evidence message as a CC log. FormatError where there is none."""
    r = Reader(data, what=_WHAT)
    if len(data) > _LARGEST:
        raise r.error(f"{len(data)} bytes are more than {_LARGEST}")
    events = [
        LogEvent(_RTMR2, OAK_EVENT, {"sha384": hashlib.sha384(encoded).digest()}, encoded)
        for log in _fields(r, 4)
        for encoded in (event.rest() for event in _fields(log, 2))
    ]
    if not 1 <= len(events) <= _MOST_EVENTS:
        raise r.error(f"{len(events)} events are not between 1 and {_MOST_EVENTS}")
    return EventLog("cc", ("sha384",), tuple(events))


def parse_event(data: bytes) -> tuple[str, str]:
    """Tag of an encoded event, and the type URL of its message. FormatError."""
    tag, url = "", ""
    for field in _fields(Reader(data, what=f"{_WHAT}.Event"), 1):
        tag = field.rest().decode("utf-8", "replace")
    for message in _fields(Reader(data, what=f"{_WHAT}.Event"), 2):
        for field in _fields(message, 1):
            url = field.rest().decode("utf-8", "replace")
    return tag, url


def _fields(r: Reader, wanted: int) -> Iterator[Reader]:
    """The contents of every length-delimited field with this number, in order; `r` is read to its end."""
    while r.left:
        key = _varint(r, "key")
        if key & 7 == _VARINT:
            _varint(r, "varint")
        elif key & 7 == _BYTES:
            content = r.sub(_varint(r, "length"), "field")
            if key >> 3 == wanted:
                yield content
        else:
            raise r.error(f"wire type {key & 7} is not a varint and not bytes")


def _varint(r: Reader, field: str) -> int:
    value = 0
    for shift in range(0, 64, 7):
        byte = r.uint(1, field)
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value
    raise r.error(f"{field} does not end")
