"""The collateral of a state directory: whole files, a memory that no kill and no neighbour loses, one owner."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from pluto_measure.collateral.memory import Memory, compare
from pluto_measure.collateral.store import RolledBackError, Store
from pluto_measure.errors import FormatError, SourceError, UsageError
from pluto_measure.formats.collateral import Collateral
from pluto_measure.formats.collateral_bundle import Bundle
from simulators import collateral_keeper, kill_points
from simulators.intel import NOW, Authority, collateral, tcb_info
from simulators.intel.der import Machine

ROOT = Path(__file__).resolve().parents[3]
FMSPC = Machine.fmspc
AUTHORITY = Authority.make()


def bundle(evaluation: int = 20, *, fmspc: bytes = FMSPC, days: int = 2) -> Bundle:
    info = tcb_info(evaluation=evaluation, fmspc=fmspc, issued=NOW - timedelta(days=days))
    common = json.dumps(collateral(AUTHORITY, info=info))
    return Bundle.of_collateral(Collateral.parse(common.encode()), ca="platform")


OLD, NEW = bundle(19), bundle(20)
(OLD_SEEN, _), (NEW_SEEN, _) = (collateral_keeper.items(one)[0] for one in (OLD, NEW))


def keep(store: Store, *bundles: Bundle) -> None:
    store.keep([item for one in bundles for item in collateral_keeper.items(one)])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "state")


@contextmanager
def locked(store: Store) -> Iterator[None]:
    descriptor = os.open(store.folder / "lock", os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def modes(folder: Path) -> dict[str, str]:
    return {path.name: oct(path.stat().st_mode & 0o777) for path in (folder, *folder.iterdir())}


def test_a_new_state_directory_is_empty_and_stays_so_when_read(store: Store) -> None:
    assert store.memory() == Memory()
    assert store.bundle(FMSPC, "platform") is None
    assert store.families() == ()
    assert not store.folder.exists()


def test_what_is_kept_comes_back_and_is_its_owners_alone(store: Store) -> None:
    old = os.umask(0)
    try:
        keep(store, NEW)
    finally:
        os.umask(old)
    assert store.bundle(FMSPC, "platform") == NEW
    assert store.bundle(FMSPC, "processor") is None
    assert store.families() == ((FMSPC, "platform"),)
    assert compare(store.memory(), OLD_SEEN)[0].document == "TCB info"
    assert modes(store.folder) == {
        "collateral": "0o700",
        "memory.json": "0o600",
        "lock": "0o600",
        f"{FMSPC.hex()}-platform.json": "0o600",
    }


def test_older_collateral_is_refused_and_changes_nothing(store: Store) -> None:
    keep(store, NEW)
    before = {path.name: path.read_bytes() for path in store.folder.iterdir()}
    with pytest.raises(RolledBackError, match="TCB info is number 19") as caught:
        keep(store, bundle(30, fmspc=bytes(6)), OLD)
    assert caught.value.exit_code == 5
    assert [one.newest.number for one in caught.value.rollbacks] == [20]
    assert caught.value.fields() == {"rollbacks": [one.to_json() for one in caught.value.rollbacks]}
    assert {path.name: path.read_bytes() for path in store.folder.iterdir()} == before, "the other one neither"


def test_newer_collateral_takes_its_place_and_the_early_update_stays(store: Store) -> None:
    early = Bundle.of(
        [type(one)(**{**{n: getattr(one, n) for n in one.__slots__}, "update": "early"})
         for one in NEW.documents if one.update]
    )  # fmt: skip
    keep(store, OLD.merged(early))
    keep(store, NEW)
    kept = store.bundle(FMSPC, "platform")
    assert kept is not None
    assert kept.collateral(FMSPC, "platform") == NEW.collateral(FMSPC, "platform")
    assert kept.find("tcbInfo", update="early", fmspc=FMSPC) is not None


def test_remembering_alone_keeps_no_bundle_and_never_goes_down(store: Store) -> None:
    store.remember(NEW_SEEN)
    assert store.families() == ()
    memory, written = store.memory(), (store.folder / "memory.json").stat().st_mtime_ns
    store.remember(OLD_SEEN)
    assert store.memory() == memory
    assert (store.folder / "memory.json").stat().st_mtime_ns == written, "nothing new, nothing written"


@pytest.mark.parametrize("damage", [b"", b"{}", b"\xff", b'{"format":"pluto-collateral-memory"'])
def test_a_damaged_memory_is_an_error_and_is_not_replaced(store: Store, damage: bytes) -> None:
    keep(store, OLD)
    (store.folder / "memory.json").write_bytes(damage)
    for act in (store.memory, lambda: keep(store, NEW), lambda: store.remember(NEW_SEEN)):
        with pytest.raises(FormatError, match=r"memory\.json is damaged") as caught:
            act()
        assert str(store.folder) in str(caught.value.hint)
    assert (store.folder / "memory.json").read_bytes() == damage


def test_a_memory_that_is_gone_is_not_an_empty_one(store: Store) -> None:
    keep(store, NEW)
    (store.folder / "memory.json").unlink()
    with pytest.raises(FormatError, match=r"memory\.json is gone"):
        keep(store, OLD)
    shutil.rmtree(store.folder)  # what the hint says
    keep(store, OLD)


def test_a_damaged_bundle_is_named_and_may_be_replaced(store: Store) -> None:
    keep(store, OLD)
    path = store.folder / f"{FMSPC.hex()}-platform.json"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(FormatError, match="is damaged") as caught:
        store.bundle(FMSPC, "platform")
    assert f"collateral fetch --fmspc {FMSPC.hex()} --ca platform" in str(caught.value.hint)
    keep(store, NEW)
    assert store.bundle(FMSPC, "platform") == NEW


@pytest.mark.parametrize("mode", [0o770, 0o702])
def test_a_folder_that_others_may_write_to_is_refused(store: Store, mode: int) -> None:
    keep(store, OLD)
    store.folder.chmod(mode)
    for act in (store.memory, lambda: keep(store, NEW)):
        with pytest.raises(UsageError, match="others may write to it") as caught:
            act()
        assert caught.value.hint == f"run 'chmod go-w {store.folder}'"
    store.folder.chmod(0o755)
    keep(store, NEW)
    store.folder.parent.chmod(mode)  # whoever may write there can put another folder in its place
    with pytest.raises(UsageError, match="state: others may write to it"):
        store.memory()


def test_a_folder_of_another_user_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(store, OLD)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    if os.getuid():
        with pytest.raises(UsageError, match="it is another user's"):
            store.memory()
    else:  # root may own everybody's
        assert store.memory().tcb_infos


def test_a_memory_that_is_gone_is_missed_where_no_collateral_is_kept(store: Store) -> None:
    """It was forgotten in silence, as only kept collateral told that there had been one."""
    store.remember(OLD_SEEN)
    (store.folder / "memory.json").unlink()
    for act in (store.memory, lambda: store.remember(OLD_SEEN)):
        with pytest.raises(FormatError, match="is gone, though there was one"):
            act()


def test_other_files_are_nobodys_collateral(store: Store) -> None:
    keep(store, NEW)
    for name in ("notes.txt", f".{FMSPC.hex()}-platform.json.new", f"{FMSPC.hex()}-root.json"):
        (store.folder / name).write_text("")
    assert store.families() == ((FMSPC, "platform"),)


def test_places_that_cannot_be_written_or_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for state in (tmp_path / "file", tmp_path / "file" / "state"):
        with pytest.raises(UsageError, match="cannot be written"):
            keep(Store(state), NEW)
    with pytest.raises(UsageError, match="cannot be read"):
        Store(tmp_path / "file").families()
    (tmp_path / "state/collateral/memory.json").mkdir(parents=True)
    with pytest.raises(UsageError, match="cannot be read"):
        Store(tmp_path / "state").memory()
    (tmp_path / "other/collateral").mkdir(parents=True)
    (tmp_path / "other/collateral" / f".{FMSPC.hex()}-platform.json.new").mkdir()
    with pytest.raises(UsageError, match="cannot be written"):
        keep(Store(tmp_path / "other"), NEW)
    assert Store(tmp_path / "other").memory() == Memory()


def test_a_lock_that_is_not_given_back_is_not_waited_for_for_ever(store: Store) -> None:
    keep(store, OLD)
    passed = [0.0]

    def sleep(seconds: float) -> None:
        passed[0] += seconds

    patient = Store(store.folder.parent, patience=3.0, sleep=sleep, monotonic=lambda: passed[0])
    with locked(store), pytest.raises(SourceError, match="another process holds the lock for 3 s"):
        keep(patient, NEW)
    assert 3.0 < passed[0] < 3.1
    assert store.bundle(FMSPC, "platform") == OLD
    keep(store, NEW)


def test_processes_at_once_lose_nothing(store: Store, tmp_path: Path) -> None:
    keep(store, OLD)
    families = [bytes([number]) * 6 for number in range(1, 5)]
    words = [sys.executable, str(ROOT / "tests/simulators/collateral_keeper.py"), str(store.folder.parent)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "measure")}
    with locked(store):
        running = []
        for fmspc in families:
            path = tmp_path / f"{fmspc.hex()}.json"
            path.write_text(bundle(20, fmspc=fmspc).to_text())
            running.append(subprocess.Popen([*words, str(path)], env=environment))
        time.sleep(1.0)  # until they stand at the lock; if some do not yet, the test is merely easier
        assert all(one.poll() is None for one in running)
    assert [one.wait(30) for one in running] == [0] * len(families)
    assert set(store.memory().tcb_infos) == {FMSPC.hex(), *(fmspc.hex() for fmspc in families)}
    assert store.families() == tuple(sorted((fmspc, "platform") for fmspc in [FMSPC, *families]))


def test_killed_anywhere_the_memory_is_whole_and_knows_what_is_kept(tmp_path: Path) -> None:
    state, path = tmp_path / "state", tmp_path / "bundle.json"
    path.write_text(NEW.to_text())
    keep(Store(state), OLD)
    ends = set()
    for _ in kill_points.of("collateral_keeper", [str(state), str(path)]):
        store = Store(state)
        kept = store.bundle(FMSPC, "platform")
        assert kept in (OLD, NEW), "whole, the old one or the new one"
        known = compare(store.memory(), OLD_SEEN) != ()
        assert known or kept == OLD, "never a bundle that the memory does not know"
        assert compare(store.memory(), NEW_SEEN) == ()
        ends.add((known, kept == NEW))
        if known:
            keep(store, NEW)  # what was interrupted can be done again
            assert store.bundle(FMSPC, "platform") == NEW
            shutil.rmtree(state)
            keep(Store(state), OLD)
    assert ends == {(False, False), (True, False), (True, True)}, "before, between and after the renames"
    assert Store(state).bundle(FMSPC, "platform") == NEW
    assert not list((state / "collateral").glob(".*.new"))


def test_killed_at_the_first_use(tmp_path: Path) -> None:
    path = tmp_path / "bundle.json"
    path.write_text(NEW.to_text())
    for step in kill_points.of("collateral_keeper", [str(tmp_path / "state"), str(path)]):
        store = Store(tmp_path / "state")
        assert store.bundle(FMSPC, "platform") in (None, NEW), step
        memory = store.memory()
        assert memory == Memory() or compare(memory, OLD_SEEN) != ()
        shutil.rmtree(tmp_path / "state", ignore_errors=True)
    assert Store(tmp_path / "state").bundle(FMSPC, "platform") == NEW
