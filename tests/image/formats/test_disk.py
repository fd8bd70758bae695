"""The disk: its tables hold, it follows from the UKI alone, and sgdisk, sfdisk and mtools accept it."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from pluto_image.formats import gpt
from pluto_image.formats.disk import BOOT_PATH, SIZE, disk
from pluto_image.sparse import write_sparse
from pluto_measure.errors import FormatError, SourceError
from pluto_measure.formats import gpt as parser

UKI = bytes(range(256)) * 500
SMALL = 40 << 20


def head(uki: bytes, size: int = SMALL, extra: dict[str, bytes] | None = None) -> bytes:
    return next(disk(uki, size, extra=extra))[1]


@pytest.mark.parametrize("size", [SMALL, 300 << 20, SIZE])
def test_our_parser_finds_one_system_partition_with_good_checksums(size: int) -> None:
    table = parser.parse(head(UKI, size))
    (esp,) = table.partitions
    assert esp.type_guid == gpt.ESP_TYPE.bytes_le
    assert (esp.first_lba, esp.name, esp.attributes) == (2048, "esp", 0)
    assert (esp.last_lba + 1) % 2048 == 0
    assert table.alternate_lba == size // 512 - 1
    assert esp.last_lba <= table.last_usable == size // 512 - 34


def test_the_backup_table_mirrors_the_primary_one() -> None:
    chunks = list(disk(UKI, SMALL))
    (_, front), (offset, back) = chunks[0], chunks[-1]
    assert offset + len(back) == SMALL
    assert back[: 32 * 512] == front[1024 : 1024 + 32 * 512]
    primary, backup = (struct.unpack_from("<8sIIII4Q16sQIII", data) for data in (front[512:], back[32 * 512 :]))
    assert (primary[5], primary[6]) == (backup[6], backup[5])
    assert backup[10] == SMALL // 512 - 33
    assert primary[7:10] == backup[7:10]


def test_identifiers_follow_from_the_uki_and_from_nothing_else() -> None:
    assert list(disk(UKI, SMALL)) == list(disk(bytes(UKI), SMALL))
    assert parser.event_data(head(UKI)) != parser.event_data(head(UKI + b"x"))
    sidecar = {"EFI/BOOT/BOOTX64.EFI.extra.d/x.cred": b"evil"}
    assert head(UKI, extra=sidecar) == head(UKI), "an attacker's file does not show in the table"
    (esp,) = parser.parse(head(UKI)).partitions
    for raw in (esp.unique_guid, parser.parse(head(UKI)).disk_guid):
        identifier = UUID(bytes_le=raw)
        assert (identifier.version, identifier.variant) == (8, "specified in RFC 4122")


def test_the_standard_disk_is_small_on_a_sparse_file_system(tmp_path: Path) -> None:
    path = tmp_path / "disk.raw"
    write_sparse(path, disk(UKI), SIZE)
    assert path.stat().st_size == SIZE
    assert sum(len(data) for _, data in disk(UKI)) < len(UKI) + 64 * 1024
    assert [p.name for p in tmp_path.iterdir()] == ["disk.raw"]


@pytest.mark.parametrize("size", [0, 1 << 20, SIZE + 1])
def test_a_size_that_cannot_be_is_refused(size: int) -> None:
    with pytest.raises(FormatError):
        list(disk(UKI, size))


def test_a_uki_that_does_not_fit_is_refused() -> None:
    with pytest.raises(FormatError, match="content needs"):
        list(disk(bytes(SMALL), SMALL))


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "disk.raw"
    path.write_bytes(b"old")

    def broken() -> Iterator[tuple[int, bytes]]:
        yield 0, b"new"
        raise OSError(28, "No space left on device")

    with pytest.raises(SourceError, match="No space left"):
        write_sparse(path, broken(), SIZE)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("disk.raw", b"old")]


@pytest.mark.interop
def test_partition_tools_and_mtools_accept_the_disk(tmp_path: Path) -> None:
    for tool in ("sgdisk", "sfdisk", "mtype"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    path = tmp_path / "disk.raw"
    write_sparse(path, disk(UKI), SIZE)
    verdict = subprocess.run(["sgdisk", "--verify", str(path)], check=True, capture_output=True, text=True)
    assert "No problems found" in verdict.stdout
    info = subprocess.run(["sgdisk", "--info=1", str(path)], check=True, capture_output=True, text=True)
    assert "(EFI system partition)" in info.stdout
    checked = subprocess.run(["sfdisk", "--verify", str(path)], check=True, capture_output=True, text=True)
    assert "No errors detected" in checked.stdout
    file = subprocess.run(["mtype", "-i", f"{path}@@1M", f"::/{BOOT_PATH}"], check=True, capture_output=True)
    assert file.stdout == UKI
