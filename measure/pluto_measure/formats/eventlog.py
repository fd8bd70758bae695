"""Event logs of measured boot: TPM logs (PCRs) and confidential-computing logs (CCEL, RTMRs). Bytes in, values out.

A log is untrusted text: only what replays to a quoted register is known to have been measured, and even then type,
index and data of an event are what somebody wrote there. `LogEvent.measured_part` says which bytes the digest covers.
Formats: TCG PC Client Platform Firmware Profile 1.06, section 10; UEFI 2.10, section 38 (CC Measurement).

    First record   u32 index, u32 type EV_NO_ACTION, u8 sha1[20], u32 size, SpecId data[size]
    SpecId         "Spec ID Event03\\0", u32 platform_class, u8 minor, major, errata, uintn_size,
                   u32 algorithms, {u16 algorithm, u16 digest_size}[], u8 vendor_size, u8 vendor[]
    Others         u32 index, u32 type, u32 count, {u16 algorithm, u8 digest[]}[count], u32 size, u8 data[size]
    Old TPM logs   every record in the form of the first, without a SpecId record
    Padding        0xff or 0x00 up to the end of the log area
    Canonical log  alone, or behind all of that (`formats.cel`)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import Final, Literal

from pluto_measure.digests import ALGORITHMS, NAME_OF, digest
from pluto_measure.errors import FormatError
from pluto_measure.formats import cel
from pluto_measure.formats.reader import Reader

Kind = Literal["tpm", "cc"]

# Event type of a canonical record's content: this plus its content type. Ours, no number of the TCG.
CEL_CONTENT: Final = int.from_bytes(b"CEL\0", "big")

_WHAT: Final = "event log"
_SPEC_ID: Final = b"Spec ID Event03\0"
_LARGEST: Final = 16 * 1024 * 1024  # log areas have 64 KiB to 1 MiB
_MOST_EVENTS: Final = 65536  # events of a CC log have 66 bytes or more, so that is four of the largest areas
_NO_INDEX: Final = 0xFFFFFFFF
_MOST_ALGORITHMS: Final = 8
_LAST_INDEX: Final[Mapping[str, int]] = {"tpm": 23, "cc": 4}
_KIND_OF: Final[Mapping[str, Kind]] = {"pcr": "tpm", "nv": "tpm", "cc": "cc"}
_OLD_HEAD: Final = Struct("<2I0s20sI")
_VARIABLE_HEAD: Final = Struct("<16x2Q")  # UEFI_VARIABLE_DATA: GUID, characters of the name, bytes of the content
_ONES, _ZEROS = re.compile(rb"\xff+"), re.compile(rb"\0+")
_TD_SHIM: Final = (b"td-shim", b"td_shim")


class EventType(IntEnum):
    """Event types by their TCG names (PC Client Platform Firmware Profile, table 27)."""

    EV_POST_CODE = 0x1
    EV_NO_ACTION = 0x3
    EV_SEPARATOR = 0x4
    EV_ACTION = 0x5
    EV_EVENT_TAG = 0x6
    EV_S_CRTM_CONTENTS = 0x7
    EV_S_CRTM_VERSION = 0x8
    EV_CPU_MICROCODE = 0x9
    EV_PLATFORM_CONFIG_FLAGS = 0xA
    EV_TABLE_OF_DEVICES = 0xB
    EV_COMPACT_HASH = 0xC
    EV_IPL = 0xD
    EV_IPL_PARTITION_DATA = 0xE
    EV_NONHOST_CODE = 0xF
    EV_NONHOST_CONFIG = 0x10
    EV_NONHOST_INFO = 0x11
    EV_OMIT_BOOT_DEVICE_EVENTS = 0x12
    EV_POST_CODE2 = 0x13
    EV_EFI_VARIABLE_DRIVER_CONFIG = 0x80000001
    EV_EFI_VARIABLE_BOOT = 0x80000002
    EV_EFI_BOOT_SERVICES_APPLICATION = 0x80000003
    EV_EFI_BOOT_SERVICES_DRIVER = 0x80000004
    EV_EFI_RUNTIME_SERVICES_DRIVER = 0x80000005
    EV_EFI_GPT_EVENT = 0x80000006
    EV_EFI_ACTION = 0x80000007
    EV_EFI_PLATFORM_FIRMWARE_BLOB = 0x80000008
    EV_EFI_HANDOFF_TABLES = 0x80000009
    EV_EFI_PLATFORM_FIRMWARE_BLOB2 = 0x8000000A
    EV_EFI_HANDOFF_TABLES2 = 0x8000000B
    EV_EFI_VARIABLE_BOOT2 = 0x8000000C
    EV_EFI_GPT_EVENT2 = 0x8000000D
    EV_EFI_HCRTM_EVENT = 0x80000010
    EV_EFI_VARIABLE_AUTHORITY = 0x800000E0
    EV_EFI_SPDM_FIRMWARE_BLOB = 0x800000E1
    EV_EFI_SPDM_FIRMWARE_CONFIG = 0x800000E2
    EV_EFI_SPDM_DEVICE_POLICY = 0x800000E3
    EV_EFI_SPDM_DEVICE_AUTHORITY = 0x800000E4


def type_name(number: int) -> str:
    """The TCG name of an event type, or its number in hex."""
    try:
        return EventType(number).name
    except ValueError:
        return f"{number:#010x}"


@dataclass(frozen=True, slots=True, init=False)
class LogEvent:
    """One recorded event. `index` is the PCR or the CC measurement register; -1 where the log gives none."""

    index: int
    type: int
    digests: Mapping[str, bytes]  # by algorithm name; "0x0012" and the like where the algorithm is not ours
    data: bytes

    def __init__(self, index: int, type: int, digests: Mapping[str, bytes], data: bytes) -> None:  # noqa: A002
        # The slots' own setters: a log has thousands of events, and a frozen dataclass's take three times as long.
        _set_index(self, index)
        _set_type(self, type)
        _set_digests(self, digests)
        _set_data(self, data)

    def covers(self, content: bytes) -> bool:
        """Whether every digest of an algorithm that is ours is that of `content`, and there is one."""
        known = [name for name in self.digests if name in ALGORITHMS]
        return bool(known) and all(digest(name, content) == self.digests[name] for name in known)

    @property
    def measured_part(self) -> bytes | None:
        """The bytes that the digests are of, or None where the data is a label.

        That is the whole data; of EV_EFI_VARIABLE_BOOT often the variable's content alone, so that its name is a label.
        """
        return next((part for part in self._parts() if self.covers(part)), None)

    @property
    def data_is_measured(self) -> bool:
        """Whether there is a `measured_part`, which then is as good as the register."""
        return self.measured_part is not None

    def _parts(self) -> Iterator[bytes]:
        yield self.data
        if self.type == EventType.EV_EFI_VARIABLE_BOOT and len(self.data) >= _VARIABLE_HEAD.size:
            name, content = _VARIABLE_HEAD.unpack_from(self.data)
            start = _VARIABLE_HEAD.size + 2 * name
            if start + content == len(self.data):
                yield self.data[start:]


_set_index, _set_type, _set_digests, _set_data = (
    vars(LogEvent)[name].__set__ for name in ("index", "type", "digests", "data")
)


@dataclass(frozen=True, slots=True)
class EventLog:
    """A parsed log: events in their order, EV_NO_ACTION included. `algorithms` are those of the banks it covers."""

    kind: Kind
    algorithms: tuple[str, ...]
    events: tuple[LogEvent, ...]

    def register(self, event: LogEvent) -> str:
        """The register an event is about: "pcr4", "rtmr0", "mrtd", or "none"."""
        return register_name(self.kind, event.index)


def register_name(kind: Kind, index: int) -> str:
    """Register of a log's index. A CC log numbers MRTD 0 and RTMR[n] n + 1."""
    if index < 0:
        return "none"
    if kind == "tpm":
        return f"pcr{index}"
    return "mrtd" if index == 0 else f"rtmr{index - 1}"


