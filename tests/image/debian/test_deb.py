"""Debian packages: what dpkg-deb makes is read as it is; what an attacker makes is refused."""

from __future__ import annotations

import lzma
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_image.debian.deb import Limits, Member, read
from pluto_image.tree import Kind
from pluto_measure.errors import FormatError
from simulators.debs import ar, compressed, control_tar, deb, directory, entry, package, tar

NAMES = st.text("abcXYZ019._-+~é", min_size=1, max_size=150).filter(lambda name: name not in (".", ".."))


def members(data: bytes, limits: Limits | None = None) -> list[Member]:
    return list(read(data, limits=limits or Limits()).members)


def refusal(data: bytes, limits: Limits | None = None) -> str:
    with pytest.raises(FormatError) as caught:
        members(data, limits)
    return str(caught.value)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(NAMES, st.binary(max_size=1500), max_size=8), st.sampled_from([".xz", ".gz", ".zst", ""]))
def test_every_file_comes_back_under_its_name(files: dict[str, bytes], suffix: str) -> None:
    entries = [directory("./"), directory("./d/"), *(entry(f"./d/{name}", data) for name, data in files.items())]
    found = members(deb(entries, suffix=suffix))
    assert [m.path for m in found] == ["d", *(f"d/{name}" for name in files)]
    assert {m.path[2:]: m.data for m in found if m.kind is Kind.FILE} == files


def test_control_fields_and_scripts_are_data() -> None:
    found = read(deb([], name="thing", version="1:2~3", scripts={"postinst": b"#!/bin/sh\n", "md5sums": b"x"}))
    assert found.control["Package"] == "thing"
    assert found.control["Version"] == "1:2~3"
    assert found.control["Description"] == "made by a test\n more"
    assert dict(found.scripts) == {"postinst": b"#!/bin/sh\n"}


def test_links_keep_their_text_and_hard_links_become_files() -> None:
    found = members(
        deb(
            [
                entry("./a", b"content", mode=0o4755),
                entry("./b", kind=b"1", link="./a"),
                entry("./etc/c", kind=b"2", link="/usr/bin/a"),
                entry("./etc/d", kind=b"2", link="../usr/../b"),
            ]
        )
    )
    assert [(m.path, m.kind, m.mode, m.data, m.link) for m in found] == [
        ("a", Kind.FILE, 0o4755, b"content", ""),
        ("b", Kind.FILE, 0o4755, b"content", ""),
        ("etc/c", Kind.SYMLINK, 0o644, b"", "/usr/bin/a"),
        ("etc/d", Kind.SYMLINK, 0o644, b"", "../usr/../b"),
    ]


def test_unwanted_members_are_left_out_but_a_wanted_hard_link_to_one_is_whole() -> None:
    data = deb([entry("./doc", b"long" * 500), entry("./bin", b"x"), entry("./also", kind=b"1", link="doc")])
    found = list(read(data, want=lambda path: path != "doc").members)
    assert [(m.path, m.data) for m in found] == [("bin", b"x"), ("also", b"long" * 500)]


def test_content_larger_than_a_decompression_step_is_whole() -> None:
    content = bytes(range(256)) * 4096 + b"end"
    assert [m.data for m in members(deb([entry("./big", content), entry("./small", b"s")]))] == [content, b"s"]


HOSTILE_ENTRIES: dict[str, list[tarfile.TarInfo]] = {
    "leaves the root": [entry("./a/../../etc/passwd", b"x")],
    "is absolute, leaves the root": [entry("/etc/passwd", b"x")],
    "is absolute, leaves the root or is not normal": [entry("./a//b", b"x")],
    "link l -> ../x leaves the root": [entry("./l", kind=b"2", link="../x")],
    "link l -> /../x leaves the root": [entry("./l", kind=b"2", link="/../x")],
    "link a/l -> b/../../../x leaves the root": [entry("./a/l", kind=b"2", link="b/../../../x")],
    "empty, too long": [entry("./l", kind=b"2", link="")],
    "control characters": [entry("./new\nline", b"x")],
    "character device": [entry("./dev/null", kind=b"3")],
    "block device": [entry("./dev/sda", kind=b"4")],
    "FIFO": [entry("./run/pipe", kind=b"6")],
    "sparse file": [entry("./sparse", kind=b"S")],
    "pax header": [entry("./pax", b"20 path=/etc/passwd\n", kind=b"x")],
    "type b'7'": [entry("./contiguous", b"x", kind=b"7")],
    "a occurs twice": [entry("./a", b"1"), entry("./a", b"2")],
    "d occurs twice": [directory("./d/"), directory("./d/")],
    "lies below a, which is not a directory": [entry("./a", kind=b"2", link="/etc"), entry("./a/passwd", b"x")],
    "lies below f, which is not a directory": [entry("./f", b""), entry("./f/d/g", b"x")],
    "members lie below it": [entry("./a/passwd", b"x"), entry("./a", kind=b"2", link="/etc")],
    "names nowhere, which is no earlier file": [entry("./h", kind=b"1", link="nowhere")],
    "names d, which is no earlier file": [directory("./d/"), entry("./h", kind=b"1", link="d")],
    "has 1 bytes of data": [entry("./d", b"x", kind=b"5")],
    "long name of 5000 bytes": [entry("././@LongLink", b"a" * 5000, kind=b"L"), entry("./x", b"")],
    "two long names": [entry("L", b"a\0", kind=b"L"), entry("L", b"b\0", kind=b"L"), entry("./x", b"")],
    "long name without a member": [entry("L", b"a\0", kind=b"L")],
}  # fmt: skip


