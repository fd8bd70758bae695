"""Canonical event logs in TLV encoding, as Google's launcher for Confidential Space writes them. Pure.

Formats: TCG Canonical Event Log Format 1.0, sections 4 and 5.1; the register of a trust domain and the content of
Container-Optimized OS as google/go-eventlog and google/go-tpm-tools number them. All integers big-endian.

    TLV        u8 type, u32 length, u8 value[length]
    Log        Record[], then padding (0xff or 0x00) or nothing
    Record     number, register, digests, content          four TLVs in this order
    number     type 0, an integer of 1 to 8 bytes          counts the log's records, or those of one register
    register   type 1 PCR, 2 NV index, 108 CC register;    an integer of 1 to 4 bytes; 108 counts as a CC log does
    digests    type 3, a TLV for each bank                 type: TPM algorithm identifier, value: the digest
    content    any other type                              4 management, 5 PC client, 7 IMA template, 8 IMA TLV, 80 COS
    PC client  TLV 0: event type of 4 bytes, TLV 1: event data
    COS        one TLV: what it is (0 image reference, 1 image digest, ...), and its text
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from pluto_measure.digests import ALGORITHMS, NAME_OF
from pluto_measure.formats.reader import Reader

RegisterKind = Literal["pcr", "nv", "cc"]

PC_CLIENT: Final = 5
COS: Final = 80

_WHAT: Final = "canonical event log"
_NUMBER: Final = 0
_DIGESTS: Final = 3
_REGISTERS: Final[Mapping[int, RegisterKind]] = {1: "pcr", 2: "nv", 108: "cc"}
_LONGEST_NUMBER: Final = 8
_LONGEST_INDEX: Final = 4
_LONGEST_DIGEST: Final = 64
_MOST_DIGESTS: Final = 8
_MOST_RECORDS: Final = 65536  # as many events as any log may have: `eventlog`


@dataclass(frozen=True, slots=True)
class Record:
    """One record. `content` is the value of the content TLV, whose type is `content_type`."""

    number: int
    register: RegisterKind
    index: int
    digests: Mapping[str, bytes]  # by algorithm name; "0x0012" and the like where the algorithm is not ours
    content_type: int
    content: bytes
    offset: int = field(default=0, compare=False)  # of the content, in the file

    @property
    def content_tlv(self) -> bytes:
        """The whole content TLV: what COS digests."""
        return bytes([self.content_type]) + len(self.content).to_bytes(4, "big") + self.content


def begins(data: bytes, at: int = 0) -> bool:
    """Whether a record lies at `at`, by the heads of its first three TLVs. No event of another log has these bytes."""
    for types, longest in (((_NUMBER,), _LONGEST_NUMBER), (_REGISTERS, _LONGEST_INDEX)):
        size = int.from_bytes(data[at + 1 : at + 5], "big")
        if not (at < len(data) and data[at] in types and 1 <= size <= longest):
            return False
        at += 5 + size
    return data[at : at + 1] == bytes([_DIGESTS])


def parse(data: bytes, *, base: int = 0) -> tuple[Record, ...]:
    """A whole log, padding included; `base` is where it lies in a larger file. FormatError."""
    r = Reader(data, what=_WHAT, base=base, order="big")
    padding = len(data) - min(len(data.rstrip(b"\xff")), len(data.rstrip(b"\0")))
    records: list[Record] = []
    while r.left > padding:
        if len(records) == _MOST_RECORDS:
            raise r.error(f"more than {_MOST_RECORDS} records")
        records.append(_record(r))
    return tuple(records)


def parse_tlv(data: bytes, *, what: str) -> tuple[int, bytes]:
    """Type and value of one TLV that fills `data` exactly. FormatError."""
    r = Reader(data, what=what, order="big")
    kind, value = r.uint(1, "type"), r.take(r.uint(4, "length"), "value")
    r.end()
    return kind, value


def parse_pc_client(record: Record) -> tuple[int, bytes]:
    """Event type and event data of a record whose content is of type PC_CLIENT. FormatError."""
    r = Reader(record.content, what=f"{_WHAT}.PC client event", base=record.offset, order="big")
    kind = _integer(r, 0, 4, "event type")
    data = _tlv(r, 1, "event data").rest()
    r.end()
    return kind, data


def _record(r: Reader) -> Record:
    number = _integer(r, _NUMBER, _LONGEST_NUMBER, "record number")
    kind = r.uint(1, "register type")
    if kind not in _REGISTERS:
        raise r.error(f"type {kind} is not that of a PCR, an NV index or a CC register")
    index = _value(r, _LONGEST_INDEX, "register")
    digests = _digests(_tlv(r, _DIGESTS, "digests"))
    content_type, size = r.uint(1, "content type"), r.uint(4, "content length")
    offset = r.offset
    return Record(number, _REGISTERS[kind], index, digests, content_type, r.take(size, "content"), offset)


def _digests(r: Reader) -> dict[str, bytes]:
    digests: dict[str, bytes] = {}
    while r.left:
        number = r.uint(1, "algorithm")
        name = NAME_OF.get(number, f"{number:#06x}")
        value = r.take(r.uint(4, "digest length"), "digest")
        known = ALGORITHMS.get(name)
        if name in digests or (known and known[1] != len(value)) or not 1 <= len(value) <= _LONGEST_DIGEST:
            raise r.error(f"algorithm {name} with {len(value)} bytes is wrong or occurs twice")
        digests[name] = value
        if len(digests) > _MOST_DIGESTS:
            raise r.error(f"more than {_MOST_DIGESTS} digests")
    if not digests:
        raise r.error("a record without a digest")
    return digests


def _tlv(r: Reader, wanted: int, field: str) -> Reader:
    kind = r.uint(1, f"{field} type")
    if kind != wanted:
        raise r.error(f"type {kind} is not {wanted}, that of {field}")
    return r.sub(r.uint(4, f"{field} length"), field)


def _integer(r: Reader, wanted: int, longest: int, field: str) -> int:
    kind = r.uint(1, f"{field} type")
    if kind != wanted:
        raise r.error(f"type {kind} is not {wanted}, that of {field}")
    return _value(r, longest, field)


def _value(r: Reader, longest: int, field: str) -> int:
    size = r.uint(4, f"{field} length")
    if not 1 <= size <= longest:
        raise r.error(f"{field} of {size} bytes is not between 1 and {longest}")
    return r.uint(size, field)
