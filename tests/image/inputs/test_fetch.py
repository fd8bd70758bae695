"""Fetching: order of sources, and mirrors that do everything wrong."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from pluto_image.errors import UnavailableError
from pluto_image.inputs import bundle, download, fetch
from pluto_image.inputs.download import Limits, SourceFailedError
from pluto_image.inputs.fetch import Sources, Step, ensure
from pluto_image.inputs.store import Store
from pluto_image.lock.lockfile import Lock
from pluto_measure.errors import SourceError
from simulators.debian_mirror import Mirror, Misbehaviour, serving

QUICK = Limits(connect=1, read=0.3, total=1, attempts=2, pause=0.01)
EMPTY = Lock(1, "ab" * 32, (), (), (), (), ())


@dataclass(frozen=True)
class Item:
    """A locked file."""

    name: str
    data: bytes
    archive: str = "main"

    @property
    def path(self) -> str:
        return f"pool/{self.name}.deb"

    @property
    def size(self) -> int:
        return len(self.data)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def sha1(self) -> str:
        return hashlib.sha1(self.data).hexdigest()

    @property
    def stored(self) -> str:
        return f"sha256/{self.sha256[:2]}/{self.sha256}"


ITEM = Item("aa", b"the locked content" * 1000)
ITEMS = [ITEM, *(Item(f"b{number}", bytes([number]) * (number + 1)) for number in range(12))]


def sources(*mirrors: Mirror, **more: Any) -> Sources:
    bases = tuple(f"{mirror.url}/debian" for mirror in mirrors)
    return Sources(**{"snapshot": "", "mirrors": {"main": bases}, "limits": QUICK, **more})


def pool(*items: Item) -> dict[str, bytes]:
    return {f"debian/{item.path}": item.data for item in items}


def test_all_files_come_from_a_mirror_once_and_progress_counts_them(tmp_path: Path) -> None:
    steps: list[Step] = []
    store = Store(tmp_path)
    with serving(pool(*ITEMS)) as mirror:
        ensure([*ITEMS, ITEM], store, sources(mirror), progress=steps.append)
        ensure(ITEMS, store, sources(mirror))
    assert len(mirror.asked) == len(ITEMS)
    assert [store.get(item.sha256) for item in ITEMS] == [item.data for item in ITEMS]
    assert [(step.done, step.total) for step in steps] == [(n, len(ITEMS)) for n in range(1, len(ITEMS) + 1)]


def test_sources_are_asked_in_order_and_each_only_for_what_is_still_missing(tmp_path: Path) -> None:
    cached, bundled, project, snapshot, mirrored = (
        Item(name, name.encode() * 9) for name in ("ab", "cd", "ef", "gh", "i")
    )
    everything = [cached, bundled, project, snapshot, mirrored]
    store, other = Store(tmp_path / "store"), Store(tmp_path / "other")
    store.put(cached.data)
    other.put(bundled.data)
    bundle.write(tmp_path / "in.tar", EMPTY, {}, [bundled.sha256], other)
    with (
        serving({project.stored: project.data}) as ours,
        serving({f"file/{one.sha1}": one.data for one in (project, snapshot)}) as archive,
        serving(pool(*everything)) as mirror,
    ):
        ensure(
            everything,
            store,
            sources(mirror, bundle=tmp_path / "in.tar", projects=(ours.url,), snapshot=f"{archive.url}/file/"),
        )
    assert sorted(ours.asked) == sorted(one.stored for one in (project, snapshot, mirrored))
    assert sorted(archive.asked) == sorted(f"file/{one.sha1}" for one in (snapshot, mirrored))
    assert mirror.asked == [f"debian/{mirrored.path}"]
    assert fetch.missing(everything, store) == []


BAD = [one for one in Misbehaviour if one not in (Misbehaviour.BUSY, Misbehaviour.REDIRECT)]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name.lower())
def test_a_bad_mirror_is_named_and_leaves_the_store_as_it_was(bad: Misbehaviour, tmp_path: Path) -> None:
    store = Store(tmp_path)
    with serving(pool(ITEM), {f"debian/{ITEM.path}": bad}) as mirror:
        began = time.monotonic()
        with pytest.raises(UnavailableError) as failed:
            ensure([ITEM], store, sources(mirror))
    assert time.monotonic() - began < 5
    assert failed.value.exit_code == 6
    assert failed.value.missing == ["aa"]
    assert mirror.url.removeprefix("http://") in str(failed.value) or bad is Misbehaviour.ELSEWHERE
    assert not store.has(ITEM.sha256)
    assert list(tmp_path.glob("tmp/*")) == []


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name.lower())
def test_the_next_mirror_makes_up_for_a_bad_one(bad: Misbehaviour, tmp_path: Path) -> None:
    store = Store(tmp_path)
    with serving(pool(ITEM), {f"debian/{ITEM.path}": bad}) as first, serving(pool(ITEM)) as second:
        ensure([ITEM], store, sources(first, second))
    assert store.get(ITEM.sha256) == ITEM.data


@pytest.mark.parametrize("bad", [Misbehaviour.BUSY, Misbehaviour.REDIRECT], ids=lambda bad: bad.name.lower())
def test_a_busy_mirror_is_asked_again_and_a_redirect_is_followed(bad: Misbehaviour, tmp_path: Path) -> None:
    store = Store(tmp_path)
    with serving(pool(ITEM), {f"debian/{ITEM.path}": bad}) as mirror:
        ensure([ITEM], store, sources(mirror))
    assert store.get(ITEM.sha256) == ITEM.data


def test_a_dead_host_costs_one_time_out_and_not_one_per_file(tmp_path: Path) -> None:
    bad = {f"debian/{item.path}": Misbehaviour.HANG for item in ITEMS}
    with serving(pool(*ITEMS), bad) as first, serving(pool(*ITEMS)) as second:
        ensure(ITEMS, Store(tmp_path), sources(first, second))
    assert len(first.asked) <= fetch.WORKERS


def test_what_could_be_had_is_kept_when_another_file_is_gone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with serving(pool(*ITEMS[1:])) as mirror, pytest.raises(UnavailableError, match="status 404") as failed:
        ensure(ITEMS, store, sources(mirror))
    assert failed.value.missing == ["aa"]
    assert fetch.missing(ITEMS, store) == [ITEM]


def test_offline_asks_nobody_and_says_what_is_missing(tmp_path: Path) -> None:
    with serving(pool(ITEM)) as mirror, pytest.raises(UnavailableError, match="the network is forbidden"):
        ensure([ITEM], Store(tmp_path), sources(mirror), offline=True)
    assert mirror.asked == []


def test_a_file_without_any_address_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="no source delivered aa; tried no address is known"):
        ensure([ITEM], Store(tmp_path), Sources(snapshot="", limits=QUICK))


def test_a_store_that_cannot_be_written_ends_the_work_at_once(tmp_path: Path) -> None:
    (tmp_path / "tmp").write_bytes(b"")
    with serving(pool(*ITEMS)) as mirror, pytest.raises(SourceError, match="cannot write to the store"):
        ensure(ITEMS, Store(tmp_path), sources(mirror))


def test_content_coding_is_never_undone(tmp_path: Path) -> None:
    """A server that compresses unasked delivers other bytes, not a bomb."""
    with serving({"x": b"\x1f\x8b" + bytes(20)}) as mirror:
        assert download.get(f"{mirror.url}/x", limit=22, limits=QUICK) == b"\x1f\x8b" + bytes(20)


def test_headers_that_come_byte_by_byte_do_not_outlast_the_deadline() -> None:
    with serving({"x": b"data"}, {"x": Misbehaviour.DRIP_HEAD}) as mirror:
        began = time.monotonic()
        with pytest.raises(SourceFailedError, match="not done after 1 s") as failed:
            download.get(f"{mirror.url}/x", limit=4, limits=QUICK)
        assert time.monotonic() - began < 2
    assert failed.value.down


def test_attempts_share_one_deadline() -> None:
    """Each attempt breaks off at once; the next one finds that the time for the file is over."""
    limits = Limits(connect=1, read=1, total=0.5, attempts=100, pause=0.2)
    with serving({"x": b"data"}, {"x": Misbehaviour.CUT}) as mirror:
        began = time.monotonic()
        with pytest.raises(SourceFailedError):
            download.get(f"{mirror.url}/x", limit=4, limits=limits)
        assert time.monotonic() - began < 3
    assert len(mirror.asked) < 10


def test_a_file_of_unknown_hash_is_limited_in_size() -> None:
    with serving({"x": bytes(100)}) as mirror:
        assert download.get(f"{mirror.url}/x", limit=100, limits=QUICK) == bytes(100)
        with pytest.raises(SourceFailedError, match="announces 100 bytes, at most 99"):
            download.get(f"{mirror.url}/x", limit=99, limits=QUICK)


def test_addresses_of_a_file_stand_in_the_order_of_trust_in_their_memory() -> None:
    found = replace(
        Sources(), projects=("http://p/",), snapshot="http://s/file/", mirrors={"main": ("http://m/debian",)}
    ).urls(ITEM)
    assert found == (
        f"http://p/{ITEM.stored}",
        f"http://s/file/{ITEM.sha1}",
        f"http://m/debian/{ITEM.path}",
    )
