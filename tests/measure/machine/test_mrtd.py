"""MRTD: real firmware and the quotes of machines that started it; the records of the specification, one by one."""

from __future__ import annotations

import hashlib
import lzma
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.errors import FormatError
from pluto_measure.formats import tdvf
from pluto_measure.machine.mrtd import DEFAULT_ORDER, ORDERS, mrtd, order_of_qemu
from simulators import tdvf_images
from simulators.tdvf_images import BFV, CFV, PAYLOAD, PERM_MEM, TD_HOB, TD_INFO, Entry, temporary
from simulators.tdvf_layouts import TINY, layouts

REAL = {
    "ubuntu-25.10-ovmf_2025.02-8ubuntu3-OVMF.fd": (
        "a8135e3ddf1a3217cf36fa579c3cd24baed74a7879a656a5d7097e828af0a72e",
        "eea8b6a814569a52bd1e12f6b869bb2d9c0c8a7a43e658ffc3b42c199f116157ea7f04d359c7fdfd8ac483152cc13542",
        ("d729060f", "f184"),  # INDEX.md of the vectors prints ...d184; the records one by one end in ...f184 too
    ),
    "ubuntu-25.10-ovmf-inteltdx_2025.02-8ubuntu3-OVMF.inteltdx.fd": (
        "ae577ac531f6d7ecf7aee3203bfbd3d40db5eb8f79ce3e1ba69894a4711bc118",
        "7348651a34b2d2d3462822e3a750ec6110125f36757c78480bbfc69cc0d21fb001a1ced3ee19747dda8f750c3bc8f876",
        ("5a1bf412", "4959"),
    ),
    "ubuntu-25.04-ovmf_2025.02-3ubuntu2-OVMF.fd": (
        "9e807cb2cd4313406a3aa4becc0836671a5c64ca7bdc08a45e15260184b446bf",
        "7357a10d2e2724dffe68813e3cc4cfcde6814d749f2fb62e3953e54f6e0b50a219786afe2cd478f684b52c61837e1114",
        ("7ce4cec5", "14eb"),
    ),
    "debian-13-ovmf_2025.02-8+deb13u1-OVMF.fd": (
        "14954040cc754ade0c625ac3470ea46d4c14318b5b1396de4ef77090203d76db",
        "bdc6fb145880f06f30c8b346b8dce2a99d9351b56892df22f80fcf6574caa9f9c31df8e8576d53b4d0cd1c3f28910e11",
        ("456f0790", "0db2"),
    ),
}
# Firmware, quote of a machine that started it, offset of MRTD in it: 136 bytes into the body, which begins at 48 in
# version 4 and at 54 in version 5.
QUOTES = {
    "ubuntu-25.10-ovmf_2025.02-8ubuntu3-OVMF.fd": ("measure/ccel/qemu-ubuntu2510-direct.quote.bin", 48 + 136),
    "ubuntu-25.10-ovmf-inteltdx_2025.02-8ubuntu3-OVMF.inteltdx.fd": (
        "quotes/go-tdx-guest/quote_v5_sample.dat",
        54 + 136,
    ),
}
EMPTY_STORE = "344bc51c980ba621aaa00da3ed7436f7d6e549197dfe699515dfa2c6583d95e6412af21c097d473155875ffd561d6790"


def firmware(vectors: Path, name: str) -> bytes:
    return lzma.decompress((vectors / f"measure/firmware/{name}.xz").read_bytes())


def metadata(data: bytes) -> Iterator[tuple[int, int, int, int, int, int]]:
    """The sections of OVMF, found by their signature and not by our parser."""
    at = data.index(b"TDVF\xd0\0\0\0\1\0\0\0\6\0\0\0") + 16
    yield from struct.iter_unpack("<IIQQII", data[at : at + 6 * 32])


def page_add(address: int) -> bytes:
    """TDH.MEM.PAGE.ADD: 128 bytes."""
    record = bytearray(128)
    record[0:12] = b"MEM.PAGE.ADD"
    record[16:24] = address.to_bytes(8, "little")
    return bytes(record)


def extend(address: int, chunk: bytes) -> bytes:
    """TDH.MR.EXTEND: 128 bytes, then the 256 of the chunk."""
    assert len(chunk) == 256
    record = bytearray(128)
    record[0:9] = b"MR.EXTEND"
    record[16:24] = address.to_bytes(8, "little")
    return bytes(record) + chunk


def literal(image: bytes, entries: Sequence[Entry], order: str) -> str:
    """MRTD record by record, by the fields of the metadata and not by our parser."""
    records = []
    for entry in entries:
        memory = bytearray(entry.memory_size)
        memory[: entry.raw_size] = image[entry.data_offset : entry.data_offset + entry.raw_size]
        adds, extends = [], []
        for page in range(0, entry.memory_size, 4096):
            of_page = []
            if entry.attributes & 1:
                for at in range(page, page + 4096, 256):
                    of_page.append(extend(entry.address + at, bytes(memory[at : at + 256])))
            add = [] if entry.attributes & 2 else [page_add(entry.address + page)]
            if order == "interleaved":
                records += add + of_page
            else:
                adds += add
                extends += of_page
        records += adds + extends
    return hashlib.sha384(b"".join(records)).hexdigest()


def computed(image: bytes, order: str = DEFAULT_ORDER) -> str:
    return mrtd(image, tdvf.parse(image), order).hex()


