"""The ACPI table CCEL: real tables, and every way in which one can be wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluto_measure.errors import FormatError
from pluto_measure.formats import ccel
from simulators.event_logs import ccel_table

TABLE = ccel_table(65536)


@pytest.mark.parametrize(
    "name",
    [
        "measure/ccel/gcp-cos113.ccel-table.bin",
        "quotes/go-eventlog/cos-113-intel-tdx.table.bin",
        "quotes/go-tdx-guest/ccel/ccel_table.dat",
    ],
)
def test_a_real_table_names_the_area_of_its_log(vectors: Path, name: str) -> None:
    table = ccel.parse((vectors / name).read_bytes())
    assert table == ccel.Table(ccel.TDX, 0, 262144, 0xBEDBF000)
    assert table.type_name == "TDX"
    ccel.check_size(table, len((vectors / "measure/ccel/gcp-cos113.ccel.bin").read_bytes()))


@given(st.integers(1, 2**64 - 1), st.integers(1, 2**64 - 1), st.integers(0, 255))
def test_what_is_written_is_read(size: int, address: int, kind: int) -> None:
    table = ccel.parse(ccel_table(size, address=address, kind=kind))
    assert table == ccel.Table(kind, 0, size, address)
    assert table.type_name == {1: "SEV", 2: "TDX"}.get(kind, f"type {kind}")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "signature needs 4 bytes"),
        (b"SSDT" + TABLE[4:], "signature is not CCEL"),
        (TABLE[:-1], "55 bytes with a length of 56 are not 56"),
        (TABLE + b"\0", "57 bytes with a length of 56"),
        (TABLE[:4] + b"\x39" + TABLE[5:] + b"\0", "57 bytes with a length of 57"),
        (TABLE[:-1] + b"\1", "checksum is wrong"),
        (ccel_table(0), "log area of 0 bytes"),
        (ccel_table(1, address=0), "log area of 1 bytes at 0x0 is not there"),
    ],
)
def test_a_wrong_table_is_refused(data: bytes, problem: str) -> None:
    with pytest.raises(FormatError, match=problem) as caught:
        ccel.parse(data)
    assert caught.value.offset is not None


def test_a_log_fits_its_area_or_is_not_of_this_boot() -> None:
    table = ccel.parse(TABLE)
    for size in (0, 1, 65536):
        ccel.check_size(table, size)
    with pytest.raises(FormatError, match="65537 bytes are more than the 65536 of the log area") as caught:
        ccel.check_size(table, 65537)
    assert caught.value.offset == 65536
