"""Partition tables: vectors, what the measured bytes cover, and a table that sgdisk made."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.digests import Digests
from pluto_measure.errors import FormatError
from pluto_measure.formats import eventlog, gpt
from simulators import disks, recorded_boots

VECTORS = sorted((Path(__file__).parents[2] / "vectors/gpt").glob("*.toml"))
PLAIN = disks.head()


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_vector(path: Path) -> None:
    vector = tomllib.loads(path.read_text())
    data = (bytes.fromhex(vector["data"])).ljust(vector["size"], b"\0")
    if "error" in vector:
        with pytest.raises(FormatError, match=vector["error"]):
            gpt.event_data(data)
    else:
        assert [partition.name for partition in gpt.parse(data).partitions] == vector["partitions"]
        assert Digests.of(gpt.event_data(data)).to_json() == vector["event"]


def test_there_are_vectors() -> None:
    assert len(VECTORS) >= 5


def test_the_event_is_the_header_the_number_of_used_entries_and_these() -> None:
    unused = bytes(128)
    first, second = disks.partition(1), disks.partition(2, 5000, 6000, "data")
    data = gpt.event_data(disks.head([first, unused, second]))
    assert data == gpt.parse(disks.head([first, unused, second])).header + (2).to_bytes(8, "little") + first + second


def test_growing_the_disk_moves_the_event() -> None:
    assert gpt.event_data(disks.head(alternate=9000)) != gpt.event_data(PLAIN)


def test_entries_are_taken_in_the_headers_size() -> None:
    assert len(gpt.event_data(disks.head(entry_size=256, count=8))) == 92 + 8 + 256


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"revision": 0x00020000}, "revision 0x20000"),
        ({"size": 91}, "header size 91"),
        ({"size": 513}, "header size 513"),
        ({"my_lba": 2}, "MyLBA is 2"),
        ({"reserved": 1}, "reserved bytes"),
        ({"entries_lba": 1}, "sector 1 make no table"),
        ({"entries_lba": 1 << 60}, "beyond"),
        ({"count": 1 << 20}, "make no table"),
        ({"entry_size": 192}, "entry size 192"),
    ],
)
def test_a_header_that_makes_no_table_is_refused(changed: dict[str, int], problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        gpt.event_data(disks.head(**changed))  # type: ignore[arg-type]


def test_a_partition_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(FormatError, match="begins at sector 9 and ends at 8"):
        gpt.parse(disks.head([disks.partition(first=9, last=8)]))


@settings(max_examples=80, deadline=None)
@given(at=st.integers(512, 512 + 91) | st.integers(1024, len(PLAIN) - 1), bit=st.integers(0, 7))
def test_every_bit_of_header_and_entries_is_covered_by_a_checksum(at: int, bit: int) -> None:
    changed = PLAIN[:at] + bytes([PLAIN[at] ^ 1 << bit]) + PLAIN[at + 1 :]
    with pytest.raises(FormatError):
        gpt.event_data(changed)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, len(PLAIN) - 1))
def test_every_truncation_is_refused(size: int) -> None:
    with pytest.raises(FormatError):
        gpt.event_data(PLAIN[:size])


def test_the_event_of_a_real_boot_has_the_shape_that_we_write(vectors: Path) -> None:
    log = recorded_boots.log(vectors, "tx-crb-c2-m2048")
    event = next(e for e in log.events if e.type == eventlog.EventType.EV_EFI_GPT_EVENT)
    assert event.data_is_measured
    header, count, entries = event.data[:92], event.data[92:100], event.data[100:]
    entry_size = int.from_bytes(header[84:88], "little")
    assert header.startswith(b"EFI PART")
    assert int.from_bytes(count, "little") * entry_size == len(entries) == 128


@pytest.mark.interop
def test_a_table_made_by_sgdisk_is_read(tmp_path: Path) -> None:
    if (tool := shutil.which("sgdisk", path="/usr/sbin:/sbin:/usr/bin:/bin")) is None:
        pytest.skip("sgdisk is not installed")
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(16 << 20)
    arguments = ["-n", "1:2048:8191", "-c", "1:EFI", "-t", "1:ef00", "-n", "2:8192:0", "-c", "2:data"]
    subprocess.run([tool, *arguments, str(disk)], check=True, capture_output=True, timeout=60)
    table = gpt.parse(disk.read_bytes()[: 34 * 512])
    assert [(p.name, p.first_lba) for p in table.partitions] == [("EFI", 2048), ("data", 8192)]
    assert table.partitions[0].type_guid == disks.ESP
    assert table.alternate_lba == (16 << 20) // 512 - 1
