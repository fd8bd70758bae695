"""FAT32 volumes: files lie where the FAT says, and fsck.fat and mtools agree."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_image.formats import fat32
from pluto_image.sparse import write_sparse
from pluto_measure.errors import FormatError

MIB = 1 << 20
FILES = {
    "EFI/BOOT/BOOTX64.EFI": bytes(range(256)) * 700 + b"end",
    "EFI/BOOT/BOOTX64.EFI.extra.d/x.cred": b"credential",
    "EFI/BOOT/BOOTX64.EFI.extra.d/y.cred": b"",
    "EMPTY": b"",
    "A name with blanks, dots.and more than thirteen.letters": b"x" * 5000,
    "thirteenchars": b"13",
    ".hidden": b"h",
    **{f"many/file number {n}.txt": b"%d" % n for n in range(120)},
}


def image(size: int, files: Mapping[str, bytes]) -> bytes:
    out = bytearray(size)
    last = 0
    for offset, data in fat32.volume(size, files, volume_id=0x12345678, hidden_sectors=2048):
        assert offset >= last, "chunks are in ascending order and do not overlap"
        out[offset : offset + len(data)] = data
        last = offset + len(data)
    assert len(out) == size
    return bytes(out)


def read_back(volume: bytes) -> dict[str, bytes]:
    """A small reader of its own: walks directories and follows the FAT."""
    sector, per_cluster, reserved, fats = struct.unpack_from("<HBHB", volume, 11)
    (fat_size,) = struct.unpack_from("<I", volume, 36)
    data_at, cluster_size = (reserved + fats * fat_size) * sector, per_cluster * sector
    table = struct.unpack_from(f"<{fat_size * sector // 4}I", volume, reserved * sector)

    def content(cluster: int) -> bytes:
        out = b""
        while cluster and cluster < 0x0FFF_FFF8:
            start = data_at + (cluster - 2) * cluster_size
            out += volume[start : start + cluster_size]
            cluster = table[cluster]
        return out

    def walk(cluster: int, prefix: str) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        listing, long = content(cluster), ""
        for at in range(0, len(listing), 32):
            entry = listing[at : at + 32]
            if not entry[0]:
                break
            if entry[11] == 0x0F:
                part = (entry[1:11] + entry[14:26] + entry[28:32]).decode("utf-16-le")
                long = part.split("\0")[0].rstrip("\uffff") + long
                continue
            short = entry[:8].decode().rstrip() + ("." + entry[8:11].decode()).rstrip(" .")
            name, long = long or short, ""
            high, low, size = struct.unpack_from("<H4xHI", entry, 20)
            if name in (".", ".."):
                continue
            if entry[11] & 0x10:
                found |= walk(high << 16 | low, f"{prefix}{name}/")
            else:
                found[prefix + name] = content(high << 16 | low)[:size]
        return found

    return walk(2, "")


@pytest.mark.parametrize("size", [34 * MIB, 70 * MIB, 136 * MIB, 300 * MIB])
def test_every_file_is_read_back_at_every_cluster_size(size: int) -> None:
    assert read_back(image(size, FILES)) == FILES


PART = st.text("aB1 .-_+", min_size=1, max_size=30).filter(lambda s: s.strip(" .") == s)


@settings(max_examples=15, deadline=None)
@given(st.dictionaries(st.lists(PART, min_size=1, max_size=3).map("/".join), st.binary(max_size=2000), max_size=12))
def test_any_tree_is_read_back_or_refused(files: dict[str, bytes]) -> None:
    try:
        volume = image(34 * MIB, files)
    except FormatError:
        refused = True
    else:
        refused = False
        assert read_back(volume) == files
    paths = [path.upper() for path in files]
    clash = len(set(paths)) < len(paths) or any(a.startswith(f"{b}/") for a in paths for b in paths)
    folders = {"/".join(path.split("/")[:n]) for path in files for n in (1, 2) if path.count("/") >= n}
    assert refused == (clash or len({folder.upper() for folder in folders}) < len(folders))


def test_an_upper_case_short_name_needs_no_long_entry() -> None:
    volume = image(34 * MIB, {"EFI/BOOT/BOOTX64.EFI": b"x"})
    assert b"BOOTX64 EFI\x20" in volume
    assert "BOOTX64".encode("utf-16-le")[:10] not in volume


@pytest.mark.parametrize(
    ("size", "files", "problem"),
    [
        (16 * MIB, {}, "no number of clusters"),
        (34 * MIB + 1, {}, "no number of clusters"),
        (34 * MIB, {"big": bytes(35 * MIB)}, "content needs"),
        (34 * MIB, {"a": b"", "A": b""}, "is there already"),
        (34 * MIB, {"a": b"", "a/b": b""}, "is there already"),
        (34 * MIB, {"a/b": b"", "A/c": b""}, "is there already"),
        (34 * MIB, {"a:b": b""}, "not a name"),
        (34 * MIB, {"ä": b""}, "not a name"),
        (34 * MIB, {"a.": b""}, "not a name"),
        (34 * MIB, {"a//b": b""}, "not a name"),
        (34 * MIB, {"../b": b""}, "not a name"),
        (34 * MIB, {"x" * 256: b""}, "not a name"),
    ],
)
def test_what_fat_cannot_hold_is_refused(size: int, files: dict[str, bytes], problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        image(size, files)


@pytest.mark.interop
@pytest.mark.parametrize("size", [34 * MIB, 70 * MIB, 136 * MIB, 1022 * MIB])
def test_fsck_fat_and_mtools_find_nothing_wrong(tmp_path: Path, size: int) -> None:
    if shutil.which("fsck.fat") is None or shutil.which("mdir") is None:
        pytest.skip("dosfstools or mtools is not installed")
    path = tmp_path / "esp.raw"
    write_sparse(path, fat32.volume(size, FILES, volume_id=0x12345678, hidden_sectors=2048), size)
    check = subprocess.run(["fsck.fat", "-n", "-v", str(path)], check=True, capture_output=True, text=True)
    assert f"{len(FILES) + 4} files" in check.stdout
    names = subprocess.run(["mdir", "-/", "-b", "-i", str(path), "::"], check=True, capture_output=True, text=True)
    assert {line[3:] for line in names.stdout.split("\n") if line and not line.endswith("/")} == set(FILES)
    for name, content in list(FILES.items())[:8]:
        out = subprocess.run(["mtype", "-i", str(path), f"::/{name}"], check=True, capture_output=True)
        assert out.stdout == content
