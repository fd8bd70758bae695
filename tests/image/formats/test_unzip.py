"""A wheel gives exactly the files that are asked for, and a hostile one gives nothing."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
from collections.abc import Iterable

import pytest

from pluto_image.formats import unzip
from pluto_image.recipe import wheels
from pluto_image.recipe.model import WheelFiles
from pluto_image.tree import Kind
from pluto_measure.errors import FormatError

FILES = (
    ("tiny/__init__.py", b"x = 1\n"),
    ("tiny/deep/a.py", b"y = 2\n"),
    ("tiny-1.dist-info/METADATA", b"Name: tiny\n"),
)
TO = "usr/lib/python3/dist-packages"


def archive(members: Iterable[tuple[str | zipfile.ZipInfo, bytes]], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as made:
        for name, data in members:
            made.writestr(zipfile.ZipInfo(name) if isinstance(name, str) else name, data, method)
    return out.getvalue()


def special(name: str, kind: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, (kind | 0o777) << 16
    return info


def everything(data: bytes, limits: unzip.Limits = unzip.DEFAULT_LIMITS) -> dict[str, bytes]:
    return unzip.read(data, what="wheel tiny", want=lambda _: True, limits=limits)


def line(*paths: str, name: str = "tiny") -> WheelFiles:
    return WheelFiles(name, paths, TO, "why")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_the_wanted_files_of_a_wheel_are_read(method: int) -> None:
    data = archive([(special("tiny/", stat.S_IFDIR), b""), *FILES], method)
    assert everything(data) == dict(FILES)
    assert list(unzip.read(data, what="w", want=lambda path: path.endswith("a.py"))) == ["tiny/deep/a.py"]


@pytest.mark.parametrize(
    "name",
    ["../x.py", "a/../x.py", "/etc/x", "a//x", "./x", "a\\x", "C:/x", "a\nb", "tiny/ä.py", "n" * 1025, "a/./"],
)
def test_a_name_that_is_not_a_plain_relative_path_is_refused(name: str) -> None:
    with pytest.raises(FormatError, match="name"):
        everything(archive([(name, b"")]))


def test_a_name_with_a_zero_byte_is_refused() -> None:
    with pytest.raises(FormatError, match="not printable"):
        everything(archive([("tinyZ.py", b"")]).replace(b"tinyZ.py", b"tiny\0.py"))


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("names", [("a", "a"), ("a", "a/")])
def test_a_path_that_occurs_twice_is_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(FormatError, match="occurs twice"):
        everything(archive([(name, b"") for name in names]))


def test_a_file_below_a_file_is_refused() -> None:
    with pytest.raises(FormatError, match="a/b/c lies below a, which is no directory"):
        everything(archive([("a", b""), ("a/b/c", b"")]))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFDIR])
def test_links_and_special_files_are_refused_even_if_nobody_wants_them(kind: int) -> None:
    with pytest.raises(FormatError, match="is a link or a special file"):
        unzip.read(archive([(special("x", kind), b"/etc/passwd")]), what="w", want=lambda _: False)


@pytest.mark.parametrize("flag", [0x1, 0x20, 0x40, 0x2000])
def test_encrypted_and_patched_files_are_refused(flag: int) -> None:
    data = bytearray(archive(FILES[:1]))
    at = data.index(b"PK\x01\x02") + 8
    data[at : at + 2] = struct.pack("<H", struct.unpack_from("<H", data, at)[0] | flag)
    with pytest.raises(FormatError, match="encrypted or patched"):
        everything(bytes(data))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(method: int) -> None:
    with pytest.raises(FormatError, match="compression method"):
        everything(archive(FILES, method))


def test_limits_end_a_bomb_before_it_is_unpacked() -> None:
    bomb = archive([("a", bytes(1 << 20)), ("b", bytes(1 << 20))])
    assert len(bomb) < 5000
    with pytest.raises(FormatError, match="more than 2097151 bytes"):
        everything(bomb, unzip.Limits(total=(1 << 21) - 1))
    with pytest.raises(FormatError, match="more than 1 members"):
        everything(bomb, unzip.Limits(members=1))


def test_a_size_that_lies_is_refused() -> None:
    data = bytearray(archive([("a", bytes(1000))]))
    for magic, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", data, data.index(magic) + offset, 10)
    with pytest.raises(FormatError, match=r"damaged|size or the checksum"):
        everything(bytes(data))


@pytest.mark.parametrize(
    "damage", [lambda d: b"x" + d, lambda d: d + b"x", lambda d: d[:-1], lambda d: d[30:], lambda _: b""]
)
def test_bytes_beside_the_archive_are_refused(damage: object) -> None:
    assert callable(damage)
    with pytest.raises(FormatError):
        everything(damage(archive(FILES)))


def test_an_offset_that_no_file_has_is_refused() -> None:
    """A directory entry whose ZIP64 extra field puts the file at the end of the address space."""
    extra = struct.pack("<HHQ", 1, 8, 2**64 - 1)
    name, crc = b"a", 0
    local = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, 0, 0, 0x21, crc, 0, 0, 1, 0) + name
    head = (b"PK\x01\x02", 20, 20, 0, 0, 0, 0x21, crc, 0, 0, 1, len(extra), 0, 0, 0, 0, 0xFFFFFFFF)
    directory = struct.pack("<4s6H3L5H2L", *head) + name + extra
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(directory), len(local), 0)
    with pytest.raises(FormatError, match="damaged"):
        everything(local + directory + end)


def test_changed_content_is_refused() -> None:
    with pytest.raises(FormatError, match=r"tiny.*(damaged|checksum)"):
        everything(archive(FILES, zipfile.ZIP_STORED).replace(b"x = 1", b"x = 2"))


def test_files_are_laid_where_their_line_says_with_one_mode_and_their_origin() -> None:
    info = special("tiny/run.py", stat.S_IFREG)
    entries = wheels.take([line("tiny/*.py"), line("x", name="other")], "tiny", archive([*FILES, (info, b"z\n")]))
    assert [(e.path, e.kind, e.mode, e.origin, e.data) for e in entries] == [
        (f"{TO}/tiny/__init__.py", Kind.FILE, 0o644, "wheel:tiny", b"x = 1\n"),
        (f"{TO}/tiny/run.py", Kind.FILE, 0o644, "wheel:tiny", b"z\n"),
    ]


def test_a_pattern_without_a_match_is_named() -> None:
    with pytest.raises(FormatError, match="'tiny/gone' matches nothing in wheel tiny"):
        wheels.take([line("tiny/**", "tiny/gone")], "tiny", archive(FILES))


@pytest.mark.parametrize(
    ("path", "data", "named"),
    [
        ("tiny/_x.cpython-313-x86_64-linux-gnu.so", b"", "tiny/*.so"),
        ("tiny/lib/libz.so.1", b"", "tiny/lib/lib*.so.*"),
        ("tiny/a.pyc", b"", "tiny/*.pyc"),
        ("tiny/tool", b"\x7fELF\x02", "tiny/tool"),
        ("tiny/data.bin", b"MZ\x90", "tiny/data.bin"),
    ],
)
def test_native_code_is_taken_only_by_a_pattern_that_names_it(path: str, data: bytes, named: str) -> None:
    wheel = archive([*FILES, (path, data)])
    assert len(wheels.take([line("tiny/*.py")], "tiny", wheel)) == 1
    with pytest.raises(FormatError, match="is native or byte code"):
        wheels.take([line("tiny/**")], "tiny", wheel)
    assert wheels.take([line(named)], "tiny", wheel)[0].data == data


def test_every_locked_wheel_has_a_line_and_every_line_a_wheel() -> None:
    wheels.check_wheels([line("x"), line("y")], ["tiny"])
    with pytest.raises(FormatError, match="wheel tiny is not in the lock"):
        wheels.check_wheels([line("x")], [])
    with pytest.raises(FormatError, match="nothing is said about wheel other"):
        wheels.check_wheels([line("x")], ["tiny", "other"])
