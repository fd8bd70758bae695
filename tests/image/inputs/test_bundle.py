"""The inputs bundle: the same bytes everywhere, and nothing wrong comes out of it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_image.inputs import bundle
from pluto_image.inputs.store import Store
from pluto_image.lock.lockfile import Lock
from pluto_measure.errors import FormatError, SourceError, VerificationError

LOCK = Lock(1, "ab" * 32, (), (), (), (), ())
CONTENTS = [b"", b"x", b"y" * 511, b"z" * 512, b"w" * 70_000]
NAMES = [hashlib.sha256(data).hexdigest() for data in CONTENTS]


def store(folder: Path) -> Store:
    made = Store(folder)
    for data in CONTENTS:
        made.put(data)
    return made


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "inputs.tar"
    bundle.write(path, LOCK, {"main": b"signed"}, NAMES, store(tmp_path / "store"))
    return path


def test_all_contents_come_back(written: Path, tmp_path: Path) -> None:
    fresh = Store(tmp_path / "fresh")
    assert bundle.unpack(written, fresh, {*NAMES, "ab" * 32}) == set(NAMES)
    assert [fresh.get(name) for name in NAMES] == CONTENTS


def test_only_what_is_wanted_reaches_the_store(written: Path, tmp_path: Path) -> None:
    fresh = Store(tmp_path / "fresh")
    assert bundle.unpack(written, fresh, {NAMES[2]}) == {NAMES[2]}
    assert [fresh.has(name) for name in NAMES] == [False, False, True, False, False]


def test_the_same_inputs_give_the_same_bytes(written: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.tar"
    old = os.umask(0o077)
    try:
        size = bundle.write(again, LOCK, {"main": b"signed"}, [*reversed(NAMES), NAMES[0]], store(tmp_path / "other"))
    finally:
        os.umask(old)
    assert again.read_bytes() == written.read_bytes()
    assert size == again.stat().st_size
    assert size % 10240 == 0


def test_tar_programs_read_it(written: Path) -> None:
    with tarfile.open(written) as tar:
        members = tar.getmembers()
        assert [one.name for one in members[:2]] == ["lock.json", "evidence/main.InRelease"]
        assert sorted(one.name[-64:] for one in members[2:]) == sorted(NAMES)
        assert {(one.mode, one.uid, one.gid, one.mtime, one.uname) for one in members} == {(0o444, 0, 0, 0, "")}
        content = tar.extractfile(members[0])
        assert content is not None
        assert content.read() == LOCK.to_text().encode()


def test_names_of_wheels_stand_before_the_contents_and_change_nothing_else(written: Path, tmp_path: Path) -> None:
    bundle.write(
        tmp_path / "more.tar", LOCK, {"main": b"signed"}, NAMES, store(tmp_path / "s"), wheels=b'{"version": 1}'
    )
    with tarfile.open(tmp_path / "more.tar") as more, tarfile.open(written) as less:
        names, before = more.getnames(), less.getnames()
        member = more.extractfile("wheels.json")
        assert member is not None
        assert member.read() == b'{"version": 1}'
    assert names == [*before[:2], "wheels.json", *before[2:]]
    assert bundle.unpack(tmp_path / "more.tar", Store(tmp_path / "fresh"), set(NAMES)) == set(NAMES)


def test_a_content_that_the_store_lacks_leaves_the_old_bundle_alone(written: Path, tmp_path: Path) -> None:
    before = written.read_bytes()
    with pytest.raises(SourceError, match="not in the store"):
        bundle.write(written, LOCK, {}, ["cd" * 32], store(tmp_path / "store"))
    assert written.read_bytes() == before
    assert sorted(one.name for one in tmp_path.iterdir()) == ["inputs.tar", "store"]


def test_changed_content_is_refused(written: Path, tmp_path: Path) -> None:
    written.write_bytes(written.read_bytes().replace(b"y" * 511, b"y" * 510 + b"Y"))
    fresh = Store(tmp_path / "fresh")
    with pytest.raises(VerificationError, match="is another one"):
        bundle.unpack(written, fresh, set(NAMES))
    assert not fresh.has(NAMES[2])


@pytest.mark.parametrize("data", [b"not a tar", b"x" * 1024, b"\0" * 100])
def test_something_else_is_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(data)
    with pytest.raises(FormatError, match="bundle"):
        bundle.unpack(tmp_path / "x.tar", Store(tmp_path / "s"), set(NAMES))


def test_a_foreign_tar_with_links_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        info = tarfile.TarInfo(f"sha256/{NAMES[1][:2]}/{NAMES[1]}")
        info.type, info.linkname = tarfile.SYMTYPE, "../../lock.json"
        tar.addfile(info)
    with pytest.raises(FormatError):
        bundle.unpack(tmp_path / "x.tar", Store(tmp_path / "s"), set(NAMES))


@settings(max_examples=40, deadline=None)
@given(cut=st.integers(0, 80_000))
def test_a_cut_bundle_gives_whole_contents_or_an_error(cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("cut")
    bundle.write(folder / "in.tar", LOCK, {}, NAMES, store(folder / "store"))
    whole = (folder / "in.tar").read_bytes()
    (folder / "in.tar").write_bytes(whole[: min(cut, len(whole))])
    fresh = Store(folder / "fresh")
    with contextlib.suppress(FormatError):
        bundle.unpack(folder / "in.tar", fresh, set(NAMES))
    assert all(fresh.get(path.name) is not None for path in fresh.root.glob("sha256/*/*"))


def test_an_unreadable_bundle_is_a_source_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot read"):
        bundle.unpack(tmp_path, Store(tmp_path / "s"), set(NAMES))
