"""The state of one archive at lock time: fetch InRelease, check it, fetch the indexes that it lists.

Nothing of an archive is believed before its signature and time are checked (pluto_image.debian.openpgp).
"""

from __future__ import annotations

import hashlib
import lzma
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pluto_image.debian import openpgp
from pluto_image.debian.archive import LARGEST_INDEX, PackageIndex, Release
from pluto_image.definition import Archive
from pluto_image.inputs import download, fetch
from pluto_image.inputs.fetch import Sources
from pluto_image.inputs.store import Store
from pluto_image.lock.lockfile import DATE, Index, Lock, LockedArchive
from pluto_measure.errors import FormatError, SourceError

_LARGEST_PACKED: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ArchiveState:
    """One archive as it was found: its entry in the lock, its InRelease file, its packages."""

    entry: LockedArchive
    evidence: bytes
    index: PackageIndex


@dataclass(frozen=True, slots=True)
class IndexFile:
    """An index as a file to fetch: mirrors serve it by hash (Acquire-By-Hash), so that it is the one listed."""

    path: str
    size: int
    sha256: str
    archive: str


def archive_state(
    archive: Archive,
    architecture: str,
    keys: Path,
    store: Store,
    sources: Sources,
    *,
    at: datetime,
    not_before: datetime | None,
) -> ArchiveState:
    """The archive as its mirrors serve it at `at`. Raises SignatureRefusedError, FormatError, SourceError."""
    pinned = openpgp.load_keys(keys, archive.fingerprints)
    data = _in_release(archive, sources)
    signed = openpgp.verify_release(data, archive=archive.id, keys=pinned)
    if archive.suite not in (signed.release.suite, signed.release.codename):
        raise FormatError(f"InRelease of {archive.id}", f"is of suite {signed.release.codename!r}")
    openpgp.check_time(signed.release, archive=archive.id, at=at, not_before=not_before)
    indexes = _listed(archive, architecture, signed.release)
    entry = LockedArchive(
        id=archive.id,
        suite=archive.suite,
        path=archive.path,
        date=signed.release.date.astimezone(UTC).strftime(DATE),
        release_size=len(data),
        release_sha256=hashlib.sha256(data).hexdigest(),
        signed_by=signed.signed_by,
        indexes=indexes,
    )
    fetch.ensure(_files(entry), store, sources)
    return ArchiveState(entry, data, read_indexes(archive, architecture, indexes, store))


def index_files(lock: Lock) -> tuple[IndexFile, ...]:
    """The Packages indexes of a lock as files to fetch."""
    return tuple(file for archive in lock.archives for file in _files(archive))


def read_indexes(archive: Archive, architecture: str, indexes: Sequence[Index], store: Store) -> PackageIndex:
    """The packages of all indexes of one archive, from the store. Raises SourceError if one is absent."""
    texts = []
    for index in indexes:
        packed = store.get(index.sha256)
        if packed is None:
            raise SourceError(f"index {index.path} of {archive.id} is not in the store")
        texts.append(_unpack(packed, f"{index.path} of {archive.id}"))
    return PackageIndex(b"\n".join(texts), archive=archive.id, architecture=architecture)


def _files(archive: LockedArchive) -> tuple[IndexFile, ...]:
    found = []
    for index in archive.indexes:
        folder = index.path.rpartition("/")[0]
        path = f"dists/{archive.suite}/{folder}/by-hash/SHA256/{index.sha256}"
        found.append(IndexFile(path, index.size, index.sha256, archive.id))
    return tuple(found)


def _in_release(archive: Archive, sources: Sources) -> bytes:
    tried = []
    for base in sources.mirrors.get(archive.id, ()):
        url = f"{base}/dists/{archive.suite}/InRelease"
        try:
            return download.get(url, limit=openpgp.LARGEST, limits=sources.limits)
        except download.SourceFailedError as error:
            tried.append(str(error))
    attempts = "; ".join(tried) or "none, since no mirror is known"
    raise SourceError(
        f"no mirror delivered the release file of {archive.id}; tried {attempts}",
        hint="run the command again with --mirror URL of a Debian mirror",
    )


def _listed(archive: Archive, architecture: str, release: Release) -> tuple[Index, ...]:
    found = []
    for component in archive.components:
        path = f"{component}/binary-{architecture}/Packages.xz"
        if path not in release.indexes:
            raise FormatError(f"InRelease of {archive.id}", f"does not list {path}")
        size, sha256 = release.indexes[path]
        if size > _LARGEST_PACKED:
            raise FormatError(f"InRelease of {archive.id}", f"{path} has {size} bytes")
        found.append(Index(path, size, sha256.hex()))
    return tuple(found)


def _unpack(packed: bytes, what: str) -> bytes:
    unpacker = lzma.LZMADecompressor(format=lzma.FORMAT_XZ)
    try:
        data = unpacker.decompress(packed, max_length=LARGEST_INDEX)
    except lzma.LZMAError as error:
        raise FormatError(what, f"not xz: {error}") from error
    if not unpacker.eof or unpacker.unused_data:
        raise FormatError(what, "is cut, has bytes left over, or is too large")
    return data
