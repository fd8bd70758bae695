"""A UKI read back: what was put in is found, and nothing but what a build writes is taken for it."""

from __future__ import annotations

from struct import pack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_image.contents import opened
from pluto_image.formats import compress, cpio, uki
from pluto_image.tree import Entry, Kind
from pluto_measure.errors import FormatError
from simulators.pe_images import KERNEL, STUB

_NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=6).filter(
    lambda name: name not in (".", "..", "TRAILER!!!")
)
_IDS = st.integers(0, 2**32 - 1)
_MODES = st.integers(0, 0o7777)


def entry(path: str, kind: Kind, data: bytes = b"", mode: int = 0o644, uid: int = 0, gid: int = 0) -> Entry:
    return Entry(path, kind, mode, data, "", uid, gid)


@st.composite
def trees(draw: st.DrawFn) -> list[Entry]:
    """A root: some folders, and in each some files and links."""
    found: dict[str, Entry] = {}
    folders = [""]
    for name in draw(st.lists(_NAMES, max_size=5, unique=True)):
        path = draw(st.sampled_from(folders)) + name
        found[path] = entry(path, Kind.DIRECTORY, b"", draw(_MODES), draw(_IDS), draw(_IDS))
        folders.append(path + "/")
    for name in draw(st.lists(_NAMES, max_size=8, unique=True)):
        path = draw(st.sampled_from(folders)) + name
        if path not in found:
            link = draw(st.booleans())
            data = draw(st.binary(min_size=1, max_size=40)).replace(b"\0", b"x")
            found[path] = entry(path, Kind.SYMLINK if link else Kind.FILE, data, draw(_MODES))
    return draw(st.permutations(list(found.values())))


def ordered(entries: list[Entry]) -> tuple[Entry, ...]:
    return tuple(sorted(entries, key=lambda one: one.path.encode()))


SMALL = [entry("etc", Kind.DIRECTORY, mode=0o755), entry("etc/hostname", Kind.FILE, b"pluto\n"),
         entry("init", Kind.SYMLINK, b"usr/bin/init", 0o777)]  # fmt: skip
ARCHIVE = b"".join(cpio.newc(SMALL, 1_700_000_000))


def image(initrd: bytes) -> bytes:
    return uki.build(STUB, [(".cmdline", b"quiet"), (".initrd", initrd), (".linux", KERNEL)])


@settings(max_examples=60, deadline=None)
@given(trees(), st.integers(0, 2**32 - 1))
def test_what_was_archived_is_found_again(entries: list[Entry], mtime: int) -> None:
    archive = b"".join(cpio.newc(entries, mtime))
    assert opened.entries(archive) == ordered(entries)


@settings(max_examples=25, deadline=None)
@given(trees(), st.booleans())
def test_a_uki_gives_its_sections_and_its_root(entries: list[Entry], stored: bool) -> None:
    chunks = list(cpio.newc(entries, 0))
    found = opened.open_uki(image(b"".join(chunks) if stored else compress.zstd(chunks)))
    assert found.entries == ordered(entries)
    assert list(found.sections) == [".text", ".data", ".sbat", ".reloc", ".cmdline", ".initrd", ".linux"]
    assert (found.sections[".cmdline"], found.sections[".linux"]) == (b"quiet", KERNEL)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(ARCHIVE) - 1), st.integers(1, 255))
def test_a_changed_archive_is_another_root_or_refused(place: int, flip: int) -> None:
    """Only the time, which no entry carries, can change alone, and then in every entry at once: so never by a byte."""
    changed = bytearray(ARCHIVE)
    changed[place] ^= flip
    try:
        found = opened.entries(bytes(changed))
    except FormatError:
        return
    assert found != ordered(SMALL)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2000), st.integers(1, 255))
def test_a_damaged_uki_opens_or_is_a_format_error(place: int, flip: int) -> None:
    data = bytearray(image(compress.zstd([ARCHIVE])))
    data[place % len(data)] ^= flip
    try:
        opened.open_uki(bytes(data))
    except FormatError:
        return


@settings(max_examples=50, deadline=None)
@given(st.integers(0, len(ARCHIVE) - 1))
def test_a_cut_archive_is_refused(length: int) -> None:
    with pytest.raises(FormatError):
        opened.entries(ARCHIVE[:length])


def header(**fields: int) -> bytes:
    """An entry `a` without data, with some numbers changed, and the trailer."""
    names = ("ino", "mode", "uid", "gid", "nlink", "mtime", "filesize", "a", "b", "c", "d", "namesize", "check")
    values = dict.fromkeys(names, 0) | {"ino": 1, "mode": 0o100644, "nlink": 1, "namesize": 2} | fields
    return b"070701" + b"".join(b"%08x" % values[name] for name in names) + b"a\0"


TRAILER = b"".join(cpio.newc([], 0))


@pytest.mark.parametrize(
    ("archive", "problem"),
    [
        (header(mode=0o020644) + TRAILER, "no file, folder or link"),
        (header(ino=7) + TRAILER, "not spelled as a build"),
        (header(nlink=2) + TRAILER, "not spelled as a build"),
        (header(check=1) + TRAILER, "not spelled as a build"),
        (header(namesize=1) + TRAILER, "does not end with its first NUL"),
        (header(filesize=0xFFFFFFFF) + TRAILER, "data needs 4294967295 bytes"),
        (header().replace(b"a\0", b"\xff\0") + TRAILER, "not UTF-8"),
        (header().replace(b"000081a4", b"000081A4") + TRAILER, "not 8 lower-case hex digits"),
        (header() + header(ino=2) + TRAILER, "occurs twice"),
        (header().replace(b"a\0", b"b\0") + header(ino=2) + TRAILER, "not spelled as a build"),
        (header(), "magic needs 6 bytes"),
        (header() + TRAILER + b"\0\0\0\0", "4 bytes left over"),
        (b"070702" + header()[6:] + TRAILER, "no entry of a newc archive"),
    ],
)
def test_an_archive_that_no_build_writes_is_refused(archive: bytes, problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        opened.entries(archive)


def test_records_read_what_entries_refuse() -> None:
    (record,) = opened.records(header(ino=7, mtime=5) + TRAILER)
    assert (record.name, record.fields["ino"], record.fields["mtime"], record.offset) == (b"a", 7, 5, 0)


def test_sizes_are_bounded_before_memory_is_taken() -> None:
    bomb = image(compress.zstd([bytes(1 << 20)] * 64))  # 64 MiB in a few kilobytes
    with pytest.raises(FormatError, match="more than 1048576 bytes"):
        opened.open_uki(bomb, most=1 << 20)
    data = bytearray(image(b"x"))
    header = data.index(b".linux\0\0")
    data[header + 8 : header + 12] = pack("<I", 0xFFFFFFFF)
    with pytest.raises(FormatError, match="bytes are more than"):
        opened.open_uki(bytes(data))


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (image(compress.zstd([ARCHIVE]) + b"x"), "bytes follow"),
        (image(b"neither"), "not zstd"),
        (uki.build(STUB, [(".linux", KERNEL)]), "no section .initrd"),
        (image(ARCHIVE).replace(b".cmdline", b".linux\0\0"), "section .linux occurs twice"),
        (b"", "signature"),
    ],
)
def test_a_uki_that_is_none_is_refused(data: bytes, problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        opened.open_uki(data)
