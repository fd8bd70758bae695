"""cpio archives: sorted, complete, the same bytes for the same tree, and cpio itself unpacks them."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_image.formats.cpio import newc
from pluto_image.tree import Entry, Kind
from pluto_measure.errors import FormatError


def file(path: str, data: bytes = b"", mode: int = 0o644) -> Entry:
    return Entry(path, Kind.FILE, mode, data, "recipe:test")


def folder(path: str) -> Entry:
    return Entry(path, Kind.DIRECTORY, 0o755, b"", "recipe:test")


def link(path: str, target: bytes) -> Entry:
    return Entry(path, Kind.SYMLINK, 0o777, target, "recipe:test")


TREE = [
    folder("usr"), folder("usr/bin"), file("usr/bin/tool", b"\x7fELF" * 99, 0o755), file("usr/empty"),
    file("usr/bin-x", b"between usr/bin and usr/bin/tool"), link("init", b"usr/bin/tool"), folder("etc"),
    file("etc/Főtanúsítvány.crt", b"certificate"),
]  # fmt: skip


def test_one_file_has_the_bytes_that_the_specification_gives() -> None:
    name = b"070701" + b"00000001" + b"000081ed" + b"00000000" * 2 + b"00000001" + b"0000000a" + b"00000003"
    name += b"00000000" * 4 + b"00000002" + b"00000000" + b"f\0" + b"abc\0"
    trailer = b"070701" + b"00000000" * 4 + b"00000001" + b"00000000" * 6 + b"0000000b" + b"00000000"
    assert b"".join(newc([file("f", b"abc", 0o755)], 10)) == name + trailer + b"TRAILER!!!\0\0\0\0"


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1 << 30))
def test_the_order_of_the_entries_does_not_matter(seed: int) -> None:
    shuffled = list(TREE)
    random.Random(seed).shuffle(shuffled)
    assert b"".join(newc(shuffled, 7)) == b"".join(newc(TREE, 7))


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ([file("a/b")], "below a, which is no directory"),
        ([file("a"), file("a/b")], "below a, which is no directory"),
        ([link("a", b"c"), file("a/b")], "below a, which is no directory"),
        ([file("a"), file("a")], "a occurs twice"),
        ([file("/a")], "not a normal relative path"),
        ([folder("a"), file("a/../b")], "not a normal relative path"),
        ([file("")], "not a normal relative path"),
        ([file("a\0b")], "not a normal relative path"),
        ([file("a" * 5000)], "not a normal relative path"),
        ([file("TRAILER!!!")], "would end the archive"),
        ([file("a", mode=0o100644)], "more than permission bits"),
        ([link("a", b"")], "empty, too long or broken target"),
        ([Entry("a", Kind.DIRECTORY, 0o755, b"x", "recipe:test")], "has data"),
        ([Entry("a", Kind.FILE, 0o644, b"", "recipe:test", uid=1 << 32)], "does not fit 32 bits"),
    ],
)
def test_what_the_kernel_would_skip_or_mistake_is_refused(entries: list[Entry], problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        list(newc(entries, 0))


@pytest.mark.interop
def test_cpio_unpacks_every_path_with_its_mode_and_content(tmp_path: Path) -> None:
    if shutil.which("cpio") is None:
        pytest.skip("cpio is not installed")
    archive = b"".join(newc(TREE, 1_700_000_000))
    command = ["cpio", "--extract", "--quiet", "--no-absolute-filenames", "--preserve-modification-time"]
    done = subprocess.run(command, input=archive, cwd=tmp_path, check=True, capture_output=True)
    assert done.stderr == b""
    for entry in TREE:
        path = tmp_path / entry.path
        if entry.kind is Kind.SYMLINK:
            assert str(path.readlink()).encode() == entry.data
            continue
        assert path.stat().st_mode & 0o7777 == entry.mode
        assert int(path.stat().st_mtime) == 1_700_000_000 or entry.kind is Kind.DIRECTORY
        assert path.is_dir() if entry.kind is Kind.DIRECTORY else path.read_bytes() == entry.data
    assert {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")} == {entry.path for entry in TREE}
