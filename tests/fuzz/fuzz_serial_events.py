"""A serial line is an event that writes itself the same again, something else, or a FormatError."""

from __future__ import annotations

from pluto_measure.errors import FormatError
from pluto_notary import events
from pluto_notary.events import Event


def seeds() -> list[bytes]:
    lines = [
        Event.of("started", component="notary", version="0.1.0"),
        Event.of("ready", port=8443, buildid="ab" * 32),
        Event.of("refused", code="tls"),
        Event.of("config-refused", reason="schema"),
    ]
    return [event.to_line().encode() for event in lines] + [b"[    1.234567] pluto: dropped count=7"]


def target(data: bytes) -> None:
    line = data.decode("utf-8", "replace")
    try:
        event = events.parse(line)
    except FormatError:
        return
    assert event is None or line.rstrip("\r\n").endswith(event.to_line())
