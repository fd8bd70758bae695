"""An event log of whatever form, told by its content. Bytes in, values out.

    begins with { or [        dstack's JSON (`formats.dstack`)
    begins with 0a, not 0     Oak's evidence (`formats.oak`)
    else                      a log of the TCG, the CCEL or a canonical log (`formats.eventlog`)

No binary log begins like the first two: its first byte is the number of a register, or 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Literal

from pluto_measure.formats import dstack, eventlog, oak
from pluto_measure.formats.eventlog import EventLog

Form = Literal["dstack", "oak", "binary"]

_PARSERS: Final[Mapping[Form, Callable[[bytes], EventLog]]] = {
    "dstack": dstack.parse,
    "oak": oak.parse,
    "binary": eventlog.parse,
}


def form(data: bytes) -> Form:
    """Which parser these bytes are for."""
    if data.lstrip()[:1] in (b"{", b"["):
        return "dstack"
    return "oak" if oak.begins(data) else "binary"


def parse(data: bytes) -> EventLog:
    """The log. FormatError."""
    return _PARSERS[form(data)](data)
