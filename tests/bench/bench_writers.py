"""Each reader and writer of the build on the locked inputs, beside the program that others use for the same."""

from __future__ import annotations

import lzma
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from figures import Row

from pluto_image import sparse
from pluto_image.debian.deb import read
from pluto_image.formats import compress, cpio, depmod, disk
from pluto_image.inputs.store import Store, default_root
from pluto_image.lock.lockfile import Lock
from pluto_image.tree import Entry, Kind

ROOT = Path(__file__).resolve().parents[2]
RUNS = 5


def rows(work: Path) -> Iterator[Row]:
    store = Store(default_root())
    packages = Lock.parse((ROOT / "image/notary/lock.json").read_bytes()).image
    paths = [store.path(package.sha256) for package in packages]
    blobs = [path.read_bytes() for path in paths]
    yield row(
        "read all packages, one thread", lambda: [list(read(blob).members) for blob in blobs],
        "dpkg-deb", lambda: [command("dpkg-deb", "--fsys-tarfile", str(path)) for path in paths],
    )  # fmt: skip
    members = {member.path: member for blob in blobs for member in read(blob).members}
    entries = [
        Entry(m.path, m.kind, m.mode, m.link.encode() if m.kind is Kind.SYMLINK else m.data, "package:all")
        for m in members.values()
        if "/modules/" not in m.path
    ]
    archive = list(cpio.newc(entries, 0))
    size = sum(map(len, archive)) / 1e6
    yield row(f"cpio of {size:.0f} MB", lambda: list(cpio.newc(entries, 0)))
    (work / "root.cpio").write_bytes(b"".join(archive))
    yield row(
        f"compress {size:.0f} MB", lambda: compress.zstd(archive),
        "xz -6 -T1", lambda: command("xz", "-6", "-T1", "--stdout", str(work / "root.cpio")), peer_runs=1,
    )  # fmt: skip
    yield module_indexes(work, {m.path: m.data for m in members.values() if "/modules/" in m.path})
    uki = compress.zstd(archive)
    yield row("write the disk", lambda: sparse.write_sparse(work / "disk.raw", disk.disk(uki), disk.SIZE))


def module_indexes(work: Path, files: dict[str, bytes]) -> Row:
    relative = {path.split("/", 4)[4]: data for path, data in files.items() if path.count("/") >= 4}
    modules = {path[:-3]: lzma.decompress(data) for path, data in relative.items() if path.endswith(".ko.xz")}
    folder = work / "lib/modules/6.12.0"
    for path, data in {**modules, **{p: d for p, d in relative.items() if p.startswith("modules.")}}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    given = [relative[f"modules.{name}"] for name in ("builtin", "builtin.modinfo", "order")]
    return row(
        f"index {len(modules)} modules",
        lambda: depmod.indexes(modules, builtin=given[0], builtin_modinfo=given[1], order=given[2]),
        "depmod", lambda: command("depmod", "--basedir", str(work), "6.12.0"),
    )  # fmt: skip


def row(
    name: str,
    ours: Callable[[], object],
    peer: str = "",
    theirs: Callable[[], object] | None = None,
    *,
    peer_runs: int = RUNS,
) -> Row:
    program = peer.split(" ", 1)[0]
    if theirs is None or shutil.which(program, path="/usr/bin:/usr/sbin:/bin:/sbin") is None:
        return Row(name, "s", seconds(ours, RUNS))
    return Row(name, "s", seconds(ours, RUNS), None, peer, seconds(theirs, peer_runs))


def seconds(action: Callable[[], object], runs: int) -> tuple[float, ...]:
    def once() -> float:
        start = time.perf_counter()
        action()
        return time.perf_counter() - start

    return tuple(once() for _ in range(runs))


def command(*words: str) -> bytes:
    program = shutil.which(words[0], path="/usr/bin:/usr/sbin:/bin:/sbin") or words[0]
    return subprocess.run([program, *words[1:]], check=True, capture_output=True).stdout