def parse(data: bytes) -> EventLog:
    """A whole log, padding included. FormatError for anything that is neither events nor padding.

    The kind comes from the first record: index 1, or td-shim's name as the vendor, says that it is a CC log. Records of
    a canonical log name their registers themselves.
    """
    r = Reader(data, what=_WHAT)
    if len(data) > _LARGEST:
        raise r.error(f"{len(data)} bytes are more than {_LARGEST}")
    if cel.begins(data):
        return _canonical(cel.parse(data), None)
    # Where only padding is left, all 0xff or all 0x00. No event looks like either.
    end = min(len(data.rstrip(b"\xff")), len(data.rstrip(b"\0")))
    if data and not end:
        raise r.error("nothing but padding")
    first = _old_record(r)
    if first.type == EventType.EV_NO_ACTION and first.data.startswith(_SPEC_ID):
        form = _agile(*_spec_id(Reader(first.data, what=f"{_WHAT}.SpecId", base=32), first.index))
    else:
        form = _Form("tpm", ("sha1",), _OLD_HEAD, (b"",), _old_record)
    events = [first]
    tail = _read(data, r, end, form, events)
    log = EventLog(form.kind, form.names, tuple(events))
    return log if tail is None else _canonical(cel.parse(data[tail:], base=tail), log)