@pytest.mark.parametrize("name", REAL)
def test_real_firmware_in_both_orders(vectors: Path, name: str) -> None:
    sha256, interleaved, (begin, end) = REAL[name]
    data = firmware(vectors, name)
    assert hashlib.sha256(data).hexdigest() == sha256
    assert computed(data) == computed(data, "interleaved") == interleaved
    sectioned = computed(data, "sectioned")
    assert (sectioned[:8], sectioned[-4:]) == (begin, end)
    assert sectioned == literal(data, [Entry(*section) for section in metadata(data)], "sectioned")


@pytest.mark.parametrize("name", QUOTES)
def test_real_firmware_has_the_mrtd_that_a_machine_attested(vectors: Path, name: str) -> None:
    quote, at = QUOTES[name]
    assert computed(firmware(vectors, name)) == (vectors / quote).read_bytes()[at : at + 48].hex()


@pytest.mark.parametrize("name", REAL)
def test_variable_stores_of_the_distributions_are_empty_ones(vectors: Path, name: str) -> None:
    data = firmware(vectors, name)
    (store,) = tdvf.find(tdvf.parse(data), tdvf.SectionType.CFV)
    assert (store.data_offset, store.raw_size) == (0, 0x84000)
    assert hashlib.sha384(tdvf.content(data, store)).hexdigest() == EMPTY_STORE


@pytest.mark.parametrize("order", ORDERS)
def test_an_image_like_ovmf_record_by_record(order: str) -> None:
    entries = tdvf_images.ovmf()
    image = tdvf_images.image(entries)
    assert computed(image, order) == literal(image, entries, order)


def test_an_image_of_4_mib_record_by_record() -> None:
    image = tdvf_images.large()
    entries = tdvf_images.ovmf(len(image), 0x84000)
    assert sum(entry.memory_size // 4096 for entry in entries) == 0x37C + 0x84 + 0xF + 2 + 2 + 6
    for order in ORDERS:
        assert computed(image, order) == literal(image, entries, order)


def test_the_older_form_of_td_shim_has_the_same_records() -> None:
    entries = (
        Entry(0x10000, 0x2000, 0xFFFFE000, 0x2000, BFV, 1),
        Entry(0, 0x1000, 0xFF000000, 0x4000, CFV, 0),
        temporary(0x820000, 0x2000, TD_HOB),
        Entry(0x8000, 0x2345, 0x1200000, 0x4000, PAYLOAD, 1),
        Entry(0, 0, 0x2000000, 0x40000000, PERM_MEM, 2),
        Entry(0x11000, 0x1000, 0, 0, TD_INFO, 0),
    )
    image = tdvf_images.td_shim(entries)
    added = entries[:4] + entries[5:]  # permanent memory is added later, and the TD's description is not loaded
    for order in ORDERS:
        assert computed(image, order) == literal(image, added, order)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("attributes", [0, 1, 2, 3])
@pytest.mark.parametrize("raw", [1, 255, 256, 257, 4095, 4096, 4097, 8192])
def test_each_attribute_with_content_shorter_than_memory(raw: int, attributes: int, order: str) -> None:
    entries = [Entry(0x1234, raw, 0xFFFFE000, 0x2000, BFV, attributes), temporary(0x809000, 0x1000, TD_HOB)]
    image = tdvf_images.image(entries, size=TINY)
    assert computed(image, order) == literal(image, entries, order)


@settings(max_examples=40, deadline=None)
@given(layouts(), st.sampled_from(sorted(ORDERS)))
def test_any_layout_record_by_record(entries: list[Entry], order: str) -> None:
    image = tdvf_images.image(entries, size=TINY)
    assert computed(image, order) == literal(image, entries, order)


@settings(max_examples=30, deadline=None)
@given(at=st.integers(0, tdvf_images.SIZE - tdvf_images.DESCRIPTOR_BACK - 1), flip=st.integers(1, 255))
def test_content_of_the_code_counts_and_that_of_the_variable_store_does_not(at: int, flip: int) -> None:
    image = tdvf_images.image()
    changed = tdvf_images.laid(image, [(at, bytes([image[at] ^ flip]))])
    assert (computed(changed) == computed(image)) == (at < tdvf_images.CFV_SIZE)


def test_place_and_order_of_sections_count() -> None:
    plain = tdvf_images.ovmf()
    moved = tdvf_images.ovmf(mailbox=0x810000)
    swapped = (plain[1], plain[0], *plain[2:])
    values = {computed(tdvf_images.image(entries), order) for entries in (plain, moved, swapped) for order in ORDERS}
    assert len(values) == 6


def test_without_content_both_orders_are_one() -> None:
    entries = [Entry(0, 4096, 0xFFFFF000, 0x1000, BFV, 0), temporary(0x809000, 0x1000, TD_HOB)]
    image = tdvf_images.image(entries, size=TINY)
    assert computed(image, "interleaved") == computed(image, "sectioned")


def test_an_order_that_nobody_uses_is_refused() -> None:
    image = tdvf_images.image()
    with pytest.raises(FormatError, match="'global' is not one of interleaved, sectioned"):
        mrtd(image, tdvf.parse(image), "global")


@pytest.mark.parametrize(
    ("version", "order"),
    [
        ((7, 2), "interleaved"),
        ((8,), "sectioned"),
        ((8, 0), "sectioned"),
        ((8, 2, 2), "sectioned"),
        ((9,), "interleaved"),
        ((9, 2, 1), "interleaved"),
        ((10, 1), "interleaved"),
    ],
)
def test_the_order_of_a_qemu_by_its_version(version: tuple[int, ...], order: str) -> None:
    assert order_of_qemu(version) == order
