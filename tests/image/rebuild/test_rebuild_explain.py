"""Explaining images and disks: the right words for each kind of change, and some words for every changed byte."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_image.formats import compress, cpio, disk, uki
from pluto_image.rebuild.compare import compare
from pluto_image.rebuild.explain.difference import Difference, Explained
from pluto_image.rebuild.explain.disk import disk_differences, vhd_differences
from pluto_image.rebuild.explain.files import explain
from pluto_image.rebuild.explain.known import Known, Origins
from pluto_image.rebuild.explain.uki import uki_differences
from pluto_image.rebuild.view import View
from pluto_image.tree import Entry, Kind
from simulators.pe_images import KERNEL, STUB

SIZE = 36 << 20  # the smallest whole MiB that make a FAT32
EPOCH = 1_700_000_000
ORIGINS = Origins(
    {
        "etc": "recipe:parents",
        "etc/hosts": "package:netbase",
        "etc/issue": "derived:byte-code of package:netbase",
        "init": "recipe:files.link",
    },
    {"netbase": "6.5"},
)
KNOWN = Known(ORIGINS, "linux-image 6.1-1", b"", None)
ROOT = {
    "etc": Entry("etc", Kind.DIRECTORY, 0o755, b"", ""),
    "etc/hosts": Entry("etc/hosts", Kind.FILE, 0o644, b"127.0.0.1 a\n::1 a\n", ""),
    "etc/issue": Entry("etc/issue", Kind.FILE, 0o644, bytes(range(256)), ""),
    "init": Entry("init", Kind.SYMLINK, 0o777, b"usr/bin/init", ""),
}


def image(
    root: dict[str, Entry] | None = None, epoch: int = EPOCH, initrd: bytes | None = None, **sections: bytes
) -> bytes:
    """A UKI with this root; `sections`: other content by the section's name without its dot."""
    content = {
        "osrel": b'ID="tiny"\nBUILD_ID="0"\n',
        "cmdline": b"quiet lockdown=integrity",
        "uname": b"6.1",
        "initrd": initrd if initrd is not None else compress.zstd(cpio.newc((root or ROOT).values(), epoch)),
        "linux": KERNEL,
    }
    return uki.build(STUB, [(f".{name}", data) for name, data in (content | sections).items()])


UKI = image()


def words(published: bytes, rebuilt: bytes = UKI) -> list[tuple[str, str, str, str]]:
    found = uki_differences("pluto.efi", published, rebuilt, ORIGINS, "linux-image 6.1-1")
    return [(one.where, one.published, one.rebuilt, one.meaning) for one in found]


def changed(path: str, **fields: object) -> dict[str, Entry]:
    old = ROOT[path]
    values = {"path": old.path, "kind": old.kind, "mode": old.mode, "data": old.data, "origin": ""} | fields
    return ROOT | {path: Entry(**values)}  # type: ignore[arg-type]


def test_an_entry_whose_mode_owner_or_content_changed_is_named_with_its_package() -> None:
    place = "section .initrd: etc/hosts"
    assert words(image(changed("etc/hosts", mode=0o666)))[0] == (
        place, "file 0666", "file 0644", "another mode (package netbase 6.5)"
    )  # fmt: skip
    assert words(image(changed("etc/hosts", uid=7)))[0] == (place, "7", "0", "another owner (package netbase 6.5)")
    assert words(image(changed("etc/hosts", data=b"127.0.0.1 a\n::1 b\n")))[0] == (
        f"{place}: line 2", "::1 b", "::1 a", "other content (package netbase 6.5)"
    )  # fmt: skip
    binary = changed("etc/issue", data=bytes(range(255)) + b"\0")
    assert words(image(binary))[0] == (
        "section .initrd: etc/issue", "256 bytes, 00 at 0xff", "256 bytes, ff at 0xff",
        "other content (derived byte-code of package netbase 6.5)",
    )  # fmt: skip
    assert words(image(changed("init", data=b"bin/sh")))[0][:3] == (
        "section .initrd: init: line 1", "bin/sh", "usr/bin/init"
    )  # fmt: skip