@dataclass(frozen=True, slots=True)
class _Form:
    """How the records of one log lie: `head` unpacks index, type, then (constant, digest) per bank, then the size.

    Records that are not so (their digests in another order, or wrong) are read by `record`, field by field.
    """

    kind: Kind
    names: tuple[str, ...]
    head: Struct
    constants: tuple[bytes, ...]
    record: Callable[[Reader], LogEvent]


def _agile(kind: Kind, sizes: Mapping[int, int]) -> _Form:
    constants = [number.to_bytes(2, "little") for number in sizes]
    constants[0] = len(sizes).to_bytes(4, "little") + constants[0]
    banks = zip(constants, sizes.values(), strict=True)
    head = Struct("<2I" + "".join(f"{len(constant)}s{size}s" for constant, size in banks) + "I")
    names = tuple(_name(number) for number in sizes)
    return _Form(kind, names, head, tuple(constants), lambda r: _record(r, kind, sizes))


def _read(data: bytes, r: Reader, end: int, form: _Form, events: list[LogEvent]) -> int | None:
    """Append all events from `r` on; where a canonical log follows, stop there and return its offset."""
    regular = _regular_one if len(form.names) == 1 else _regular
    while (at := regular(data, r.offset, end, form, events)) < end:
        if len(events) >= _MOST_EVENTS:
            raise FormatError(_WHAT, f"more than {_MOST_EVENTS} events", offset=at)
        if (tail := _tail(data, at)) is not None:
            return tail
        r.take(at - r.offset, "events")
        events.append(form.record(r))
    return None


def _regular(data: bytes, at: int, end: int, form: _Form, events: list[LogEvent]) -> int:
    """Append the events that lie as `form` says, and return where the first other one begins."""
    names, constants, last = form.names, form.constants, _LAST_INDEX[form.kind]
    unpack, size, limit, append = form.head.unpack_from, form.head.size, len(data), events.append
    while at < end and len(events) < _MOST_EVENTS and (start := at + size) <= limit:
        fields = unpack(data, at)
        stop = start + fields[-1]
        if fields[2:-1:2] != constants or fields[0] > last or stop > limit:
            break
        append(LogEvent(fields[0], fields[1], dict(zip(names, fields[3:-1:2], strict=True)), data[start:stop]))
        at = stop
    return at


def _regular_one(data: bytes, at: int, end: int, form: _Form, events: list[LogEvent]) -> int:
    """The same for a log of one bank, in half the time."""
    (name,), (constant,), last = form.names, form.constants, _LAST_INDEX[form.kind]
    unpack, size, limit, append = form.head.unpack_from, form.head.size, len(data), events.append
    while at < end and len(events) < _MOST_EVENTS and (start := at + size) <= limit:
        index, event_type, found, value, length = unpack(data, at)
        stop = start + length
        if found != constant or index > last or stop > limit:
            break
        append(LogEvent(index, event_type, {name: value}, data[start:stop]))
        at = stop
    return at


def _tail(data: bytes, at: int) -> int | None:
    """Where a canonical log begins: at `at` or behind padding. It begins with four zeros, which zeros hide."""
    for padding, shared in ((_ONES, 0), (_ZEROS, 4)):
        found = padding.match(data, at)
        behind = found.end() - shared if found else at
        if behind >= at and cel.begins(data, behind):
            return behind
    return None


