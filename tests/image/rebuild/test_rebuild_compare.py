"""Comparing without writing: equal is equal, one byte anywhere is found, in memory, sparse or on disk with holes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_image.rebuild.compare import Verdict, compare, same, spans
from pluto_image.rebuild.published import Published
from pluto_image.rebuild.view import View
from pluto_image.sparse import write_sparse
from pluto_measure.errors import FormatError, UsageError

SIZE = 3 << 20  # three blocks
Chunks = list[tuple[int, bytes]]


@st.composite
def chunks(draw: st.DrawFn) -> Chunks:
    """Up to five stretches of data, ascending and apart."""
    found, at = [], 0
    for gap, length in draw(st.lists(st.tuples(st.integers(0, SIZE // 2), st.integers(1, 3000)), max_size=5)):
        begin = at + gap
        if begin + length <= SIZE:
            found.append((begin, draw(st.binary(min_size=length, max_size=length)) if length < 50 else b"x" * length))
            at = begin + length
    return found


def whole(parts: Chunks, size: int = SIZE) -> bytes:
    data = bytearray(size)
    for at, part in parts:
        data[at : at + len(part)] = part
    return bytes(data)


@settings(max_examples=40, deadline=None)
@given(chunks(), st.integers(0, SIZE), st.integers(0, 4000))
def test_a_sparse_view_is_its_bytes(parts: Chunks, at: int, count: int) -> None:
    view, data = View.sparse(SIZE, parts), whole(parts)
    assert view.read(at, count) == data[at : at + count]
    assert view.sha256() == hashlib.sha256(data).hexdigest()
    part = view.part(at, count)
    assert (part.size, part.read(0, count)) == (len(data[at : at + count]), data[at : at + count])
    assert same(view, View.of(data))


@settings(max_examples=60, deadline=None)
@given(chunks(), st.integers(0, SIZE - 1), st.integers(1, 255))
def test_one_changed_byte_is_found_wherever_it_is(parts: Chunks, place: int, flip: int) -> None:
    changed = bytearray(whole(parts))
    changed[place] ^= flip
    found = spans(View.of(bytes(changed)), View.sparse(SIZE, parts))
    assert found.first == place
    assert found.listed == ((place // 512 * 512, place // 512 * 512 + 512),)
    (one,) = compare({"f": View.of(bytes(changed))}, {"f": View.sparse(SIZE, parts)})
    assert one.verdict is Verdict.DIFFERENT


@settings(max_examples=30, deadline=None)
@given(chunks(), chunks())
def test_files_are_equal_exactly_if_their_bytes_are(left: Chunks, right: Chunks) -> None:
    (one,) = compare({"f": View.sparse(SIZE, left)}, {"f": View.sparse(SIZE, right)})
    assert (one.verdict is Verdict.EQUAL) == (whole(left) == whole(right))


@settings(max_examples=25, deadline=None)
@given(chunks(), st.none() | st.tuples(st.integers(0, SIZE - 1), st.integers(1, 255)))
def test_a_file_with_holes_is_compared_as_its_bytes(
    tmp_path_factory: pytest.TempPathFactory, parts: Chunks, change: tuple[int, int] | None
) -> None:
    root = tmp_path_factory.mktemp("release")
    (root / "SHA256SUMS").write_bytes(b"")
    write_sparse(root / "disk.raw", parts, SIZE)
    if change is not None:
        with (root / "disk.raw").open("r+b") as file:
            file.seek(change[0])
            byte = file.read(1)[0]
            file.seek(change[0])
            file.write(bytes([byte ^ change[1]]))
    view = Published.open(root).views["disk.raw"]
    found = spans(view, View.sparse(SIZE, parts))
    assert found.first == (None if change is None else change[0])


def test_holes_are_not_read(tmp_path: Path) -> None:
    if not hasattr(os, "SEEK_DATA"):
        pytest.skip("the system does not say where a file has holes")
    (tmp_path / "SHA256SUMS").write_bytes(b"")
    write_sparse(tmp_path / "disk.raw", [(5 << 20, b"data")], 1 << 30)
    view = Published.open(tmp_path).views["disk.raw"]
    assert sum(end - begin for begin, end in view.extents) < 1 << 20
    assert same(view, View.sparse(1 << 30, [(5 << 20, b"data")]))
    assert not same(view, View.sparse(1 << 30, [(5 << 20, b"data"), (7 << 20, b"x")]))


def test_missing_extra_longer_and_shorter_files_are_told_apart() -> None:
    published = {"a": View.of(b"1"), "b": View.of(b"12"), "c": View.of(b"1"), "e": View.of(b"")}
    rebuilt = {"a": View.of(b"1"), "b": View.of(b"1"), "c": View.of(b"12"), "d": View.of(b"")}
    found = {one.name: (one.verdict.value, one.published_size, one.rebuilt_size) for one in compare(published, rebuilt)}
    assert found == {
        "a": ("equal", 1, 1),
        "b": ("different", 2, 1),
        "c": ("different", 1, 2),
        "d": ("missing", None, 0),
        "e": ("extra", 0, None),
    }


def test_stretches_that_differ_are_joined_and_bounded() -> None:
    zeros = View.of(bytes(1 << 20))
    assert spans(View.of(b"\1" * (1 << 20)), zeros).listed == ((0, 1 << 20),)
    every_other = spans(View.of((b"\1" + bytes(1023)) * 1024), zeros)
    assert (len(every_other.listed), every_other.more) == (256, 768)


def test_a_release_with_a_link_or_a_device_is_malformed_and_a_folder_without_a_list_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no release and no DIST"):
        Published.open(tmp_path)
    (tmp_path / "SHA256SUMS").write_bytes(b"")
    (tmp_path / "signatures").mkdir()
    (tmp_path / "signatures/a.dsse.json").write_bytes(b"{}")
    (tmp_path / "inputs.tar").write_bytes(b"")
    found = Published.open(tmp_path)
    assert (set(found.views), found.beside) == ({"SHA256SUMS"}, ("inputs.tar", "signatures/a.dsse.json"))
    assert found.bundle == tmp_path / "inputs.tar"
    with pytest.raises(FormatError, match=r"lacks lock\.json"):
        found.text("lock.json")
    (tmp_path / "disk.raw").symlink_to("SHA256SUMS")
    with pytest.raises(FormatError, match="is a link"):
        Published.open(tmp_path)
    (tmp_path / "disk.raw").unlink()
    os.mkfifo(tmp_path / "disk.raw")
    with pytest.raises(FormatError, match="is neither a file nor a folder"):
        Published.open(tmp_path)
    (tmp_path / "disk.raw").unlink()
    for number in range(2000):
        (tmp_path / str(number)).write_bytes(b"")
    with pytest.raises(FormatError, match="more than 2000"):
        Published.open(tmp_path)
