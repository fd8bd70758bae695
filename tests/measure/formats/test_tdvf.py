"""TDVF metadata: vectors, every form of it, and what is refused, where and how soon."""

from __future__ import annotations

import lzma
import re
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.errors import FormatError
from pluto_measure.formats import tdvf
from pluto_measure.formats.tdvf import Section, SectionType
from pluto_measure.machine.mrtd import ORDERS, mrtd
from simulators import tdvf_images
from simulators.tdvf_images import (
    BFV,
    CFV,
    PAYLOAD,
    PERM_MEM,
    SIZE,
    TD_HOB,
    TD_INFO,
    TEMP_MEM,
    Entry,
    descriptor,
    laid,
    noise,
    table,
    table_entry,
    tdx_entry,
    temporary,
    with_table,
)
from simulators.tdvf_layouts import TINY, layouts

VECTORS = sorted((Path(__file__).parents[2] / "vectors/tdvf").glob("*.toml"))
IMAGE = tdvf_images.image()
OVMF = tdvf_images.ovmf()
AT = SIZE - tdvf_images.DESCRIPTOR_BACK  # the descriptor
PAGES_OF_BOMB = (1 << 64) - 4096


@contextmanager
def soon(seconds: float = 2) -> Iterator[None]:
    """What costs more time of this process than any image may."""
    began = time.process_time()
    yield
    assert time.process_time() - began < seconds


def refused(image: bytes, problem: str, offset: int | None = None) -> FormatError:
    with soon(), pytest.raises(FormatError, match=problem) as caught:
        tdvf.parse(image)
    assert caught.value.offset is not None
    assert 0 <= caught.value.offset <= len(image)
    assert offset in (None, caught.value.offset)
    return caught.value


def shown(entries: Sequence[Entry]) -> list[Section]:
    return [Section(e[0], e[1], e[2], e[3], SectionType(e[4]), e[5]) for e in entries]


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_vector(path: Path) -> None:
    vector: dict[str, Any] = tomllib.loads(path.read_text())
    blank = b"".join(at.to_bytes(4, "little") for at in range(0, vector["size"], 4))
    image = laid(blank, [(part["at"], bytes.fromhex(part["data"])) for part in vector["parts"]])
    if "error" in vector:
        refused(image, vector["error"], vector["offset"])
        return
    sections = tdvf.parse(image)
    assert [section.to_json() for section in sections] == vector["sections"]
    assert {order: mrtd(image, sections, order).hex() for order in ORDERS} == vector["mrtd"]


def test_there_are_vectors() -> None:
    assert len(VECTORS) >= 15


def test_real_images_have_the_sections_of_ovmf(vectors: Path) -> None:
    for mailbox, name in {
        0x810000: "ubuntu-25.10-ovmf-inteltdx_2025.02-8ubuntu3-OVMF.inteltdx.fd.xz",
        0x811000: "debian-13-ovmf_2025.02-8+deb13u1-OVMF.fd.xz",
    }.items():
        data = lzma.decompress((vectors / "measure/firmware" / name).read_bytes())
        assert list(tdvf.parse(data)) == shown(tdvf_images.ovmf(4 << 20, 0x84000, mailbox))


def test_code_of_a_real_image_alone_is_refused(vectors: Path) -> None:
    path = vectors / "measure/firmware/debian-13-ovmf_2025.02-8+deb13u1-OVMF.fd.xz"
    error = refused(lzma.decompress(path.read_bytes())[0x84000:], "BFV ends at 0x400000, beyond the file")
    assert error.hint == "give the combined image (OVMF.fd), not OVMF_CODE.fd"


@settings(max_examples=80, deadline=None)
@given(layouts())
def test_any_layout_is_read_back_in_both_forms(entries: list[Entry]) -> None:
    assert list(tdvf.parse(tdvf_images.image(entries, size=TINY))) == shown(entries)
    assert list(tdvf.parse(tdvf_images.td_shim(entries, size=TINY))) == shown(entries)


def test_sections_are_found_by_type_and_their_content_is_that_of_the_file() -> None:
    sections = tdvf.parse(IMAGE)
    (store,) = tdvf.find(sections, SectionType.CFV)
    assert tdvf.content(IMAGE, store) == IMAGE[: tdvf_images.CFV_SIZE]
    assert [s.address for s in tdvf.find(sections, SectionType.TEMP_MEM)] == [0x811000, 0x80B000, 0x800000]
    assert [s.end for s in tdvf.find(sections, SectionType.TD_HOB)] == [0x80B000]
    assert tdvf.find(sections, SectionType.PAYLOAD) == ()


