"""The TD HOB: the list of memory that a VMM hands a trust domain's firmware, which measures it first of all. Pure.

Platform Initialization Specification, volume 3, section 5. Written by QEMU (`hw/i386/tdvf-hob.c`) and, otherwise, by
Google's VMM (gce-tcb-verifier, four published digests); the firmware measures it without its end.

    PHIT       u16 1, u16 56, u32 0, u32 version 9, u32 boot_mode 0, u64 zero[4], u64 end_of_hob_list
    Resource   u16 3, u16 48, u32 0, u8 owner[16] zero, u32 type (0 accepted, 7 not yet), u32 attributes,
               u64 start, u64 length
    End        u16 0xffff, u16 8, u32 0                                 not measured
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from struct import Struct
from typing import Final

from pluto_measure.errors import FormatError
from pluto_measure.formats import tdvf
from pluto_measure.formats.tdvf import Section, SectionType

GIB: Final = 1 << 30

_PHIT: Final = Struct("<HHIII32xQ")
_RESOURCE: Final = Struct("<HHI16xIIQQ")
_END_SIZE: Final = 8
_ACCEPTED, _UNACCEPTED = 0, 7
_TESTED: Final = 7  # present, initialized, tested
_GOOGLE_UNACCEPTED: Final = 0x10000007
_QEMU_SPLIT: Final = 0xB0000000  # with that much memory or more, 2 GiB stay below 4 GiB
_MOST: Final = 1 << 52

Range = tuple[int, int]  # start, end


def qemu(sections: Sequence[Section], memory: int) -> bytes:
    """The bytes that are measured, as QEMU writes them for `memory` bytes of RAM. FormatError."""
    _check(memory)
    ram = [(0, 2 * GIB), (4 * GIB, memory + 2 * GIB)] if memory >= _QEMU_SPLIT else [(0, memory)]
    accepted = [(s.address, s.end) for s in sections if s.type in (SectionType.TD_HOB, SectionType.TEMP_MEM)]
    for start, end in accepted:
        if not any(first <= start and end <= last for first, last in ram):
            raise FormatError("memory", f"{memory} bytes leave out {start:#x} to {end:#x}, which the firmware needs")
    ranges = [(start, end, _ACCEPTED, _TESTED) for start, end in accepted]
    ranges += [(start, end, _UNACCEPTED, _TESTED) for start, end in _without(ram, accepted)]
    return _encode(sections, sorted(ranges), end_counts=True)


def google(sections: Sequence[Section], memory: int) -> bytes:
    """The same as Google's VMM writes it: sections first in their own order, the end left out of its own length."""
    _check(memory)
    ram = [(0, min(memory, 3 * GIB)), (4 * GIB, memory + GIB)]
    accepted = [(s.address, s.end) for s in sections]
    ranges = [(start, end, _ACCEPTED, _TESTED) for start, end in accepted]
    ranges += [(start, end, _UNACCEPTED, _GOOGLE_UNACCEPTED) for start, end in _without(ram, accepted)]
    return _encode(sections, ranges, end_counts=False)


WRITERS: Final[Mapping[str, Callable[[Sequence[Section], int], bytes]]] = {"qemu-tdx": qemu, "gcp-tdx": google}


def _check(memory: int) -> None:
    if not 0 < memory < _MOST or memory % tdvf.PAGE:
        raise FormatError("memory", f"{memory} bytes are no size of a trust domain's memory")


def _without(ram: Sequence[Range], taken: Sequence[Range]) -> list[Range]:
    """What is left of `ram`, in ascending order; ranges that are taken do not overlap (tdvf.parse)."""
    left = []
    for start, end in ram:
        at = start
        for first, last in sorted(taken):
            if last <= at or first >= end:
                continue
            if first > at:
                left.append((at, first))
            at = last
        if at < end:
            left.append((at, end))
    return left


def _encode(sections: Sequence[Section], ranges: Sequence[tuple[int, int, int, int]], *, end_counts: bool) -> bytes:
    (place,) = tdvf.find(tuple(sections), SectionType.TD_HOB)
    size = _PHIT.size + _RESOURCE.size * len(ranges)
    if size + _END_SIZE > place.memory_size:
        raise FormatError("TD HOB", f"{len(ranges)} ranges do not fit into {place.memory_size} bytes")
    end = place.address + size + (_END_SIZE if end_counts else 0)
    parts = [_PHIT.pack(1, _PHIT.size, 0, 9, 0, end)]
    for start, stop, kind, attributes in ranges:
        parts.append(_RESOURCE.pack(3, _RESOURCE.size, 0, kind, attributes, start, stop - start))
    return b"".join(parts)
