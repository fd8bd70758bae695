"""Event logs of measured boot: TPM logs (PCRs) and confidential-computing logs (CCEL, RTMRs). Bytes in, values out.

A log is untrusted text: only what replays to a quoted register is known to have been measured, and even then type,
index and data of an event are what somebody wrote there. `LogEvent.data_is_measured` says where the digest covers the
data. Formats: TCG PC Client Platform Firmware Profile 1.06, section 10; UEFI CC Measurement, CCEL.

    First record   u32 index, u32 type EV_NO_ACTION, u8 sha1[20], u32 size, SpecId data[size]
    SpecId         "Spec ID Event03\\0", u32 platform_class, u8 minor, major, errata, uintn_size,
                   u32 algorithms, {u16 algorithm, u16 digest_size}[], u8 vendor_size, u8 vendor[]
    Others         u32 index, u32 type, u32 count, {u16 algorithm, u8 digest[]}[count], u32 size, u8 data[size]
    Old TPM logs   every record in the form of the first, without a SpecId record
    Padding        0xff or 0x00 up to the end of the log area
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Literal

from pluto_measure.digests import ALGORITHMS, NAME_OF, digest
from pluto_measure.formats.reader import Reader

Kind = Literal["tpm", "cc"]

_WHAT: Final = "event log"
_SPEC_ID: Final = b"Spec ID Event03\0"
_LARGEST: Final = 16 * 1024 * 1024
_NO_INDEX: Final = 0xFFFFFFFF
_MOST_ALGORITHMS: Final = 8
_LAST_INDEX: Final[Mapping[str, int]] = {"tpm": 23, "cc": 4}


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
    EV_EFI_HCRTM_EVENT = 0x80000010
    EV_EFI_VARIABLE_AUTHORITY = 0x800000E0


def type_name(number: int) -> str:
    """The TCG name of an event type, or its number in hex."""
    try:
        return EventType(number).name
    except ValueError:
        return f"{number:#010x}"


@dataclass(frozen=True, slots=True)
class LogEvent:
    """One recorded event. `index` is the PCR or the CC measurement register; -1 where the log gives none."""

    index: int
    type: int
    digests: Mapping[str, bytes]  # by algorithm name; "0x0012" and the like where the algorithm is not ours
    data: bytes

    @property
    def data_is_measured(self) -> bool:
        """Whether every known digest is that of the data, so that the data is as good as the register."""
        known = [name for name in self.digests if name in ALGORITHMS]
        return bool(known) and all(digest(name, self.data) == self.digests[name] for name in known)


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

    The kind comes from the first record: index 1, or td-shim's name as the vendor, says that it is a CC log.
    """
    r = Reader(data, what=_WHAT)
    if len(data) > _LARGEST:
        raise r.error(f"{len(data)} bytes are more than {_LARGEST}")
    # Where only padding is left, all 0xff or all 0x00. No event looks like either.
    end = min(len(data.rstrip(b"\xff")), len(data.rstrip(b"\0")))
    first = _old_record(r)
    if not (first.type == EventType.EV_NO_ACTION and first.data.startswith(_SPEC_ID)):
        return _old_log(r, first, end)
    kind, sizes = _spec_id(Reader(first.data, what=f"{_WHAT}.SpecId", base=32), first.index)
    events = [first if first.index != _NO_INDEX else LogEvent(-1, first.type, first.digests, first.data)]
    while r.offset < end:
        events.append(_record(r, kind, sizes))
    return EventLog(kind, tuple(_name(number) for number in sizes), tuple(events))


def _name(algorithm: int) -> str:
    return NAME_OF.get(algorithm, f"{algorithm:#06x}")


def _old_record(r: Reader) -> LogEvent:
    index, kind = r.uint(4, "index"), r.uint(4, "type")
    sha1 = r.take(20, "digest")
    return LogEvent(index, kind, {"sha1": sha1}, r.take(r.uint(4, "size"), "data"))


def _old_log(r: Reader, first: LogEvent, end: int) -> EventLog:
    events = [first]
    while r.offset < end:
        events.append(_old_record(r))
    for event in events:
        if event.index > _LAST_INDEX["tpm"]:
            raise r.error(f"index {event.index} is not a PCR")
    return EventLog("tpm", ("sha1",), tuple(events))


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
    return ("cc" if index == 1 or vendor.startswith(b"td-shim") else "tpm"), sizes


def _record(r: Reader, kind: Kind, sizes: Mapping[int, int]) -> LogEvent:
    index, event_type = r.uint(4, "index"), r.uint(4, "type")
    if index > _LAST_INDEX[kind] and not (index == _NO_INDEX and event_type == EventType.EV_NO_ACTION):
        raise r.error(f"index {index:#x} is not a register of a {kind} log")
    count = r.uint(4, "digest count")
    if count != len(sizes):
        raise r.error(f"{count} digests, the log has {len(sizes)} algorithms")
    digests: dict[str, bytes] = {}
    for _ in range(count):
        algorithm = r.uint(2, "algorithm")
        if algorithm not in sizes or _name(algorithm) in digests:
            raise r.error(f"algorithm {_name(algorithm)} is not in the list or occurs twice")
        digests[_name(algorithm)] = r.take(sizes[algorithm], "digest")
    data = r.take(r.uint(4, "size"), "data")
    return LogEvent(-1 if index == _NO_INDEX else index, event_type, digests, data)
