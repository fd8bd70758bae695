"""Brings locked files into the store. Every source is untrusted: size is limited first, then SHA-256 decides.

Order: store, inputs bundle, project stores, snapshot archive (by SHA-1), mirrors. A host that does not answer is
left alone for the rest of the run, so that a dead one costs one time-out and not one per file.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

from pluto_image.errors import UnavailableError
from pluto_image.inputs import download
from pluto_image.inputs.download import Limits, SourceFailedError
from pluto_image.inputs.store import Store
from pluto_measure.errors import PlutoError

SNAPSHOT: Final = "https://snapshot.debian.org/file/"  # the one host name of the project: mirrors drop old files
WORKERS: Final = 6
_SNAPSHOT_WORKERS: Final = 2  # it throttles those who ask for more
_NOWHERE: Final = "no address is known"


class Wanted(Protocol):
    """A file by hash: packages, wheels, derived inputs and indexes of a lock. Size in bytes, SHA-256 in hex."""

    @property
    def size(self) -> int: ...
    @property
    def sha256(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Step:
    """Progress: `done` of `total` files are there; `name` is the last one, `source` where it came from."""

    name: str
    source: str
    size: int
    done: int
    total: int


Progress = Callable[[Step], None]


@dataclass(frozen=True, slots=True)
class Sources:
    """Where files may come from. `mirrors`: archive id → base URLs of that archive on mirrors."""

    bundle: Path | None = None
    projects: tuple[str, ...] = ()
    snapshot: str = SNAPSHOT
    mirrors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)

    def urls(self, item: Wanted) -> tuple[str, ...]:
        """All addresses of a file, in the order in which they are tried."""
        found = [f"{base.rstrip('/')}/sha256/{item.sha256[:2]}/{item.sha256}" for base in self.projects]
        if self.snapshot and (sha1 := getattr(item, "sha1", "")):
            found.append(self.snapshot + sha1)
        if path := getattr(item, "path", ""):
            found += [f"{base}/{path}" for base in self.mirrors.get(getattr(item, "archive", ""), ())]
        return tuple(found)


def missing(items: Iterable[Wanted], store: Store) -> list[Wanted]:
    """The files that are not in the store, each content once. Looks at sizes; reading checks the hash."""
    contents = {item.sha256: item for item in items}
    return [item for item in contents.values() if not store.has(item.sha256, item.size)]


def ensure(
    items: Iterable[Wanted], store: Store, sources: Sources, *, offline: bool = False, progress: Progress | None = None
) -> None:
    """Bring all files into the store, or raise UnavailableError that names them and what was tried.

    What could be had is kept. A SourceError of the store itself (full disk) ends the work at once.
    """
    wanted = missing(items, store)
    total = len(wanted)
    if wanted and sources.bundle is not None:
        from pluto_image.inputs import bundle

        bundle.unpack(sources.bundle, store, {item.sha256 for item in wanted})
        wanted = missing(wanted, store)
    if not wanted:
        return
    if offline:
        tried = [f"bundle {sources.bundle}"] if sources.bundle else []
        raise UnavailableError(sorted(map(name_of, wanted)), tried)
    _Run(store, sources, progress, total, total - len(wanted)).all(wanted)


def name_of(item: Wanted) -> str:
    """What people call the file."""
    words = (getattr(item, "name", ""), getattr(item, "version", ""))
    return " ".join(word for word in words if word) or str(getattr(item, "path", item.sha256))


class _Run:
    """One use of `ensure` over the network."""

    def __init__(self, store: Store, sources: Sources, progress: Progress | None, total: int, done: int) -> None:
        self._store, self._sources, self._progress = store, sources, progress
        self._total, self._done = total, done
        self._lock, self._local = threading.Lock(), threading.local()
        self._down: dict[str, str] = {}
        self._snapshot = threading.Semaphore(_SNAPSHOT_WORKERS)

    def all(self, wanted: Sequence[Wanted]) -> None:
        largest_first = sorted(wanted, key=lambda item: -item.size)
        lost: dict[str, list[str]] = {}
        with ThreadPoolExecutor(WORKERS) as pool:
            jobs = [(item, pool.submit(self._one, item)) for item in largest_first]
            try:
                for item, job in jobs:
                    if tried := job.result():
                        lost[name_of(item)] = tried
            except PlutoError:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        if lost:
            raise UnavailableError(sorted(lost), list(dict.fromkeys(line for lines in lost.values() for line in lines)))

    def _one(self, item: Wanted) -> list[str]:
        """Empty once the file is in the store, else one line per source tried."""
        tried = []
        for url in self._sources.urls(item):
            host = urlsplit(url).netloc
            if host in self._down:
                tried.append(self._down[host])
                continue
            try:
                self._store.put(self._download(item, url))
            except SourceFailedError as error:
                tried.append(str(error))
                if error.down:
                    vars(self._local).pop("session", None)  # a thread may have been left behind in it
                    self._down[host] = str(error)
                continue
            self._report(item, host)
            return []
        return tried or [_NOWHERE]

    def _download(self, item: Wanted, url: str) -> bytes:
        if not hasattr(self._local, "session"):
            self._local.session = download.session()
        throttled = bool(self._sources.snapshot) and url.startswith(self._sources.snapshot)
        with self._snapshot if throttled else contextlib.nullcontext():
            return download.get(
                url,
                limit=item.size,
                limits=self._sources.limits,
                using=self._local.session,
                accept=lambda data: len(data) == item.size and hashlib.sha256(data).hexdigest() == item.sha256,
            )

    def _report(self, item: Wanted, host: str) -> None:
        with self._lock:
            self._done += 1
            if self._progress is not None:
                self._progress(Step(name_of(item), host, item.size, self._done, self._total))
