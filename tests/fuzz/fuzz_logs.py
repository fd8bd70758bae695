"""Any bytes are an event log of some form that can be replayed and told by convention, or a FormatError."""

from __future__ import annotations

import json
from contextlib import suppress

from pluto_measure.digests import ALGORITHMS
from pluto_measure.errors import FormatError
from pluto_measure.formats import ccel, dstack, logs, oak
from pluto_measure.formats.eventlog import EventLog, LogEvent
from pluto_measure.registers.replay import replay
from pluto_measure.registers.runtime import describe_runtime
from simulators.event_logs import (
    aael,
    canonical_record,
    ccel_table,
    cos,
    encode,
    first_record,
    measured,
    oak_evidence,
    pc_client,
    record,
)

_RUNTIME = {"imr": 3, "event_type": dstack.RUNTIME_EVENT, "event": "app-id", "event_payload": "0102", "version": 2}


def target(data: bytes) -> None:
    with suppress(FormatError):
        ccel.check_size(ccel.parse(data), len(data))
    with suppress(FormatError):
        assert isinstance(oak.parse_event(data), tuple)
    offset: int | None = 0
    try:
        log = logs.parse(data)
    except FormatError as error:
        log, offset = EventLog("cc", (), ()), error.offset
    assert offset is None or 0 <= offset <= len(data)
    for event in log.events:
        part, found = event.measured_part, describe_runtime(event)
        assert event.data_is_measured == (part is not None)
        assert part is None or event.data.endswith(part)
        assert found is None or found.description.isprintable()
    with suppress(FormatError):
        for bank, registers in replay(log).items():
            assert {len(value) for value in registers.values()} == {ALGORITHMS[bank][1]}


def seeds() -> list[bytes]:
    cc = encode([measured(1, 4, bytes(4), ("sha384",)), aael("a", "b", "c")], ("sha384",), cc=True)
    content = cos(0, b"docker.example/app:1")
    canonical = canonical_record(0, 4, content) + canonical_record(1, 4, pc_client(4, b"x"))
    backwards = LogEvent(4, 4, dict(reversed(list(measured(4, 4, b"x").digests.items()))), b"x")
    return [
        cc + canonical,
        cc + b"\xff" * 9 + canonical + b"\xff" * 9,
        cc + bytes(9) + canonical,
        canonical,
        first_record(("sha256", "sha384")) + record(backwards) + record(measured(1, 0x80000002, bytes(40))),
        ccel_table(65536),
        oak_evidence([("Stage0", b"message"), ("stage1", b"")]),
        json.dumps([_RUNTIME, {**_RUNTIME, "version": 1, "digest": "ab" * 48}]).encode(),
        json.dumps({"event_log": json.dumps([_RUNTIME])}).encode(),
    ]
