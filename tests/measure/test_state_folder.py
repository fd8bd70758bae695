"""A folder of a state directory: whole files, one writer at a time, nobody else's, whatever happens to the process.

`test_collateral_store.py` and `test_release_memory.py` hold the two memories against it.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pluto_measure.errors import SourceError, UsageError
from pluto_measure.state_folder import StateFolder
from simulators import kill_points

ROOT = Path(__file__).resolve().parents[2]
KEEPER = ROOT / "tests/simulators/state_keeper.py"


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    return StateFolder(tmp_path / "state/part", "memory")


def write(folder: StateFolder, text: str) -> None:
    with folder.locked(), folder.prepared(folder.memory_path, text) as rename:
        rename()
        folder.flush_folder()


def names(folder: StateFolder) -> set[str]:
    return {path.name for path in folder.folder.iterdir()}


def test_nothing_is_made_before_something_is_kept(folder: StateFolder) -> None:
    folder.refuse_open_folder()
    assert folder.read(folder.memory_path, 100) is None
    assert not folder.was_written()
    assert not folder.folder.parent.exists()


def test_what_is_written_is_read_up_to_one_more_than_the_limit(folder: StateFolder) -> None:
    write(folder, "é" * 10)
    assert folder.read(folder.memory_path, 100) == "é".encode() * 10
    assert folder.read(folder.memory_path, 5) == "é".encode() * 3
    assert names(folder) == {"lock", "memory"}
    assert folder.was_written()


def test_what_is_not_renamed_is_not_there(folder: StateFolder) -> None:
    write(folder, "old")
    with folder.locked(), folder.prepared(folder.memory_path, "new"):
        pass
    with pytest.raises(ZeroDivisionError), folder.locked(), folder.prepared(folder.memory_path, "new"):
        raise ZeroDivisionError
    assert folder.read(folder.memory_path, 100) == b"old"
    assert names(folder) == {"lock", "memory"}


def test_a_lock_alone_is_no_memory(folder: StateFolder) -> None:
    with folder.locked():
        pass
    assert not folder.was_written()
    write(folder, "x")
    folder.memory_path.unlink()
    assert folder.was_written(), "so that a memory which is gone is missed"


def test_what_a_killed_process_left_is_overwritten(folder: StateFolder) -> None:
    with folder.locked():
        (folder.folder / ".memory.new").write_bytes(b"half of some")
    write(folder, "whole")
    assert folder.read(folder.memory_path, 100) == b"whole"
    assert names(folder) == {"lock", "memory"}


@pytest.mark.parametrize("mask", [0o000, 0o077, 0o777])
def test_it_is_its_owners_alone_whatever_the_umask(folder: StateFolder, mask: int) -> None:
    if mask == 0o777 and os.geteuid() != 0:
        pytest.skip("needs root")
    old = os.umask(mask)
    try:
        write(folder, "x")
    finally:
        os.umask(old)
    for path in (folder.folder.parent, folder.folder, *folder.folder.iterdir()):
        assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o1777])
def test_one_that_others_may_write_to_is_refused_and_left_alone(folder: StateFolder, mode: int) -> None:
    write(folder, "old")
    for opened in (folder.folder, folder.folder.parent):
        kept = opened.stat().st_mode & 0o7777
        opened.chmod(mode)
        with pytest.raises(UsageError, match="others may write to it") as caught:
            folder.refuse_open_folder()
        assert caught.value.hint == f"run 'chmod go-w {opened}'"
        with pytest.raises(UsageError, match="others may write to it"):
            write(folder, "new")
        opened.chmod(kept)
    assert folder.read(folder.memory_path, 100) == b"old"


def test_one_of_another_user_is_refused(folder: StateFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, "x")
    owner = folder.folder.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    if owner == 0:
        folder.refuse_open_folder()  # root's is as good as one's own
        monkeypatch.undo()
        os.chown(folder.folder, 12345, -1)
    with pytest.raises(UsageError, match="it is another user's"):
        folder.refuse_open_folder()


def test_places_that_cannot_be_written_or_read(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    folder = StateFolder(tmp_path / "state/part", "memory")
    attempts: list[Callable[[], object]] = [lambda: write(folder, "x"), lambda: folder.read(folder.memory_path, 10)]
    for attempt in attempts:
        with pytest.raises(UsageError, match=r"cannot be (written|read)"):
            attempt()
    other = StateFolder(tmp_path / "other/part", "memory")
    write(other, "x")
    other.memory_path.unlink()
    other.memory_path.mkdir()
    attempts = [lambda: write(other, "y"), lambda: other.read(other.memory_path, 10)]
    for attempt in attempts:
        with pytest.raises(UsageError, match=r"memory cannot be (written|read)"):
            attempt()


def test_a_lock_that_is_not_given_back_is_not_waited_for_for_ever(folder: StateFolder) -> None:
    write(folder, "old")
    passed = [0.0]

    def sleep(seconds: float) -> None:
        passed[0] += seconds

    patient = StateFolder(folder.folder, "memory", patience=3.0, sleep=sleep, monotonic=lambda: passed[0])
    descriptor = os.open(folder.folder / "lock", os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(SourceError, match="another process holds the lock for 3 s"):
            write(patient, "new")
    finally:
        os.close(descriptor)
    assert 3.0 < passed[0] < 3.1
    assert folder.read(folder.memory_path, 100) == b"old"
    write(folder, "new")


def test_processes_at_once_lose_nothing(folder: StateFolder) -> None:
    write(folder, "")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "measure")}
    descriptor = os.open(folder.folder / "lock", os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        words = [sys.executable, str(KEEPER), str(folder.folder)]
        running = [subprocess.Popen([*words, letter], env=environment) for letter in "abcd"]
        time.sleep(0.5)  # until they stand at the lock; if some do not yet, the test is merely easier
    finally:
        os.close(descriptor)
    assert [one.wait(30) for one in running] == [0] * 4
    found = folder.read(folder.memory_path, 100)
    assert found is not None
    assert sorted(found.decode()) == ["a", "b", "c", "d"]


def test_killed_anywhere_the_file_is_the_old_one_or_the_new_one(folder: StateFolder) -> None:
    write(folder, "a")
    seen = set()
    for _ in kill_points.of("state_keeper", [str(folder.folder), "b"]):
        found = folder.read(folder.memory_path, 100)
        assert found in (b"a", b"ab")
        assert folder.was_written()
        seen.add(found)
        write(folder, "a")
    assert b"a" in seen
    assert folder.read(folder.memory_path, 100) == b"ab"


def test_killed_at_the_first_use_it_can_be_used_again(folder: StateFolder) -> None:
    steps = 0
    for step in kill_points.of("state_keeper", [str(folder.folder), "b"]):
        found = folder.read(folder.memory_path, 100)
        assert found in (None, b"b"), step
        assert not folder.was_written() or found is not None, "never a memory that is missed and never was"
        for path in sorted(folder.folder.parent.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        steps = step
    assert steps >= 4
    assert folder.read(folder.memory_path, 100) == b"b"