others = st.lists(st.tuples(st.uuids().map(str), st.binary(max_size=40)), max_size=4)


@settings(max_examples=60, deadline=None)
@given(before=others, behind=others)
def test_other_entries_of_the_table_are_passed_over(
    before: list[tuple[str, bytes]], behind: list[tuple[str, bytes]]
) -> None:
    assert tdvf.parse(tdvf_images.image(before=before, behind=behind)) == tdvf.parse(IMAGE)


def test_of_two_entries_for_tdx_the_last_one_counts_as_for_qemu() -> None:
    assert tdvf.parse(tdvf_images.image(before=[tdx_entry(0x4000)])) == tdvf.parse(IMAGE)


def test_the_table_wins_over_the_older_form() -> None:
    both = laid(IMAGE, [(-32, (16).to_bytes(4, "little"))])
    assert tdvf.parse(both) == tdvf.parse(IMAGE)


# What is no image


@pytest.mark.parametrize("size", [0, 1, 15, 16, 47, 48, 50, 4096, 64 * 1024 - 1])
def test_a_file_that_is_too_small_is_refused(size: int) -> None:
    refused(bytes(size), f"{size} bytes are not between 65536 and 67108864", 0)
    refused(IMAGE[-size:] if size else b"", f"{size} bytes are not between", 0)


def test_a_file_that_is_too_large_is_refused() -> None:
    refused(bytes((64 << 20) + 1), "67108865 bytes are not between 65536 and 67108864", 0)
    largest = with_table(bytes(64 << 20), descriptor(OVMF), table([tdx_entry()]))
    with soon():
        assert tdvf.parse(largest) == tdvf.parse(IMAGE)


