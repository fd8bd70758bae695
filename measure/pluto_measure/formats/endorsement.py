"""Google's launch endorsement of a firmware: which MRTD it gives, by Google's word. Pure. Parsed, not verified.

google/gce-tcb-verifier `proto/endorsement.proto`, in Protocol Buffers' binary form; members that are not named here are
passed over, as that form wants.

    VMLaunchEndorsement   1 serialized_uefi_golden (VMGoldenMeasurement), 2 signature
    VMGoldenMeasurement   1 timestamp (Timestamp), 2 cl_spec, 3 commit, 4 cert (DER), 5 digest (SHA-384 of the
                          firmware file), 6 ca_bundle (PEM, the root first), 7 sev_snp, 8 tdx (VMTdx)
    Timestamp             1 seconds since 1970, 2 nanoseconds
    VMTdx                 1 svn, 2 measurements (Measurement, repeated)
    Measurement           1 ram_gib, 2 early_accept, 3 mrtd
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from pluto_measure.formats.reader import Reader

_WHAT: Final = "launch endorsement"
LIMIT: Final = 64 * 1024  # bytes; a genuine one has about 6 KiB
_LAST_SECOND: Final = 253402300799  # of the year 9999
_MOST_VARINT: Final = 10


@dataclass(frozen=True, slots=True)
class EndorsedMrtd:
    """One MRTD, 48 bytes; `ram_gib` is 0 where it does not depend on the memory's size."""

    ram_gib: int
    early_accept: bool
    mrtd: bytes


@dataclass(frozen=True, slots=True)
class Endorsement:
    """What the endorsement says; `golden` are the bytes that `signature` covers, `certificate` is DER.

    `ca_bundle` is PEM text of who issued the certificate, and may be empty. `timestamp` is in whole seconds;
    a genuine one has it.
    """

    golden: bytes
    signature: bytes
    certificate: bytes
    ca_bundle: bytes
    timestamp: datetime | None
    firmware_digest: bytes
    cl_spec: int
    svn: int
    mrtds: tuple[EndorsedMrtd, ...]

    def of_memory(self, memory: int) -> tuple[bytes, ...]:
        """The MRTDs that hold for this size in bytes: those for any size, and those for this one."""
        return tuple(dict.fromkeys(e.mrtd for e in self.mrtds if e.ram_gib == 0 or e.ram_gib << 30 == memory))


def parse(data: bytes) -> Endorsement:
    """A whole endorsement. FormatError for bytes that are not one, or that endorse no trust domain."""
    r = Reader(data, what=_WHAT)
    if len(data) > LIMIT:
        raise r.error(f"{len(data)} bytes are more than {LIMIT}")
    outer = _Message(r)
    golden = outer.content(1)
    inner = outer.message(1, "golden")
    tdx = inner.message(8, "tdx")
    mrtds = tuple(_mrtd(item) for item in tdx.messages(2, "measurement"))
    if not mrtds:
        raise tdx.end.error("endorses no MRTD")
    return Endorsement(
        golden=golden,
        signature=outer.content(2),
        certificate=inner.content(4),
        ca_bundle=inner.content(6) if inner.has(6) else b"",
        timestamp=_time(inner.message(1, "timestamp")) if inner.has(1) else None,
        firmware_digest=inner.content(5, 48),
        cl_spec=inner.number(2),
        svn=tdx.number(1),
        mrtds=mrtds,
    )


class _Message:
    """The fields of one message. A field that is asked for must be there once; numbers are 0 where they are not."""

    def __init__(self, r: Reader) -> None:
        self.fields = list(_fields(r))
        self.end = r  # read to its end: where an error of the whole message is

    def content(self, number: int, size: int | None = None) -> bytes:
        """The bytes of a field, `size` of them."""
        return self._one(number, size)[1]

    def has(self, number: int) -> bool:
        """Whether the field is there at all."""
        return any(field == number for field, _, _ in self.fields)

    def message(self, number: int, name: str) -> _Message:
        offset, content = self._one(number)
        return _Message(Reader(content, what=f"{_WHAT}.{name}", base=offset))

    def messages(self, number: int, name: str) -> Iterator[_Message]:
        """A field that is there any number of times."""
        for field, offset, value in self.fields:
            if field == number:
                if isinstance(value, int):
                    raise self.end.error(f"field {number} is a number")
                yield _Message(Reader(value, what=f"{_WHAT}.{name}", base=offset))

    def number(self, number: int) -> int:
        """The last value of a number's field."""
        found = [value for field, _, value in self.fields if field == number]
        if not all(isinstance(value, int) for value in found):
            raise self.end.error(f"field {number} is not a number")
        return int(found[-1]) if found else 0

    def _one(self, number: int, size: int | None = None) -> tuple[int, bytes]:
        found = [(offset, value) for field, offset, value in self.fields if field == number]
        if len(found) != 1:
            raise self.end.error(f"field {number} occurs {len(found)} times")
        offset, value = found[0]
        if isinstance(value, int) or len(value) != (len(value) if size is None else size):
            raise self.end.error(f"field {number} is not made of {'bytes' if size is None else f'{size} bytes'}")
        return offset, value


def _fields(r: Reader) -> Iterator[tuple[int, int, bytes | int]]:
    """Number, offset and value of each field. Values are bytes, or numbers of any of three encodings."""
    while r.left:
        key = _varint(r)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise r.error("field number 0")
        match kind:
            case 0:
                yield number, r.offset, _varint(r)
            case 1:
                yield number, r.offset, r.uint(8, "fixed64")
            case 2:
                size = _varint(r)
                yield number, r.offset, r.take(size, f"field {number}")
            case 5:
                yield number, r.offset, r.uint(4, "fixed32")
            case _:
                raise r.error(f"wire type {kind}")


def _varint(r: Reader) -> int:
    value = 0
    for position in range(_MOST_VARINT):
        byte = r.uint(1, "varint")
        value |= (byte & 0x7F) << (7 * position)
        if byte < 0x80 and value < 1 << 64:
            return value
    raise r.error("varint of more than 64 bits")


def _mrtd(measurement: _Message) -> EndorsedMrtd:
    return EndorsedMrtd(measurement.number(1), bool(measurement.number(2)), measurement.content(3, 48))


def _time(timestamp: _Message) -> datetime:
    seconds = timestamp.number(1)
    if seconds > _LAST_SECOND:
        raise timestamp.end.error(f"{seconds} seconds are before 1970 or after the year 9999")
    return datetime.fromtimestamp(seconds, UTC)
