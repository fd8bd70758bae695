"""The store: complete or absent, verified when read, unharmed by death and full disks."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_image.inputs.store import STALE, Store, default_root
from pluto_measure.errors import FormatError, SourceError

DATA = b"content"
HEX = hashlib.sha256(DATA).hexdigest()


def leftovers(store: Store) -> list[Path]:
    return list((store.root / "tmp").glob("*"))


def test_what_was_put_is_read_back_and_lies_by_its_hash(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.get(HEX) is None
    assert store.put(DATA) == HEX
    assert store.get(HEX) == DATA
    assert store.path(HEX) == tmp_path / "sha256" / HEX[:2] / HEX
    assert (store.has(HEX), store.has(HEX, 7), store.has(HEX, 8)) == (True, True, False)
    assert leftovers(store) == []


@settings(max_examples=20, deadline=None)
@given(st.lists(st.binary(max_size=64), max_size=6))
def test_any_contents_survive(contents: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        names = [store.put(data) for data in contents]
        assert [store.get(name) for name in names] == contents


@pytest.mark.parametrize("damage", [b"", b"conten", b"content!", b"CONTENT"])
def test_a_damaged_file_is_removed_and_counts_as_absent(tmp_path: Path, damage: bytes) -> None:
    for read in (Store.get, Store.check):
        store = Store(tmp_path)
        store.put(DATA)
        store.path(HEX).chmod(0o644)
        store.path(HEX).write_bytes(damage)
        assert not read(store, HEX)
        assert not store.path(HEX).exists()


def test_a_file_of_wrong_size_is_replaced_by_put(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(DATA)
    store.path(HEX).chmod(0o644)
    store.path(HEX).write_bytes(b"torn")
    store.put(DATA)
    assert store.get(HEX) == DATA


@pytest.mark.parametrize("name", ["", "../" * 10 + "etc/passwd", HEX.upper(), HEX + "0"])
def test_what_is_no_hash_reaches_no_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(FormatError):
        Store(tmp_path).get(name)


def test_a_full_disk_is_a_source_error_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    original = tempfile.NamedTemporaryFile

    class Full:
        """A file on a full disk: it can be made, and not written."""

        def __init__(self, file: Any) -> None:
            self._file = file

        def __getattr__(self, name: str) -> Any:
            return getattr(self._file, name)

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_: object) -> None:
            self._file.close()

        def write(self, data: bytes) -> int:
            self._file.write(data[:3])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", lambda **how: Full(original(**how)))
    with pytest.raises(SourceError, match="No space left on device") as failed:
        store.put(DATA)
    assert failed.value.exit_code == 6
    assert (store.get(HEX), leftovers(store)) == (None, [])


@pytest.mark.root
def test_a_file_system_that_is_really_full_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path], check=True)
    try:
        store = Store(tmp_path)
        store.put(DATA)
        with pytest.raises(SourceError, match="No space left on device"):
            store.put(os.urandom(100_000))
        assert store.get(HEX) == DATA
        assert leftovers(store) == []
        assert len(list(tmp_path.glob("sha256/*/*"))) == 1
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_store_that_is_a_file_is_a_source_error(tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"")
    with pytest.raises(SourceError, match="cannot write to the store"):
        Store(tmp_path / "store").put(DATA)


def test_a_process_killed_while_writing_leaves_no_half_file(tmp_path: Path) -> None:
    program = f"""
import sys, time
from pathlib import Path
from pluto_image.inputs.store import Store
with Store(Path({str(tmp_path)!r})).writing() as file:
    file.write(b"half"); file.flush()
    print("writing", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        process.send_signal(signal.SIGKILL)
    store = Store(tmp_path)
    assert list(tmp_path.glob("sha256/*/*")) == []
    assert len(leftovers(store)) == 1
    assert store.sweep(time.time()) == 0, "a young file may belong to a living process"
    assert store.sweep(time.time() + STALE + 60) == 1
    assert leftovers(store) == []


def test_the_cache_folder_of_the_user_is_honoured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_root() == tmp_path / "pluto-tee"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_root() == tmp_path / ".cache/pluto-tee"