@pytest.mark.parametrize("fill", [b"\0", b"\xff", b"TDVF"])
def test_the_same_bytes_over_and_over_are_refused(fill: bytes) -> None:
    refused(fill * (SIZE // len(fill)), "neither OVMF's table of GUIDs nor td-shim's metadata", SIZE - 48)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 1 << 32))
def test_noise_is_refused(seed: int) -> None:
    refused(noise(TINY, str(seed)), "neither", TINY - 48)


def test_an_image_that_is_cut_at_any_4_kib_is_refused() -> None:
    image = tdvf_images.large()
    with soon(20):
        for size in range(0, len(image), 4096):
            refused(image[:size], "are not between|neither")
            refused(image[size + 4096 :], "are not between|beyond the file")


def test_code_without_its_variable_store_is_refused_with_a_hint() -> None:
    error = refused(tdvf_images.code_alone(IMAGE), "BFV ends at 0x40000, beyond the file", AT + 16 - 0x8000)
    assert error.hint == "give the combined image (OVMF.fd), not OVMF_CODE.fd"


# The table of GUIDs


def of_table(entries: bytes) -> bytes:
    return with_table(noise(SIZE), descriptor(OVMF), entries)


@pytest.mark.parametrize("length", [0, 1, 17, 0xFFFF])
def test_a_table_that_does_not_fit_is_refused(length: int) -> None:
    image = with_table(noise(TINY), descriptor(tdvf_images.ovmf(TINY)), table([tdx_entry()], length=length))
    refused(image, f"table of GUIDs of {length} bytes does not fit", TINY - 50)


def test_a_table_may_fill_the_whole_file() -> None:
    entry = table_entry(tdvf_images.EMPTY[0], bytes(TINY - 32 - 18 - 22 - 18))
    whole = entry + table_entry(*tdx_entry(TINY)) + table([], length=TINY - 32)
    assert len(whole) == TINY - 32
    refused(with_table(noise(TINY), b"", whole), "no TDVF descriptor stands where the metadata points", 0)


@pytest.mark.parametrize("length", [0, 1, 17, 22 + 22 + 1, 0xFFFF])
def test_an_entry_that_leaves_the_table_is_refused(length: int) -> None:
    whole = table_entry(*tdx_entry()) + table_entry(*tdvf_images.SEV_ES, length)
    refused(of_table(whole + table([], length=len(whole) + 18)), f"entry of {length} bytes leaves", SIZE - 32 - 18 - 18)


def test_bytes_before_the_first_entry_are_refused() -> None:
    whole = b"\0" * 17 + table_entry(*tdvf_images.SEV_ES)
    refused(of_table(whole + table([], length=len(whole) + 18)), "17 bytes at the begin of the table are no entry")


def test_a_table_without_tdx_is_refused() -> None:
    refused(of_table(table([tdvf_images.SEV_ES])), "table of GUIDs has no entry for TDX", SIZE - 32 - 18 - 22)
    refused(of_table(table([])), "table of GUIDs has no entry for TDX", SIZE - 32 - 18)


@pytest.mark.parametrize("size", [0, 3, 5, 8])
def test_an_entry_for_tdx_of_another_size_is_refused(size: int) -> None:
    entry = (tdx_entry()[0], bytes(size))
    refused(of_table(table([entry])), f"TDX entry of {size + 18} bytes, not 22", SIZE - 32 - 18 - 18 - size)


@pytest.mark.parametrize("back", [0, 15, SIZE + 1, 1 << 31, (1 << 32) - 1])
def test_metadata_outside_the_file_is_refused(back: int) -> None:
    refused(of_table(table([tdx_entry(back)])), f"metadata {back:#x} bytes before the end", SIZE - 32 - 18 - 22)


@pytest.mark.parametrize("back", [16, SIZE - 4, SIZE])
def test_metadata_that_is_none_is_refused(back: int) -> None:
    image = laid(of_table(table([tdx_entry(back)])), [(-28, bytes(28))])
    refused(image, "no TDVF descriptor stands where", SIZE - back)


def test_metadata_may_stand_at_the_beginning() -> None:
    image = with_table(noise(SIZE), descriptor(OVMF), table([tdx_entry(SIZE)]), back=SIZE)
    assert list(tdvf.parse(image)) == shown(OVMF)


# td-shim's form


@pytest.mark.parametrize("at", [0, 15, SIZE - 15, SIZE, 0xFFFFFFFF])
def test_an_offset_outside_the_file_is_refused(at: int) -> None:
    refused(tdvf_images.td_shim(at=at), "neither", SIZE - 48)


def test_an_offset_without_the_guid_is_refused() -> None:
    image = tdvf_images.td_shim()
    refused(laid(image, [(AT - 16, bytes([image[AT - 16] ^ 1]))]), "neither", SIZE - 48)
    refused(tdvf_images.td_shim(at=AT + 1), "neither", SIZE - 48)
    guid = image[AT - 16 : AT]
    refused(laid(tdvf_images.td_shim(at=SIZE - 12), [(SIZE - 28, guid)]), "neither", SIZE - 48)


# The descriptor


def of_descriptor(metadata: bytes) -> bytes:
    return with_table(noise(SIZE), metadata, table([tdx_entry()]))


@pytest.mark.parametrize(
    ("changes", "problem", "offset"),
    [
        ({"signature": b"TDVG"}, "no TDVF descriptor stands where", AT),
        ({"signature": b"\0\0\0\0"}, "no TDVF descriptor stands where", AT),
        ({"version": 0}, "version 0 is not known, only 1 is", AT + 16),
        ({"version": 2}, "version 2 is not known, only 1 is", AT + 16),
        ({"version": 0xFFFFFFFF}, "version 4294967295 is not known", AT + 16),
        ({"length": 0}, "length 0 does not go with 6 sections", AT + 16),
        ({"length": 207}, "length 207 does not go with 6 sections", AT + 16),
        ({"length": 224}, "length 224 does not go with 6 sections", AT + 16),
        ({"length": 0xFFFFFFFF}, "length 4294967295 does not go with 6 sections", AT + 16),
        ({"count": 0}, "length 208 does not go with 0 sections", AT + 16),
        ({"count": 5}, "length 208 does not go with 5 sections", AT + 16),
        ({"count": 0xFFFFFFFF}, "length 208 does not go with 4294967295 sections", AT + 16),
        ({"count": 65, "length": 16 + 32 * 65}, "length 2096 does not go with 65 sections", AT + 16),
        ({"count": 0, "length": 16}, "0 TD_HOB sections, not one", AT),
    ],
)
def test_a_descriptor_with_one_wrong_field_is_refused(changes: dict[str, Any], problem: str, offset: int) -> None:
    refused(of_descriptor(descriptor(OVMF, **changes)), problem, offset)


def test_a_descriptor_that_the_file_ends_in_is_refused() -> None:
    image = with_table(noise(SIZE), descriptor(OVMF)[:32], table([tdx_entry(32)]), back=32)
    refused(image, r"TDVF at offset 0x3fff0: sections\[0\] needs 32 bytes, 16 left", SIZE - 16)


def test_64_sections_are_the_most() -> None:
    entries = [*OVMF, *(temporary(0x1000000 + 0x1000 * i, 0x1000) for i in range(59))]
    most = with_table(noise(SIZE), descriptor(entries[:-1]), table([tdx_entry(0x2000)]), back=0x2000)
    assert list(tdvf.parse(most)) == shown(entries[:-1])
    more = with_table(noise(SIZE), descriptor(entries), table([tdx_entry(0x2000)]), back=0x2000)
    refused(more, "length 2096 does not go with 65 sections", SIZE - 0x2000 + 16)


# One section


def with_section(index: int, **fields: int) -> bytes:
    entries = list(OVMF)
    entries[index] = entries[index]._replace(**fields)
    return of_descriptor(descriptor(entries))


@pytest.mark.parametrize(
    ("index", "fields", "problem"),
    [
        (0, {"data_offset": SIZE}, "BFV ends at 0x78000, beyond the file"),
        (0, {"data_offset": 0x8001}, "BFV ends at 0x40001, beyond the file"),
        (0, {"data_offset": 0xFFFFFFFF}, "BFV ends at 0x100037fff, beyond the file"),
        (0, {"raw_size": 0x38001}, "BFV ends at 0x40001, beyond the file"),
        (0, {"raw_size": 0xFFFFFFFF}, "beyond the file"),
        (0, {"data_offset": 0xFFFFFFFF, "raw_size": 0xFFFFFFFF}, "BFV ends at 0x1fffffffe, beyond the file"),
        (0, {"raw_size": 0}, "BFV has no content"),
        (1, {"raw_size": 0}, "CFV has no content"),
        (1, {"raw_size": 0x8001}, "CFV has 32769 bytes in memory of 32768"),
        (0, {"memory_size": 0x37000}, "BFV has 229376 bytes in memory of 225280"),
        (0, {"address": 0xFFFC8001}, "BFV at 0xfffc8001+0x38000 is not made of pages"),
        (0, {"address": (1 << 64) - 1}, "is not made of pages"),
        (0, {"memory_size": 0x38001}, "BFV at 0xfffc8000+0x38001 is not made of pages"),
        (2, {"memory_size": 0}, "TEMP_MEM has 0 bytes in memory of 0"),
        (4, {"memory_size": 0}, "TD_HOB has 0 bytes in memory of 0"),
        (2, {"memory_size": 1}, "TEMP_MEM at 0x811000+0x1 is not made of pages"),
        (2, {"memory_size": PAGES_OF_BOMB}, "TEMP_MEM at 0x811000+0xfffffffffffff000 is beyond what"),
        (2, {"address": PAGES_OF_BOMB}, "TEMP_MEM at 0xfffffffffffff000+0xf000 is beyond what"),
        (2, {"address": (1 << 52) - 0xE000}, "is beyond what a processor addresses"),
        (0, {"memory_size": PAGES_OF_BOMB}, "BFV at 0xfffc8000+0xfffffffffffff000 is beyond what"),
        (0, {"type": 8}, "section type 8 is not known"),
        (0, {"type": 0xFFFFFFFF}, "section type 4294967295 is not known"),
        (0, {"attributes": 4}, "BFV has unknown attributes 0x4"),
        (0, {"attributes": 0xFFFFFFFF}, "BFV has unknown attributes 0xffffffff"),
        (2, {"attributes": 1}, "TEMP_MEM has content or attributes"),
        (2, {"attributes": 2}, "TEMP_MEM has content or attributes"),
        (2, {"raw_size": 1}, "TEMP_MEM has content or attributes"),
        (4, {"raw_size": 0x2000}, "TD_HOB has content or attributes"),
        (4, {"attributes": 1}, "TD_HOB has content or attributes"),
    ],
)
def test_a_section_with_one_wrong_field_is_refused_at_its_offset(
    index: int, fields: dict[str, int], problem: str
) -> None:
    refused(with_section(index, **fields), re.escape(problem), AT + 16 + 32 * index)


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        (OVMF[:4], "0 TD_HOB sections, not one"),
        ([*OVMF, temporary(0x900000, 0x1000, TD_HOB)], "2 TD_HOB sections, not one"),
        (OVMF[1:], "no BFV section, so nothing starts"),
        ([*OVMF, temporary(0x80A000, 0x1000)], "TD_HOB and TEMP_MEM overlap in memory"),
        ([*OVMF, OVMF[1]], "CFV and CFV overlap in memory"),
        ([*OVMF, Entry(0, 0x1000, 0xFFFFF000, 0x1000, PAYLOAD, 1)], "BFV and PAYLOAD overlap in memory"),
    ],
)
def test_sections_that_do_not_go_together_are_refused(entries: Sequence[Entry], problem: str) -> None:
    refused(of_descriptor(descriptor(entries)), problem, AT)


