"""The fixed VHD: the footer field by field, geometry by the specification's algorithm, a checksum that notices."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluto_image.formats.disk import SIZE, disk
from pluto_image.outputs.vhd import fixed, footer, geometry
from pluto_measure.errors import FormatError

MIB = 1 << 20
# Name, offset and size in bytes: the table of "Hard Disk Footer Format".
FIELDS = {
    "cookie": (0, 8), "features": (8, 4), "version": (12, 4), "data offset": (16, 8), "time": (24, 4),
    "creator": (28, 4), "creator version": (32, 4), "creator host": (36, 4), "original size": (40, 8),
    "current size": (48, 8), "geometry": (56, 4), "type": (60, 4), "checksum": (64, 4), "id": (68, 16),
    "saved state": (84, 1), "reserved": (85, 427),
}  # fmt: skip


def read(data: bytes) -> dict[str, bytes]:
    """The fields of a footer whose checksum holds; ValueError otherwise."""
    fields = {name: data[at : at + size] for name, (at, size) in FIELDS.items()}
    assert len(data) == sum(map(len, fields.values())) == 512
    at, size = FIELDS["checksum"]
    total = sum(data[:at] + data[at + size :])
    if fields["checksum"] != (0xFFFF_FFFF - total).to_bytes(4, "big"):
        raise ValueError("checksum")
    return fields


def test_the_footer_of_the_disk_field_by_field() -> None:
    size = (1 << 30).to_bytes(8, "big")
    found = read(footer(1 << 30))
    del found["checksum"]
    assert found == {
        "cookie": b"conectix",
        "features": bytes([0, 0, 0, 2]),  # the reserved bit that must be set
        "version": bytes([0, 1, 0, 0]),
        "data offset": b"\xff" * 8,
        "time": bytes(4),
        "creator": b"win ",
        "creator version": bytes([0, 1, 0, 0]),
        "creator host": b"Wi2k",
        "original size": size,
        "current size": size,
        "geometry": (2080).to_bytes(2, "big") + bytes([16, 63]),
        "type": bytes([0, 0, 0, 2]),
        "id": bytes(16),
        "saved state": b"\0",
        "reserved": bytes(427),
    }


# By hand, from the algorithm in the appendix "CHS Calculation": each branch, and both sides of its edges.
@pytest.mark.parametrize(
    ("mib", "expected"),
    [
        (3, (90, 4, 17)),
        (20, (602, 4, 17)),
        (33, (993, 4, 17)),
        (34, (140, 16, 31)),  # 69,632 sectors are 17 × 4096: as many tracks as cylinders can be
        (100, (1003, 12, 17)),
        (200, (825, 16, 31)),
        (247, (1019, 16, 31)),
        (248, (503, 16, 63)),  # 507,904 sectors are 31 × 16,384
        (1024, (2080, 16, 63)),
        (32255, (65533, 16, 63)),
        (32256, (16191, 16, 255)),  # from 65,535 × 16 × 63 sectors on
        (32 * 1024, (16448, 16, 255)),
        (128 * 1024, (65535, 16, 255)),
        (1023 * 1024, (65535, 16, 255)),
    ],
)
def test_geometry(mib: int, expected: tuple[int, int, int]) -> None:
    assert geometry(mib * MIB) == expected
    if mib >= 20:
        assert read(footer(mib * MIB))["geometry"] == expected[0].to_bytes(2, "big") + bytes(expected[1:])


@given(st.integers(20, 1023 * 1024))
def test_geometry_addresses_no_more_than_the_disk_has_and_fits_its_fields(mib: int) -> None:
    cylinders, heads, sectors = geometry(mib * MIB)
    assert cylinders * heads * sectors <= mib * MIB // 512
    assert 0 < cylinders <= 65535
    assert 4 <= heads <= 16
    assert sectors in (17, 31, 63, 255)


@given(st.integers(0, 511), st.integers(1, 255))
def test_a_changed_byte_breaks_the_checksum(at: int, change: int) -> None:
    data = bytearray(footer(64 * MIB))
    data[at] ^= change
    with pytest.raises(ValueError, match="checksum"):
        read(bytes(data))


def test_the_file_is_the_disk_and_then_the_footer() -> None:
    chunks = list(disk(b"UKI" * 1000))
    assert list(fixed(SIZE, iter(chunks))) == [*chunks, (SIZE, footer(SIZE))]
    assert list(fixed(SIZE, [])) == [(SIZE, footer(SIZE))]


def test_what_lies_behind_the_disk_is_refused() -> None:
    with pytest.raises(FormatError, match="beyond the disk"):
        list(fixed(64 * MIB, [(64 * MIB - 1, b"xy")]))


@pytest.mark.parametrize("size", [-MIB, 0, MIB, 19 * MIB, 20 * MIB + 512, (1 << 30) + 1])
def test_a_size_that_azure_does_not_take_is_refused(size: int) -> None:
    with pytest.raises(FormatError, match="no whole number of MiB, or less than 20"):
        footer(size)
    with pytest.raises(FormatError):
        list(fixed(size, []))


def test_golden() -> None:
    """The footer follows from the size alone, so these are the bytes for ever."""
    assert (
        hashlib.sha256(footer(1 << 30)).hexdigest()
        == "7efbba457f9d98a5cd755330d2ccdc20df35f25bd79731f5e2804b022db6953b"
    )