def test_an_entry_too_many_and_a_missing_one_are_named() -> None:
    more = ROOT | {"etc/key": Entry("etc/key", Kind.FILE, 0o600, b"secret", "")}
    assert words(image(more))[0] == (
        "section .initrd: etc/key", "file 0600, 6 bytes", "", "the entry is in the published root only (origin unknown)"
    )  # fmt: skip
    fewer = {path: entry for path, entry in ROOT.items() if path != "init"}
    assert words(image(fewer))[0] == (
        "section .initrd: init", "", "symlink 0777, 12 bytes",
        "the entry is missing in the published root (recipe files.link)",
    )  # fmt: skip


def test_the_same_root_compressed_or_spelled_otherwise_is_told_from_another_root() -> None:
    archive = b"".join(cpio.newc(ROOT.values(), EPOCH))
    assert "another libzstd or another level" in words(image(initrd=archive))[0][3]
    assert words(image(epoch=EPOCH + 1))[0][3].startswith("numbers of the archive that no entry carries")
    assert "mtime=1700000001" in words(image(epoch=EPOCH + 1))[0][1]
    assert words(image(initrd=b"no archive"))[0][3].startswith("is no root that a build writes: UKI .initrd: not zstd")


def test_sections_and_headers_are_named() -> None:
    assert words(image(cmdline=b"quiet lockdown=integrity init=/bin/sh"))[0] == (
        "section .cmdline: word 3", "init=/bin/sh", "", "another kernel command line"
    )  # fmt: skip
    assert words(image(osrel=b'ID="tiny"\nBUILD_ID="1"\n'))[0][:3] == (
        'section .osrel: line 2', 'BUILD_ID="1"', 'BUILD_ID="0"'
    )  # fmt: skip
    assert words(image(linux=KERNEL + b"x"))[0][3] == "another kernel than that of linux-image 6.1-1"
    assert words(image(extra=b"x"))[0][3] == "the section is in the published image only"
    stamp = bytearray(UKI)
    stamp[UKI.index(b"PE\0\0") + 8] = 9
    assert words(bytes(stamp)) == [("COFF header: TimeDateStamp", "0x9", "0x0", "another header of the PE image")]
    assert words(UKI + b"\0\0")[0][3] == "bytes that belong to no header and no section"
    assert words(b"MZ")[0][3].startswith("is no image that a build writes")


def test_what_follows_from_a_longer_section_is_not_repeated() -> None:
    assert [where for where, *_ in words(image(cmdline=b"quiet lockdown=integrity more"))] == [
        "section .cmdline: word 3"
    ]


@cache
def raw(extra: tuple[tuple[str, bytes], ...] = (), content: bytes = UKI) -> bytes:
    data = bytearray(SIZE)
    for at, part in disk.disk(content, SIZE, extra=dict(extra)):
        data[at : at + len(part)] = part
    return bytes(data)


def disk_words(published: bytes, known: Known = KNOWN) -> list[Difference]:
    return list(disk_differences("disk.raw", View.of(published), View.sparse(SIZE, disk.disk(UKI, SIZE)), known))


def flipped(data: bytes, at: int, flip: int = 0xFF) -> bytes:
    out = bytearray(data)
    out[at] ^= flip
    return bytes(out)


def test_equal_disks_have_no_differences() -> None:
    assert disk_words(raw()) == []
    assert words(UKI) == []


ESP = 1 << 20


@pytest.mark.parametrize(
    ("place", "where", "meaning"),
    [
        (0, "protective MBR: BootCode", "another field of the protective MBR"),
        (510, "protective MBR: Signature", "another field of the protective MBR"),
        (512 + 56, "GPT header: DiskGUID", "another field of the GPT header"),
        (1024 + 32, "GPT entry 0: StartingLBA", "another field of the GPT entry 0"),
        (1024 + 128, "GPT entry 1: PartitionTypeGUID", "another field of the GPT entry 1"),
        (40_000, "before the partition, which begins at 0x4400", "bytes that no build writes"),
        (ESP + 67, "ESP: boot sector: BS_VolID", "another field of the boot sector"),
        (ESP + 6 * 512 + 67, "ESP: boot sector (copy): BS_VolID", "another field of the boot sector (copy)"),
        (ESP + 512 + 488, "ESP: FSInfo: FSI_Free_Count", "another field of the FSInfo"),
        (ESP + 9 * 512, "ESP: reserved sectors, which begins at 0x101000", "bytes that no build writes"),
        (SIZE - 512 + 24, "backup GPT header: MyLBA", "another field of the backup GPT header"),
        (SIZE - 33 * 512, "backup GPT entry 0: PartitionTypeGUID", "another field of the backup GPT entry 0"),
        (SIZE - 40 * 512, "behind the partition, which begins at 0x2300000", "bytes that no build writes"),
        (SIZE - (2 << 20), "ESP: a cluster that no file uses", "other bytes around the same files"),
    ],
)
def test_a_field_of_the_disk_is_named(place: int, where: str, meaning: str) -> None:
    assert [(one.where, one.meaning) for one in disk_words(flipped(raw(), place))][:1] == [(where, meaning)]


