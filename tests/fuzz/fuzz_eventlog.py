"""Any bytes are an event log that can be replayed, compared and put into words, or a FormatError."""

from __future__ import annotations

from contextlib import suppress

from pluto_measure.compare.difference import differences, event_json, expected_from_log
from pluto_measure.errors import FormatError
from pluto_measure.formats import eventlog
from pluto_measure.formats.eventlog import EventType, LogEvent
from pluto_measure.predict.events import CALLING
from pluto_measure.registers.replay import replay
from simulators.event_logs import SHELL, encode, firmware_application, first_record, measured, record

_EVENTS = [
    measured(7, EventType.EV_EFI_VARIABLE_DRIVER_CONFIG, bytes(16) + b"\1" + bytes(15) + b"a\0"),
    measured(4, EventType.EV_EFI_ACTION, CALLING),
    firmware_application(SHELL, b"shell"),
    measured(12, EventType.EV_IPL, "x=1\0".encode("utf-16-le")),
    measured(9, EventType.EV_EVENT_TAG, bytes.fromhex("ed223b8f01000000") + b"x"),
]
_EXPECTED = expected_from_log(eventlog.parse(encode(_EVENTS[:3])))


def target(data: bytes) -> None:
    try:
        log = eventlog.parse(data)
    except FormatError:
        return
    with suppress(FormatError):
        replay(log)
    with suppress(FormatError):
        for difference in differences(_EXPECTED, log, command_line="quiet"):
            assert difference.meaning.isprintable()
    for event in log.events:
        assert str(event_json(log.register(event), event)["description"]).isprintable()


def seeds() -> list[bytes]:
    old = (8).to_bytes(4, "little") * 2 + bytes(20) + (4).to_bytes(4, "little") + b"data"
    cc = [LogEvent(event.index % 5, event.type, {"sha384": bytes(48)}, event.data) for event in _EVENTS]
    return [
        encode(_EVENTS),
        encode(_EVENTS) + b"\xff" * 40,
        encode(cc, ("sha384",), cc=True),
        old,
        first_record(("sha384",), vendor=b"td-shim") + record(cc[0]),
    ]
