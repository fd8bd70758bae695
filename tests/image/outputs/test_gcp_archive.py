"""Google's archive: one old GNU member named disk.raw, read back by tarfile; sizes and padding."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile

import pytest

from pluto_image.formats.disk import SIZE, disk
from pluto_image.outputs import gcp
from pluto_image.sparse import sparse_digest
from pluto_measure.errors import FormatError

EPOCH = 1_700_000_000
UKI = b"UKI" * 1000
GIB = 1 << 30


def archive(size: int = SIZE, epoch: int = EPOCH) -> bytes:
    return b"".join(gcp.archive(size, disk(UKI, size), epoch))


def test_the_header_byte_by_byte() -> None:
    """GNU tar manual, "Basic Tar Format": struct posix_header with OLDGNU_MAGIC."""
    head = gcp.header(GIB, EPOCH)
    fields = {
        (0, 100): b"disk.raw",
        (100, 108): b"0000644",
        (108, 116): b"0000000",
        (116, 124): b"0000000",
        (124, 136): b"10000000000",
        (136, 148): b"14524770400",
        (156, 157): b"0",
        (157, 257): b"",
        (257, 265): b"ustar  ",
        (265, 512): b"",
    }
    for (begin, end), text in fields.items():
        assert head[begin:end] == text.ljust(end - begin, b"\0"), begin
    blank = head[:148] + b" " * 8 + head[156:]
    assert head[148:156] == b"%06o\0 " % sum(blank)
    assert len(head) == 512


@pytest.mark.parametrize("gib", [1, 7, 8, 9, 1023])
def test_tarfile_reads_the_header_of_any_size(gib: int) -> None:
    """From 8 GiB on, eleven octal digits do not hold the size, and GNU's binary form does."""
    info = tarfile.TarInfo.frombuf(gcp.header(gib * GIB, EPOCH), "utf-8", "strict")
    assert (info.name, info.size, info.mtime, info.mode) == ("disk.raw", gib * GIB, EPOCH, 0o644)
    assert (info.uid, info.gid, info.uname, info.gname, info.type) == (0, 0, "", "", tarfile.REGTYPE)
    assert (gcp.header(gib * GIB, EPOCH)[124] == 0x80) == (gib >= 8)


def test_a_changed_header_is_seen() -> None:
    head = bytearray(gcp.header(GIB, EPOCH))
    head[130] ^= 1
    with pytest.raises(tarfile.HeaderError):
        tarfile.TarInfo.frombuf(head, "utf-8", "strict")


def test_the_end_is_padded_to_a_record() -> None:
    """Header, disk and two empty blocks, in records of twenty blocks."""
    size = int.from_bytes(archive()[-4:], "little")
    assert size % 10240 == 0
    assert 512 + GIB + 1024 <= size < 512 + GIB + 1024 + 10240


@pytest.mark.usefixtures("small_disks")
def test_tarfile_finds_one_member_and_in_it_the_disk() -> None:
    data, size = archive(64 << 20), 64 << 20
    whole = gzip.decompress(data)
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        (member,) = tar.getmembers()
    assert (member.name, member.offset_data, member.size) == ("disk.raw", 512, size)
    assert hashlib.sha256(whole[512 : 512 + size]).hexdigest() == sparse_digest(size, disk(UKI, size))
    assert not any(whole[512 + size :])
    assert len(whole) == int.from_bytes(data[-4:], "little")


@pytest.mark.parametrize("size", [-GIB, 0, 64 << 20, GIB - 512, GIB + 1, GIB + (1 << 20)])
def test_a_size_that_google_does_not_take_is_refused(size: int) -> None:
    with pytest.raises(FormatError, match="no whole number of GiB"):
        next(gcp.archive(size, [], EPOCH))


@pytest.mark.parametrize("at", [GIB - 1, GIB, GIB + 600, GIB + 20_000])
def test_what_lies_behind_the_disk_is_refused(at: int) -> None:
    """Room is there behind it, up to the end of the record; but that is the archive's."""
    with pytest.raises(FormatError, match="beyond"):
        list(gcp.archive(GIB, [(at, b"xy")], EPOCH))


def test_golden() -> None:
    """Disk and archive follow from the UKI and the time: the bytes are these for ever."""
    assert hashlib.sha256(archive()).hexdigest() == "8960973fef9bdb96249c33c2f7fb19dea93a3b12344d06c14ff9e07b6582ace2"
