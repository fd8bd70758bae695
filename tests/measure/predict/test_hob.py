"""The TD HOB: digests of real machines, the list field by field, and what holds for every machine."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from struct import iter_unpack, unpack_from
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pluto_measure.errors import FormatError
from pluto_measure.formats import eventlog, tdvf
from pluto_measure.formats.eventlog import EventType
from pluto_measure.formats.tdvf import Section
from pluto_measure.predict import hob
from simulators import tdvf_images
from simulators.tdvf_images import BFV, TD_HOB, TEMP_MEM, Entry, temporary
from simulators.tdvf_layouts import TINY, layouts

MIB, GIB = 1 << 20, 1 << 30
SECTIONS = tdvf.parse(tdvf_images.large())  # those of Debian's OVMF.fd
OLDER = tdvf.parse(tdvf_images.image(tdvf_images.ovmf(4 << 20, 0x84000, mailbox=0x810000), size=4 << 20))
GOOGLE = tdvf.parse(tdvf_images.image(tdvf_images.ovmf(2 << 20, 0x20000, mailbox=0x810000), size=2 << 20))


class Resource(NamedTuple):
    kind: int
    attributes: int
    start: int
    length: int

    @property
    def end(self) -> int:
        return self.start + self.length


def decoded(data: bytes) -> tuple[int, list[Resource]]:
    """Where the list says that it ends, and its resources; everything else is what the specification has there."""
    kind, length, reserved, version, boot_mode, *memory, end = unpack_from("<HHIII4QQ", data)
    assert (kind, length, reserved, version, boot_mode, memory) == (1, 56, 0, 9, 0, [0] * 4)
    resources = []
    for kind, length, reserved, owner, *rest in iter_unpack("<HHI16sIIQQ", data[56:]):
        assert (kind, length, reserved, owner) == (3, 48, 0, bytes(16))
        resources.append(Resource(*rest))
    return end, resources


@pytest.mark.parametrize(
    ("sections", "gib", "begin"),
    [
        (SECTIONS, 1, "2b630fa1d8fa9b6e"),
        (SECTIONS, 2, "0e35f1b315ba6c91"),
        (SECTIONS, 4, "02a008e63d55a778"),
        (SECTIONS, 8, "68b713c6461d5af8"),
        (SECTIONS, 16, "794385a0fd4ad193"),
        (SECTIONS, 64, "519245d8b6b54b48"),
        (SECTIONS, 512, "a3c6f64c252edb51"),
        (OLDER, 1, "1055c9b9a1fc534e"),
        (OLDER, 2, "0b8772e5b0b41b83"),
        (OLDER, 4, "5b684faf8d02a733"),
        (OLDER, 16, "cd2312a0d87ef3c4"),
        (OLDER, 64, "8ae1e425351df799"),
    ],
)
def test_digests_of_machines_under_qemu(sections: Sequence[Section], gib: int, begin: str) -> None:
    assert hashlib.sha384(hob.qemu(sections, gib * GIB)).hexdigest().startswith(begin)


@pytest.mark.parametrize(("gib", "begin"), [(16, "458994da"), (32, "aa9e81fe"), (88, "a5be8ecd"), (176, "21092ead")])
def test_digests_of_machines_at_google(gib: int, begin: str) -> None:
    assert hashlib.sha384(hob.google(GOOGLE, gib * GIB)).hexdigest().startswith(begin)


@pytest.mark.parametrize(
    ("log", "data"),
    [
        ("qemu-ubuntu2510-direct.ccel.bin", hob.qemu(SECTIONS, 2 * GIB)),
        ("gcp-cos113.ccel.bin", hob.google(GOOGLE, 16 * GIB)),
        ("trustee-CCEL_data_gcp", hob.google(GOOGLE, 16 * GIB)),
    ],
)
def test_real_logs_have_the_digest(vectors: Path, log: str, data: bytes) -> None:
    events = eventlog.parse((vectors / "measure/ccel" / log).read_bytes()).events
    (event,) = [event for event in events if event.type == EventType.EV_EFI_HANDOFF_TABLES2]
    assert event.digests["sha384"] == hashlib.sha384(data).digest()


def test_two_gib_field_by_field() -> None:
    data = hob.qemu(SECTIONS, 2 * GIB)
    assert len(data) == 440
    assert decoded(data) == (
        0x8091C0,
        [
            Resource(7, 7, 0, 0x800000),
            Resource(0, 7, 0x800000, 0x6000),
            Resource(7, 7, 0x806000, 0x3000),
            Resource(0, 7, 0x809000, 0x2000),
            Resource(0, 7, 0x80B000, 0x2000),
            Resource(7, 7, 0x80D000, 0x4000),
            Resource(0, 7, 0x811000, 0xF000),
            Resource(7, 7, 0x820000, 0x7F7E0000),
        ],
    )


@pytest.mark.parametrize(
    ("mib", "last"),
    [
        (2815, [(0x820000, 2815 * MIB)]),
        (2816, [(0x820000, 2 * GIB), (4 * GIB, 4 * GIB + 768 * MIB)]),
        (2817, [(0x820000, 2 * GIB), (4 * GIB, 4 * GIB + 769 * MIB)]),
        (4096, [(0x820000, 2 * GIB), (4 * GIB, 6 * GIB)]),
    ],
)
def test_with_2816_mib_or_more_qemu_leaves_2_gib_below_4(mib: int, last: list[tuple[int, int]]) -> None:
    _, resources = decoded(hob.qemu(SECTIONS, mib * MIB))
    assert [(r.start, r.end) for r in resources if r.start >= 0x820000] == last


def test_google_lists_the_sections_first_and_leaves_3_gib_below_4() -> None:
    end, resources = decoded(hob.google(GOOGLE, 16 * GIB))
    assert end == 0x809000 + 56 + 48 * len(resources)
    assert resources == [
        *(Resource(0, 7, section.address, section.memory_size) for section in GOOGLE),
        Resource(7, 0x10000007, 0, 0x800000),
        Resource(7, 0x10000007, 0x806000, 0x3000),
        Resource(7, 0x10000007, 0x80D000, 0x3000),
        Resource(7, 0x10000007, 0x820000, 3 * GIB - 0x820000),
        Resource(7, 0x10000007, 4 * GIB, 13 * GIB),
    ]


@pytest.mark.parametrize("gib", [1, 3])
def test_google_with_3_gib_or_less_has_nothing_above_4(gib: int) -> None:
    _, resources = decoded(hob.google(GOOGLE, gib * GIB))
    assert resources[-1] == Resource(7, 0x10000007, 0x820000, gib * GIB - 0x820000)


def parsed(entries: list[Entry]) -> tuple[Section, ...]:
    return tdvf.parse(tdvf_images.image(entries, size=TINY))


def pieces(*ranges: Sequence[tuple[int, int]]) -> list[int]:
    """One address in each piece that the borders of all ranges cut memory into."""
    return sorted({border for listed in ranges for pair in listed for border in pair})


def covered(ranges: Sequence[tuple[int, int]], address: int) -> int:
    return sum(start <= address < end for start, end in ranges)


# Sizes in pages: any at all, and the last ones before QEMU splits memory.
sizes = st.integers(4096, 1 << 28) | st.integers(0xB0000 - 2, 0xB0000 + 2)


@settings(max_examples=150, deadline=None)
@given(layouts(), sizes)
@example(list(tdvf_images.ovmf(TINY)), 2815 << 8)
@example(list(tdvf_images.ovmf(TINY)), 2816 << 8)
@example(list(tdvf_images.ovmf(TINY)), 2817 << 8)
def test_qemu_covers_memory_once_and_in_order(entries: list[Entry], pages: int) -> None:
    memory = pages * 4096
    end, resources = decoded(hob.qemu(parsed(entries), memory))
    ram = [(0, 2 * GIB), (4 * GIB, memory + 2 * GIB)] if memory >= 2816 * MIB else [(0, memory)]
    sections = [(e.address, e.address + e.memory_size) for e in entries if e.type in (TD_HOB, TEMP_MEM)]
    (place,) = [entry.address for entry in entries if entry.type == TD_HOB]
    assert end == place + 56 + 48 * len(resources) + 8
    assert all(left.end <= right.start for left, right in pairwise(resources))
    assert all(r.attributes == 7 and r.length > 0 for r in resources)
    assert [(r.start, r.end) for r in resources if r.kind == 0] == sorted(sections)
    ranges = [(r.start, r.end) for r in resources]
    for address in pieces(ranges, ram, sections):
        assert covered(ranges, address) == covered(ram, address)
    assert sum(r.length for r in resources) == memory


@settings(max_examples=150, deadline=None)
@given(layouts(), sizes)
def test_google_covers_memory_and_all_sections_once(entries: list[Entry], pages: int) -> None:
    memory = pages * 4096
    end, resources = decoded(hob.google(parsed(entries), memory))
    ram = [(0, min(memory, 3 * GIB)), (4 * GIB, max(4 * GIB, memory + GIB))]
    sections = [(e.address, e.address + e.memory_size) for e in entries]
    (place,) = [entry.address for entry in entries if entry.type == TD_HOB]
    assert end == place + 56 + 48 * len(resources)
    accepted, rest = resources[: len(entries)], resources[len(entries) :]
    assert [(r.start, r.end) for r in accepted] == sections
    assert {(r.kind, r.attributes) for r in accepted} == {(0, 7)}
    assert {(r.kind, r.attributes) for r in rest} <= {(7, 0x10000007)}
    assert all(left.end <= right.start for left, right in pairwise(rest))
    ranges = [(r.start, r.end) for r in resources]
    for address in pieces(ranges, ram, sections):
        assert covered(ranges, address) == bool(covered(ram, address) + covered(sections, address))


@pytest.mark.parametrize("memory", [-4096, 0, 1, 4095, 2 * GIB + 1, 1 << 52, 1 << 64])
@pytest.mark.parametrize("writer", hob.WRITERS)
def test_a_size_that_no_machine_has_is_refused(writer: str, memory: int) -> None:
    with pytest.raises(FormatError, match=f"{memory} bytes are no size"):
        hob.WRITERS[writer](SECTIONS, memory)


@pytest.mark.parametrize("memory", [4096, 8 * MIB, 8 * MIB + 0x1F000])
def test_memory_that_the_firmware_does_not_fit_into_is_refused_as_qemu_does(memory: int) -> None:
    with pytest.raises(FormatError, match=f"{memory} bytes leave out 0x8"):
        hob.qemu(SECTIONS, memory)
    assert hob.qemu(SECTIONS, 8 * MIB + 0x20000)


def test_a_section_in_the_hole_below_4_gib_is_refused() -> None:
    entries = [*tdvf_images.ovmf(TINY), temporary(0xB0000000, 0x1000)]
    with pytest.raises(FormatError, match="leave out 0xb0000000 to 0xb0001000"):
        hob.qemu(parsed(entries), 4 * GIB)


def test_more_ranges_than_the_section_holds_are_refused() -> None:
    code = Entry(0, 1, 0xFFFFF000, 0x1000, BFV, 1)
    touching = [temporary(0x809000, 0x1000, TD_HOB), temporary(0x80A000, 0x1000)]
    apart = [temporary(0x900000 + 0x2000 * i, 0x1000) for i in range(41)]
    most = hob.qemu(parsed([code, *touching, *apart[:-1]]), GIB)
    assert len(decoded(most)[1]) == 84
    assert len(most) == 4096 - 8  # the end fits too
    with pytest.raises(FormatError, match="86 ranges do not fit into 4096 bytes"):
        hob.qemu(parsed([code, *touching, *apart]), GIB)
    with pytest.raises(FormatError, match="85 ranges do not fit into 4096 bytes"):
        hob.qemu(parsed([code, touching[0], *apart]), GIB)


def test_each_kind_of_trust_domain_has_its_writer() -> None:
    assert dict(hob.WRITERS) == {"qemu-tdx": hob.qemu, "gcp-tdx": hob.google}
