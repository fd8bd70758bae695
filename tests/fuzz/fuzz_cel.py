"""Any bytes are canonical records whose fields are those bytes again, or a FormatError with a place inside them."""

from __future__ import annotations

from pluto_measure.digests import ALGORITHMS
from pluto_measure.errors import FormatError
from pluto_measure.formats import cel
from simulators.event_logs import canonical_record, cos, pc_client, tlv

_NUMBERS = {name: number for name, (number, _) in ALGORITHMS.items()}
_REGISTERS = {"pcr": 1, "nv": 2, "cc": 108}


def target(data: bytes) -> None:
    cel.begins(data)
    offset: int | None = 0
    try:
        records = cel.parse(data)
    except FormatError as error:
        records, offset = (), error.offset
    assert offset is not None
    assert 0 <= offset <= len(data)
    if records:
        _compare(records, data)


def _compare(records: tuple[cel.Record, ...], data: bytes) -> None:
    at = 0
    for record in records:
        digests = b"".join(tlv(_NUMBERS.get(n) or int(n, 16), value) for n, value in record.digests.items())
        whole = tlv(3, digests) + record.content_tlv
        found = data.find(whole, at)
        head = data[at:found]
        assert found >= at
        # Number and index may have leading zeros, so they are compared as numbers.
        size = int.from_bytes(head[1:5], "big")
        assert (head[0], int.from_bytes(head[5 : 5 + size], "big")) == (0, record.number)
        assert (head[5 + size], int.from_bytes(head[10 + size :], "big")) == (_REGISTERS[record.register], record.index)
        at = found + len(whole)
    assert data[at:] in (b"\xff" * (len(data) - at), bytes(len(data) - at))


def seeds() -> list[bytes]:
    first = canonical_record(0, 4, cos(0, b"docker.example/app:1"))
    return [
        first,
        first + canonical_record(1, 4, cos(8, b"")) + b"\xff" * 8,
        canonical_record(0, 13, pc_client(4, bytes(4)), digests={"sha256": bytes(32)}, register=1) + bytes(8),
    ]