def test_a_file_of_the_esp_is_named_and_looked_into() -> None:
    more = disk_words(raw((("EFI/BOOT/startup.nsh", b"x"),)))
    assert (more[0].where, more[0].meaning) == ("ESP: EFI/BOOT/startup.nsh", "the file is on the published disk only")
    other = image(changed("etc/hosts", mode=0o600))
    (first, *_) = disk_words(raw(content=other))
    assert first.where == "ESP: EFI/BOOT/BOOTX64.EFI: section .initrd: etc/hosts"
    known = Known(ORIGINS, "", other, None)
    assert disk_words(raw(content=other), known)[0].meaning == "holds the published pluto.efi: see there"


def test_a_volume_that_cannot_be_read_is_said_to_be_none() -> None:
    (first, *_) = disk_words(flipped(raw(), ESP + 11))
    assert first.meaning.startswith("is no file system that a build writes")


def test_a_disk_of_another_size_says_so() -> None:
    assert disk_words(raw()[:-512])[0].meaning == "another size of the disk"


FOOTER = b"conectix" + bytes(504)


def test_a_vhd_is_its_disk_and_its_footer() -> None:
    def found(published: bytes, known: Known = KNOWN) -> list[Difference]:
        return list(vhd_differences("disk.vhd", View.of(published), View.of(raw() + FOOTER), known))

    assert found(raw() + FOOTER) == []
    (one,) = found(raw() + FOOTER[:24] + b"\1" + FOOTER[25:])
    assert (one.where, one.published, one.rebuilt) == ("footer: TimeStamp", "0x1000000", "0x0")
    wrong = flipped(raw(), 512 + 56)
    assert found(wrong + FOOTER)[0].where == "disk: GPT header: DiskGUID"
    known = Known(ORIGINS, "", b"", View.of(wrong))
    assert [one.meaning for one in found(wrong + FOOTER, known)] == ["holds the published disk.raw: see there"]


def explained(name: str, published: bytes, rebuilt: bytes) -> tuple[Explained, ...]:
    one, two = {name: View.of(published)}, {name: View.of(rebuilt)}
    return explain(compare(one, two), one, two, KNOWN)


PLACES: dict[str, tuple[Callable[[], bytes], st.SearchStrategy[int]]] = {
    "pluto.efi": (lambda: UKI, st.integers(0, len(UKI) - 1)),
    "disk.raw": (
        raw,
        st.integers(0, 0x5000)
        | st.integers(ESP, ESP + 0x2000)
        | st.sampled_from([at for at, part in disk.disk(UKI, SIZE) if part])
        | st.integers(SIZE - 40 * 512, SIZE - 1)
        | st.integers(0, SIZE - 1),
    ),
}


@pytest.mark.parametrize("name", PLACES)
@settings(max_examples=40, deadline=None)
@given(data=st.data(), flip=st.integers(1, 255))
def test_every_changed_byte_of_an_image_or_disk_is_put_into_words(name: str, data: st.DataObject, flip: int) -> None:
    make, places = PLACES[name]
    (found,) = explained(name, flipped(make(), data.draw(places), flip), make())
    assert found.differences
    assert all(one.meaning for one in found.differences)
    assert found.to_text().replace("\n", "").isprintable()


@settings(max_examples=20, deadline=None)
@given(st.binary(max_size=2000))
def test_any_bytes_in_place_of_an_image_or_disk_are_put_into_words(garbage: bytes) -> None:
    for name, right in (("pluto.efi", UKI), ("disk.raw", raw())):
        for published in (garbage, right[: len(right) // 2] + garbage):
            assert explained(name, published, right)[0].differences


def test_what_no_explanation_covers_is_told_by_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pluto_image.rebuild.explain.files.disk_differences", lambda *_: iter(()))
    (found,) = explained("disk.raw", b"01234567", b"01230000")
    assert [(one.where, one.published, one.meaning) for one in found.differences] == [
        ("from 0x4", "34353637", "other bytes")
    ]
