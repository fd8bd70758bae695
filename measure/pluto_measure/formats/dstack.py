"""Event logs as dstack hands them out: JSON, one digest per event, register numbers from 0. Bytes in, values out.

Format: Dstack-TEE/dstack, `cc-eventlog` (TdxEvent) and the answer of its guest agent to GetQuote.

    Log       Event[], or an object whose `event_log` is that list or its JSON text
    Event     {"imr": 0 to 3, "event_type": u32, "digest": hex or "", "event": name, "event_payload": hex,
               "version": 1 or 2 or absent, ...}
    Run-time events have the type 0x08000001. Their digest is SHA-384 of
      version 1   u32 type, little-endian ‖ ":" ‖ name ‖ ":" ‖ payload
      version 2   {"event":name,"event_type":134217729,"payload":hex,"version":2} as RFC 8785 spells it
    and is left out of logs that were made smaller, as are the data of all other events.
    In a binary log the data of a run-time event are these hashed bytes.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from pluto_measure.errors import FormatError
from pluto_measure.formats.eventlog import EventLog, LogEvent
from pluto_measure.formats.strict_json import canonical, loads, unhex

RUNTIME_EVENT: Final = 0x08000001

_WHAT: Final = "dstack event log"
_LARGEST: Final = 4 * 1024 * 1024
_LARGEST_HASHED: Final = 1024 * 1024
_MOST_EVENTS: Final = 16384
_PREFIX: Final = RUNTIME_EVENT.to_bytes(4, "little") + b":"


def hashed(name: str, payload: bytes, version: int) -> bytes:
    """What the digest of a run-time event is of."""
    if version == 1:
        return _PREFIX + name.encode() + b":" + payload
    return canonical({"event": name, "event_type": RUNTIME_EVENT, "payload": payload.hex(), "version": 2})


def parse_hashed(data: bytes) -> tuple[str, bytes, int] | None:
    """Name, payload and version of the run-time event that is hashed so; None where `data` is not of this form.

    Of version 1 the first colon ends the name: dstack's own names have none.
    """
    if data.startswith(_PREFIX):
        name, colon, payload = data[len(_PREFIX) :].partition(b":")
        try:
            return (name.decode(), payload, 1) if colon else None
        except UnicodeDecodeError:
            return None
    try:
        value = loads(data, what=_WHAT, limit=_LARGEST_HASHED)
        found = value["event"], bytes.fromhex(value["payload"]), 2
        return found if hashed(*found) == data else None
    except (FormatError, TypeError, KeyError, ValueError):
        return None


def parse(text: bytes) -> EventLog:
    """A log, or the answer that holds it, as a CC log. FormatError.

    A digest that was left out is made from name and payload; one that is there is taken as it is, right or wrong.
    """
    value = loads(text, what=_WHAT, limit=_LARGEST)
    if isinstance(value, dict):
        value = value.get("event_log")
        value = loads(value, what=f"{_WHAT}.event_log") if isinstance(value, str) else value
    if not isinstance(value, list) or not value:
        raise FormatError(_WHAT, "has no list of events")
    if len(value) > _MOST_EVENTS:
        raise FormatError(_WHAT, f"has more than {_MOST_EVENTS} events")
    events = tuple(_event(item, f"{_WHAT}[{position}]") for position, item in enumerate(value))
    return EventLog("cc", ("sha384",), events)


def _event(item: object, what: str) -> LogEvent:
    if not isinstance(item, dict):
        raise FormatError(what, "is not an object")
    register, kind = _number(item, "imr", range(4), what), _number(item, "event_type", range(2**32), what)
    name, payload = _text(item, "event", what), _hex(_text(item, "event_payload", what), what)
    shown = _text({"digest": "", **item}, "digest", what)
    version = _number({"version": 1, **item}, "version", range(1, 3), what)
    data = hashed(name, payload, version) if kind == RUNTIME_EVENT else payload
    if not (shown or kind == RUNTIME_EVENT):
        raise FormatError(what, "has no digest")
    digest = unhex(shown, 48, what=f"{what}.digest") if shown else hashlib.sha384(data).digest()
    return LogEvent(register + 1, kind, {"sha384": digest}, data)


def _number(item: dict[str, Any], name: str, allowed: range, what: str) -> int:
    value = item.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value not in allowed:
        raise FormatError(what, f"{name} is not a number from {allowed.start} to {allowed.stop - 1}")
    return value


def _text(item: dict[str, Any], name: str, what: str) -> str:
    value = item.get(name)
    if not isinstance(value, str) or any("\ud800" <= character <= "\udfff" for character in value):
        raise FormatError(what, f"{name} is not text")
    return value


def _hex(text: str, what: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise FormatError(what, "event_payload is not hex") from error
