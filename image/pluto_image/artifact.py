"""DIST, the folder that a build leaves: written whole or not at all, opened only if its digest list holds.

    pluto.efi disk.raw disk.vhd gcp.tar.gz firmware.fd oci/      what boots or runs
    launch.json measurements.json                                what a boot measures
    files.json sbom.spdx.json sources.json lock.json source.tar  what the root is made of, what all was built from
    release.json                                                 the unsigned statement about all of these
    SHA256SUMS                                                   SHA-256 of all others, as sha256sum writes it, sorted

All files are deterministic. Formats: docs/formats/release.md.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from pluto_image.inputs.store import STALE
from pluto_image.sparse import Chunks, sparse_digest, write_sparse
from pluto_measure.errors import FormatError, SourceError, UsageError, VerificationError
from pluto_measure.launch import Launch
from pluto_measure.publish.digest_list import SUMS, format_sums, parse_sums
from pluto_measure.publish.listing import names

_BESIDE: Final = ("inputs.tar", "provenance.json")  # and signatures/: what a RELEASE has more than a DIST
NAMES: Final = (
    "pluto.efi",
    "disk.raw",
    "disk.vhd",
    "gcp.tar.gz",
    "oci/index.json",
    "firmware.fd",
    "launch.json",
    "measurements.json",
    "files.json",
    "sbom.spdx.json",
    "sources.json",
    "lock.json",
    "source.tar",
    "release.json",
)
_LARGEST_TEXT: Final = 64 * 1024 * 1024
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # renameat2(2)
Sparse = tuple[int, Callable[[], Chunks]]  # size in bytes; chunks in ascending order, made anew at each call


@dataclass(frozen=True, slots=True)
class Dist:
    """An opened DIST. `sums` maps names to SHA-256 in hex; all named files exist."""

    root: Path
    launch: Launch
    sums: Mapping[str, str]

    @classmethod
    def open(cls, root: Path) -> Self:
        """Open a DIST: the list names exactly the files that are there, and launch.json has its digest.

        The large files are not read (see `check`). Raises UsageError if there is no DIST, FormatError and
        VerificationError.
        """
        if not (root / SUMS).is_file():
            raise UsageError(
                f"{root} holds no {SUMS}, so it is not the result of a build", hint="run 'pluto-image build'"
            )
        sums = parse_sums(_read(root / SUMS))
        present = set(names(root)) - {SUMS}
        if missing := sorted((set(sums) | set(NAMES)) - present):
            raise VerificationError(f"{missing[0]} is missing in {root}")
        if extra := sorted(name for name in present - set(sums) if not is_about_a_release(name)):
            raise VerificationError(f"{extra[0]} in {root} is not in {SUMS}")
        launch_text = _read(root / "launch.json")
        if hashlib.sha256(launch_text).hexdigest() != sums["launch.json"]:
            raise VerificationError(f"launch.json does not have the digest in {SUMS}")
        dist = cls(root, Launch.parse(launch_text), sums)
        dist._check_sizes()
        return dist

    @property
    def uki(self) -> Path:
        return self.root / "pluto.efi"

    @property
    def disk(self) -> Path:
        return self.root / "disk.raw"

    @property
    def firmware(self) -> Path:
        return self.root / "firmware.fd"

    @property
    def lock(self) -> Path:
        return self.root / "lock.json"

    @property
    def digest(self) -> str:
        """SHA-256 of the digest list in hex: one name for the whole DIST."""
        return hashlib.sha256(format_sums(self.sums).encode()).hexdigest()

    def check(self, names: Iterable[str] | None = None) -> None:
        """Hash the files again (all, or the named ones). Raises VerificationError."""
        wanted = sorted(self.sums if names is None else names)
        with ThreadPoolExecutor(2) as pool:  # hashing does not hold the interpreter's lock
            found = dict(zip(wanted, pool.map(lambda name: file_digest(self.root / name), wanted), strict=True))
        for name in wanted:
            if found[name] != self.sums[name]:
                raise VerificationError(f"{name} does not have the digest in {SUMS}")

    def _check_sizes(self) -> None:
        for path, size in ((self.uki, self.launch.uki_size), (self.disk, self.launch.disk_size)):
            if path.stat().st_size != size:
                raise VerificationError(f"{path.name} has {path.stat().st_size} bytes, launch.json says {size}")


def write(
    out: Path, texts: Mapping[str, bytes], sparse: Mapping[str, Sparse], sums: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Write a DIST and put it in the place of `out`; returns the digest list.

    `texts`: name to content; `sparse`: name to size and chunks; `sums`: their digests where they are known. Until the
    last step `out` is as it was, and on Linux that step is one; a process that is killed leaves a folder beside it
    whose name begins with `.out.` (`sweep`). Raises UsageError if `out` is something else than a DIST, SourceError if
    the disk is full or not writable.
    """
    _check_place(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent))
        try:
            folder.chmod(0o755)
            listed = _fill(folder, texts, sparse, sums)
            _swap(folder, out)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise SourceError(f"cannot write {out}: {error.strerror or error}") from error
    return listed