@pytest.mark.parametrize("problem", HOSTILE_ENTRIES)
def test_a_hostile_member_is_refused_by_name(problem: str) -> None:
    assert problem in refusal(deb(HOSTILE_ENTRIES[problem], suffix=".gz"))


def test_a_name_that_is_not_utf8_is_refused() -> None:
    plain = tar([entry("./a?", b"")])
    header = bytearray(plain[:512].replace(b"?", b"\xff"))
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + sum(header[156:512]) + 8 * 32)
    assert "not UTF-8" in refusal(package(bytes(header) + plain[512:], suffix=""))


def test_numbers_must_be_octal_and_the_checksum_right() -> None:
    plain = tar([entry("./a", b"content")])
    assert "checksum is wrong" in refusal(package(plain.replace(b"./a", b"./b", 1), suffix=""))
    header = bytearray(plain[:512])
    header[124] = 0x80  # base-256, as GNU tar writes sizes of 8 GiB and more
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + sum(header[156:512]) + 8 * 32)
    assert "is not octal" in refusal(package(bytes(header) + plain[512:], suffix=""))


DATA = ("data.tar.xz", lzma.compress(tar([])))
CONTROL = ("control.tar.xz", lzma.compress(control_tar()))
BINARY = ("debian-binary", b"2.0\n")
WRONG_ORDER = {
    "no debian-binary": [CONTROL, DATA],
    "data before control": [BINARY, DATA, CONTROL],
    "nothing after control": [BINARY, CONTROL],
    "two controls": [BINARY, CONTROL, CONTROL, DATA],
    "two data": [BINARY, CONTROL, DATA, DATA],
    "a member between": [BINARY, ("_extra", b""), CONTROL, DATA],
    "a member behind": [BINARY, CONTROL, DATA, ("_gpgorigin", b"x")],
    "format 3": [("debian-binary", b"3.0\n"), CONTROL, DATA],
    "unknown compression": [BINARY, CONTROL, ("data.tar.lz4", b"")],
    "bzip2": [BINARY, CONTROL, ("data.tar.bz2", b"")],
    "other name": [BINARY, CONTROL, ("data.tarball", b"")],
    "not xz": [BINARY, CONTROL, ("data.tar.xz", b"garbage")],
    "not gzip": [BINARY, CONTROL, ("data.tar.gz", b"garbage")],
    "not zstd": [BINARY, CONTROL, ("data.tar.zst", b"garbage")],
    "bytes after xz": [BINARY, CONTROL, (DATA[0], DATA[1] + b"more")],
    "bytes after gzip": [BINARY, CONTROL, ("data.tar.gz", compressed(tar([]), ".gz") + b"more")],
    "bytes after zstd": [BINARY, CONTROL, ("data.tar.zst", compressed(tar([]), ".zst") + b"more")],
    "zstd cut off": [BINARY, CONTROL, ("data.tar.zst", compressed(tar([]), ".zst")[:-1])],
    "bytes after the tar": [BINARY, CONTROL, ("data.tar", tar([]) + b"more")],
    "no control file": [BINARY, ("control.tar", tar([])), DATA],
    "control is a link": [BINARY, ("control.tar", tar([entry("./control", kind=b"2", link="x")])), DATA],
}


@pytest.mark.parametrize("case", WRONG_ORDER)
def test_a_wrong_frame_is_refused(case: str) -> None:
    refusal(ar(WRONG_ORDER[case]))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"Package: a\n",
        b"Package: a\nVersion: 1\nArchitecture: all\nversion: 2\n",
        b" begins: wrong\n",
        b"\xff: x\n",
    ],
)
def test_control_fields_are_complete_and_unique(text: bytes) -> None:
    refusal(package(lzma.compress(tar([])), tar([entry("./control", text)])))


