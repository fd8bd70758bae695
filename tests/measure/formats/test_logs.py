"""Which parser a log is for, by its first bytes."""

from __future__ import annotations

import json

import pytest

from pluto_measure.errors import FormatError
from pluto_measure.formats import dstack, eventlog, logs, oak
from pluto_measure.formats.logs import Form
from simulators.event_logs import canonical_record, cos, encode, le, measured, oak_evidence

DSTACK = json.dumps([{"imr": 3, "event_type": dstack.RUNTIME_EVENT, "event": "a", "event_payload": ""}]).encode()
OAK = oak_evidence([("Stage0", b"")])
OLD = le(10, 4) + le(5, 4) + bytes(20) + le(0, 4)  # a log of TPM 1.2 that begins with PCR 10


@pytest.mark.parametrize(
    ("data", "form"),
    [
        (DSTACK, "dstack"),
        (b"\n " + DSTACK, "dstack"),
        (b'{"event_log":' + DSTACK + b"}", "dstack"),
        (OAK, "oak"),
        (OLD, "binary"),
        (encode([measured(4, 4, b"")]), "binary"),
        (canonical_record(0, 4, cos(0, b"")), "binary"),
    ],
)
def test_a_log_is_read_by_the_parser_of_its_form(data: bytes, form: Form) -> None:
    assert logs.form(data) == form
    assert logs.parse(data) == {"dstack": dstack, "oak": oak, "binary": eventlog}[form].parse(data)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\x0a\1", b"\0" * 64, b"\xff" * 64, b"MZ", b"log"])
def test_what_is_no_log_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        logs.parse(data)