def test_sections_that_touch_do_not_overlap() -> None:
    entries = [*OVMF, temporary(0x80D000, 0x4000), temporary(0x806000, 0x3000)]
    assert list(tdvf.parse(of_descriptor(descriptor(entries)))) == shown(entries)


# Memory that costs a hash for each page


def test_memory_that_would_take_long_to_measure_is_refused() -> None:
    bomb = [*OVMF, *(temporary((16 + 256 * i) << 20, 256 << 20) for i in range(7))]
    refused(of_descriptor(descriptor(bomb)), "sections of 1879412736 bytes are more than 268435456", AT)
    code = Entry(0, 0x1000, 4 << 30, 256 << 20, BFV, 1)
    refused(of_descriptor(descriptor([*OVMF, code])), "sections of 268800000 bytes are more than", AT)


def test_the_most_memory_is_measured_in_bounded_time() -> None:
    rest = (256 << 20) - sum(entry.memory_size for entry in OVMF)
    image = of_descriptor(descriptor([*OVMF, Entry(0, 0x1000, 4 << 30, rest, BFV, 1)]))
    with soon(10):
        assert len(mrtd(image, tdvf.parse(image))) == 48


def test_memory_that_is_added_later_costs_nothing() -> None:
    entries = [*OVMF, Entry(0, 0, 4 << 30, 1 << 40, PERM_MEM, 2)]
    image = of_descriptor(descriptor(entries))
    sections = tdvf.parse(image)
    with soon(1):
        assert mrtd(image, sections) == mrtd(image, sections[:-1])