def is_about_a_release(name: str) -> bool:
    """Whether a file is not part of a DIST but goes with it in a RELEASE."""
    return name in _BESIDE or name.startswith("signatures/")


def sweep(out: Path, now: float) -> int:
    """Remove what builds that died left beside `out` a day ago; returns how many. `now`: seconds since 1970."""
    removed = 0
    for suffix in (".partial", ".old"):
        for path in out.parent.glob(f".{out.name}.*{suffix}"):
            with contextlib.suppress(OSError):
                if path.is_dir() and now - path.lstat().st_mtime > STALE:
                    shutil.rmtree(path)
                    removed += 1
    return removed


def file_digest(path: Path) -> str:
    """SHA-256 of a file in hex. SourceError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror or error}") from error


def _fill(
    folder: Path, texts: Mapping[str, bytes], sparse: Mapping[str, Sparse], sums: Mapping[str, str] | None
) -> dict[str, str]:
    """Write all files; digests that are not known are computed beside it, since zeros by the GiB take a second."""
    with ThreadPoolExecutor(2) as pool:
        digests = {}
        if sums is None:
            digests = {name: pool.submit(sparse_digest, size, chunks()) for name, (size, chunks) in sparse.items()}
            digests |= {name: pool.submit(_digest, data) for name, data in texts.items()}
        for name in {*texts, *sparse}:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
        for name, data in texts.items():
            (folder / name).write_bytes(data)
        for name, (size, chunks) in sparse.items():
            write_sparse(folder / name, chunks(), size)
        listed = dict(sums) if sums is not None else {name: future.result() for name, future in digests.items()}
    (folder / SUMS).write_text(format_sums(listed), encoding="ascii", newline="\n")
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return listed


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _check_place(out: Path) -> None:
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise UsageError(f"{out} is not a folder")
    if out.is_dir() and Path.cwd().is_relative_to(out.resolve()):
        raise UsageError(f"{out} is replaced whole, and you are in it", hint="name another folder with --out")
    if out.is_dir() and (stray := _made_by_nobody(out)):
        raise UsageError(f"{out} holds {stray}, which no build made", hint="name another folder with --out")
    if out.is_dir() and any(path.name in (*_BESIDE, "signatures") for path in out.iterdir()):
        raise UsageError(f"{out} is a release, which would be lost", hint="name another folder with --out")


def _made_by_nobody(out: Path) -> str | None:
    """A file that an earlier build did not leave there, by its own list; None where there is none."""
    try:
        present = {name for name in names(out) if not is_about_a_release(name)}
        listed = parse_sums((out / SUMS).read_bytes()) if SUMS in present else {}
    except FormatError:
        return SUMS  # a link, or somebody else's list
    return min(present - {SUMS, *listed}, default=None)


def _swap(folder: Path, out: Path) -> None:
    """Put `folder` in the place of `out`; what was there lies in `folder` or is gone afterwards."""
    if not out.exists():
        os.replace(folder, out)  # noqa: PTH105  Path.replace returns a path nobody needs
        return
    if _exchange(folder, out):
        return
    old = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".old", dir=out.parent))
    try:
        os.replace(out, old / out.name)  # noqa: PTH105
        try:
            os.replace(folder, out)  # noqa: PTH105
        except OSError:
            os.replace(old / out.name, out)  # noqa: PTH105
            raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _exchange(left: Path, right: Path) -> bool:
    """Exchange two folders in one step, so that a kill finds either DIST; False where the system cannot."""
    if sys.platform != "linux":
        return False
    import ctypes

    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):  # another C library
        return False
    return bool(call(_AT_FDCWD, os.fsencode(left), _AT_FDCWD, os.fsencode(right), _RENAME_EXCHANGE) == 0)


def _read(path: Path) -> bytes:
    if path.stat().st_size > _LARGEST_TEXT:
        raise FormatError(path.name, f"has {path.stat().st_size} bytes")
    return path.read_bytes()
