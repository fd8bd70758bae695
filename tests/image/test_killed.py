"""A command killed at any of its steps leaves store, DIST, bundle and lock whole: the old one or the new one."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from pluto_image import artifact
from pluto_image.artifact import Dist
from pluto_image.cli import main
from pluto_image.inputs.store import STALE, Store
from pluto_image.lock.folder import read_evidence, write_evidence, write_lock
from pluto_image.lock.lockfile import Lock
from pluto_measure.errors import FormatError
from simulators import kill_points, tiny_definition
from simulators.debian_mirror import Signer
from simulators.debian_world import NOW, World, lib, world

CLI = "pluto_image.cli"


@pytest.fixture
def tiny(tmp_path: Path, signer: Signer) -> Iterator[World]:
    """A world whose definition is locked."""
    with world(tmp_path, signer) as made:
        locked = made.lock()
        write_lock(made.folder, locked.lock)
        write_evidence(made.folder, locked.evidence.items())
        yield made


def contents_hold(store: Store) -> bool:
    files = list(store.root.glob("sha256/*/*"))
    return all(hashlib.sha256(path.read_bytes()).hexdigest() == path.name for path in files)


@pytest.mark.slow
def test_a_killed_build_leaves_the_old_dist_or_the_new_one(tmp_path: Path, small_disks: None) -> None:
    store = Store(tmp_path / "store")
    folder, out = tiny_definition.make(tmp_path, store), tmp_path / "dist"
    words = ["build", str(folder), "--out", str(out), "--store", str(store.root), "--offline"]
    assert main(words) == 0
    hostname = folder / "rootfs/etc/hostname"
    seen, steps = {Dist.open(out).launch.build_id}, []
    hostname.write_bytes(b"other\n")
    for step in kill_points.of("small_builder", words):
        steps.append(step)
        opened = Dist.open(out)
        opened.check()
        seen.add(opened.launch.build_id)
        assert contents_hold(store)
    assert len(steps) > 20
    assert len(seen) == 2, "the old build and the new one, nothing else"
    Dist.open(out).check()
    left = [path for path in tmp_path.iterdir() if path.name.startswith(".dist.") and path.is_dir()]
    assert left
    newest = max(path.stat().st_mtime for path in left)
    assert artifact.sweep(out, newest) == 0, "a young folder may belong to a living build"
    assert artifact.sweep(out, newest + STALE + 60) == len(left)


@pytest.mark.slow
def test_a_killed_fetch_leaves_whole_contents_in_the_store(tiny: World, tmp_path: Path) -> None:
    bundle, fresh = tmp_path / "inputs.tar", Store(tmp_path / "fresh")
    assert main(["bundle", str(tiny.folder), "--out", str(bundle), "--store", str(tiny.store.root), "--offline"]) == 0
    words = ["fetch", str(tiny.folder), "--store", str(fresh.root), "--offline", "--bundle", str(bundle)]
    assert [step for step in kill_points.of(CLI, words) if not contents_hold(fresh)] == []
    lock = Lock.parse((tiny.folder / "lock.json").read_bytes())
    assert [one.name for one in (*lock.image, *lock.tools) if not fresh.check(one.sha256)] == []


@pytest.mark.slow
def test_a_killed_bundle_leaves_the_old_file_or_the_new_one(tiny: World, tmp_path: Path) -> None:
    bundle = tmp_path / "inputs.tar"
    bundle.write_bytes(b"old")
    words = ["bundle", str(tiny.folder), "--out", str(bundle), "--store", str(tiny.store.root), "--offline"]
    states = {bundle.read_bytes() for _ in kill_points.of(CLI, words)}
    assert states <= {b"old", bundle.read_bytes()}


@pytest.mark.slow
def test_a_killed_lock_leaves_the_old_lock_or_the_new_one_and_may_be_run_again(tiny: World) -> None:
    place = tiny.folder / "lock.json"
    old = place.read_bytes()
    tiny.main[1] = lib("1.1")
    tiny.publish(NOW - timedelta(hours=1), valid=None)
    words = ["lock", str(tiny.folder), "--update", "--store", str(tiny.store.root), "--mirror", tiny.mirror.url]
    states = set()
    for _ in kill_points.of(CLI, words):
        states.add(place.read_bytes())
        with contextlib.suppress(FormatError):  # killed between evidence and lock: refused by name, with a hint
            read_evidence(tiny.folder, Lock.parse(place.read_bytes()))
    assert states <= {old, place.read_bytes()}
    lock = Lock.parse(place.read_bytes())
    assert len(read_evidence(tiny.folder, lock)) == 2
    assert lock.package("lib").version == "1.1"