def test_a_description_that_is_not_loaded_has_no_memory() -> None:
    entries = [*OVMF, Entry(0x9000, 0x800, 0, 0, TD_INFO, 0)]
    assert list(tdvf.parse(of_descriptor(descriptor(entries)))) == shown(entries)
    refused(of_descriptor(descriptor([*OVMF, Entry(0, 0, 0, 0, PAYLOAD, 0)])), "PAYLOAD has 0 bytes in memory of 0")
    loaded = Entry(0x9000, 0x800, 0x1000, 0x1000, TD_INFO, 0)
    assert tdvf.parse(of_descriptor(descriptor([*OVMF, loaded])))[-1].end == 0x2000
    refused(of_descriptor(descriptor([*OVMF, loaded._replace(raw_size=0x1001)])), "TD_INFO has 4097 bytes")


# Anything else


def attempt(image: bytes) -> tuple[tuple[Section, ...], FormatError | None]:
    """The sections, or how they are refused."""
    try:
        return tdvf.parse(image), None
    except FormatError as error:
        return (), error


def offset_of(error: FormatError) -> int:
    assert error.offset is not None
    return error.offset


@settings(max_examples=300, deadline=None)
@given(at=st.integers(0, 16 + 6 * 32 - 1), new=st.binary(min_size=1, max_size=8))
def test_any_change_of_the_metadata_is_read_or_refused_soon(at: int, new: bytes) -> None:
    image = laid(IMAGE, [(AT + at, new)])
    with soon(10):
        sections, error = attempt(image)
        assert error is None or AT <= offset_of(error) <= AT + 16 + 6 * 32
        assert error is not None or len(mrtd(image, sections)) == 48


@settings(max_examples=300, deadline=None)
@given(at=st.integers(1, 160), new=st.binary(min_size=1, max_size=8))
def test_any_change_of_the_table_is_read_or_refused(at: int, new: bytes) -> None:
    image = laid(IMAGE, [(-at, new[:at])])
    sections, error = attempt(image)
    assert sections == tdvf.parse(IMAGE) if error is None else 0 <= offset_of(error) <= SIZE


def test_what_a_section_is_in_json() -> None:
    assert tdvf.parse(IMAGE)[0].to_json() == {
        "type": "BFV",
        "offset": 0x8000,
        "rawSize": 0x38000,
        "address": 0xFFFC8000,
        "memorySize": 0x38000,
        "attributes": 1,
    }
    assert [kind.value for kind in SectionType] == [BFV, CFV, TD_HOB, TEMP_MEM, 4, 5, 6, TD_INFO]