@pytest.mark.parametrize("suffix", [".xz", ".gz", ".zst"])
def test_a_bomb_stops_at_its_ratio_or_size(suffix: str) -> None:
    data = deb([entry("./bomb", bytes(4 << 20))], suffix=suffix)
    assert "unpacks to more than" in refusal(data, Limits(total=1 << 20))
    assert "unpacks to more than" in refusal(data, Limits(ratio=10, ratio_free=1 << 20))
    skipped = read(data, limits=Limits(total=1 << 20), want=lambda path: False)
    with pytest.raises(FormatError, match="unpacks to more than"):
        list(skipped.members)


def test_a_bomb_in_the_control_archive_stops_as_well() -> None:
    bomb = tar([entry("./control", bytes(2 << 20))])
    with pytest.raises(FormatError, match="unpacks to more than"):
        read(package(b"", bomb), limits=Limits(control=1 << 20, ratio=1, ratio_free=1 << 20))


def test_too_many_members_and_multiplied_hard_links_are_refused() -> None:
    assert "more than 5 members" in refusal(deb([directory(f"./{n}/") for n in range(6)]), Limits(members=5))
    links = [entry(f"./{n}", kind=b"1", link="a") for n in range(40)]
    assert "hard links expand" in refusal(deb([entry("./a", bytes(60_000)), *links]), Limits(total=1 << 20))


def test_deep_paths_that_would_fill_memory_are_refused() -> None:
    deep = [entry(f"./{n}/" + "a/" * 1500 + "f") for n in range(40)]
    assert "names are too many" in refusal(deb(deep), Limits(names=8 << 20))


def test_an_xz_header_that_asks_for_gigabytes_is_refused() -> None:
    greedy = lzma.compress(tar([]), filters=[{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 20}])
    # The filter property byte 16 means a dictionary of 1 MiB, 38 one of 2 GiB; the block header's CRC follows.
    import zlib

    start = 12
    size = (greedy[start] + 1) * 4
    header = bytearray(greedy[start : start + size - 4])
    header[header.index(b"\x21\x01", 2) + 2] = 38
    broken = greedy[:start] + bytes(header) + zlib.crc32(header).to_bytes(4, "little") + greedy[start + size :]
    assert "not xz" in refusal(package(broken))


SAMPLE = deb([directory("./d/"), entry("./d/f", b"content"), entry("./d/l", kind=b"2", link="f")])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(SAMPLE) - 1))
def test_no_prefix_of_a_package_is_a_package(size: int) -> None:
    refusal(SAMPLE[:size])


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(SAMPLE) - 1), st.integers(1, 255))
def test_a_flipped_byte_never_raises_anything_but_a_format_error(place: int, flip: int) -> None:
    broken = bytearray(SAMPLE)
    broken[place] ^= flip
    try:
        members(bytes(broken))
    except FormatError:
        return


@pytest.mark.interop
@pytest.mark.parametrize("compression", ["xz", "gzip", "zstd", "none"])
def test_packages_made_by_dpkg_deb_are_read_as_it_lists_them(tmp_path: Path, compression: str) -> None:
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb is not installed")
    root = tmp_path / "root"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN/control").write_text(
        "Package: p\nVersion: 1\nArchitecture: all\nMaintainer: A <a@example.org>\nDescription: d\n"
    )
    deep = root / "usr" / ("long-folder-name-" * 5) / ("long-file-name-" * 6)
    deep.parent.mkdir(parents=True)
    deep.write_bytes(b"deep")
    (root / "usr/link").symlink_to("/usr/target")
    (root / "usr/hard").hardlink_to(deep)
    for folder in (root, root / "DEBIAN", root / "usr", deep.parent):
        folder.chmod(0o755)
    command = ["dpkg-deb", "--root-owner-group", f"-Z{compression}", "--build", str(root), str(tmp_path / "p.deb")]
    subprocess.run(command, check=True, capture_output=True)
    found = {m.path: m for m in members((tmp_path / "p.deb").read_bytes())}
    listed = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(tmp_path / "p.deb")], check=True, capture_output=True)
    (tmp_path / "p.tar").write_bytes(listed.stdout)
    with tarfile.open(tmp_path / "p.tar") as theirs:
        assert set(found) == {m.name.removeprefix("./") for m in theirs} - {"."}
    assert {found[f"usr/{deep.parent.name}/{deep.name}"].data, found["usr/hard"].data} == {b"deep"}
    assert found["usr/link"].link == "/usr/target"