def _name(algorithm: int) -> str:
    return NAME_OF.get(algorithm, f"{algorithm:#06x}")


def _index(r: Reader, kind: Kind) -> tuple[int, int]:
    """Index and type of a record. The index is -1 for none, which only a record may have that extends nothing."""
    index, event_type = r.uint(4, "index"), r.uint(4, "type")
    if index == _NO_INDEX and event_type == EventType.EV_NO_ACTION:
        return -1, event_type
    if index > _LAST_INDEX[kind]:
        raise r.error(f"index {index:#x} is not a register of a {kind} log")
    return index, event_type


def _old_record(r: Reader) -> LogEvent:
    index, event_type = _index(r, "tpm")
    sha1 = r.take(20, "digest")
    return LogEvent(index, event_type, {"sha1": sha1}, r.take(r.uint(4, "size"), "data"))


def _spec_id(r: Reader, index: int) -> tuple[Kind, dict[int, int]]:
    r.take(len(_SPEC_ID), "signature")
    r.take(4, "platform class")
    version = (r.uint(1, "minor"), r.uint(1, "major"))
    if version != (0, 2):
        raise r.error(f"version {version[1]}.{version[0]} is not 2.0")
    r.take(2, "errata and uintn size")
    count = r.uint(4, "algorithm count")
    if not 1 <= count <= _MOST_ALGORITHMS:
        raise r.error(f"{count} algorithms are not between 1 and {_MOST_ALGORITHMS}")
    sizes: dict[int, int] = {}
    for _ in range(count):
        algorithm, size = r.uint(2, "algorithm"), r.uint(2, "digest size")
        known = ALGORITHMS.get(_name(algorithm))
        if algorithm in sizes or (known and known[1] != size) or not 1 <= size <= 64:
            raise r.error(f"algorithm {_name(algorithm)} with {size} bytes is wrong or occurs twice")
        sizes[algorithm] = size
    vendor = r.take(r.uint(1, "vendor size"), "vendor")
    r.end()
    # td-shim writes index 0 into its CC log and names itself in the vendor field.
    return ("cc" if index == 1 or vendor.startswith(_TD_SHIM) else "tpm"), sizes


def _record(r: Reader, kind: Kind, sizes: Mapping[int, int]) -> LogEvent:
    index, event_type = _index(r, kind)
    count = r.uint(4, "digest count")
    if count != len(sizes):
        raise r.error(f"{count} digests, the log has {len(sizes)} algorithms")
    digests: dict[str, bytes] = {}
    for _ in range(count):
        algorithm = r.uint(2, "algorithm")
        if algorithm not in sizes or _name(algorithm) in digests:
            raise r.error(f"algorithm {_name(algorithm)} is not in the list or occurs twice")
        digests[_name(algorithm)] = r.take(sizes[algorithm], "digest")
    return LogEvent(index, event_type, digests, r.take(r.uint(4, "size"), "data"))


def _canonical(records: Sequence[cel.Record], log: EventLog | None) -> EventLog:
    """Canonical records as events, behind those of `log` if there is one. An NV index is no register here: -1."""
    kind = log.kind if log else _KIND_OF[records[0].register]
    names = log.algorithms if log else tuple(records[0].digests)
    events = []
    for record in records:
        if _KIND_OF[record.register] != kind:
            raise FormatError(_WHAT, f"a record of a {record.register} register in a {kind} log", offset=record.offset)
        if record.register != "nv" and record.index > _LAST_INDEX[kind]:
            raise FormatError(_WHAT, f"index {record.index:#x} is not a register of a {kind} log", offset=record.offset)
        if not record.digests.keys() >= set(names) or not (log or len(record.digests) == len(names)):
            found = ", ".join(record.digests)
            raise FormatError(
                _WHAT, f"a record with {found}, where the log has {', '.join(names)}", offset=record.offset
            )
        index = -1 if record.register == "nv" else record.index
        event_type, data = CEL_CONTENT + record.content_type, record.content_tlv
        if record.content_type == cel.PC_CLIENT:
            event_type, data = cel.parse_pc_client(record)
        events.append(LogEvent(index, event_type, record.digests, data))
    return EventLog(kind, names, ((*log.events, *events) if log else tuple(events)))
