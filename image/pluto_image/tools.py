"""The tools tree: QEMU, firmware and software TPM from locked packages, unpacked to the cache and run from there.

No privilege, no container, nothing of the host but its kernel: every program is started through the tree's own
dynamic loader. No maintainer script runs, setuid bits and device nodes do not exist, links stay inside the tree.
"""

from __future__ import annotations

import json
import os
import platform
import posixpath
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pluto_image.debian import deb
from pluto_image.inputs import fetch
from pluto_image.inputs.fetch import Progress, Sources
from pluto_image.inputs.store import Store
from pluto_image.lock.lockfile import Lock, Package
from pluto_image.tree import Kind
from pluto_measure.errors import FormatError, SourceError, UsageError

_LOADER: Final = "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"
_LIBRARIES: Final = ("usr/lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu/swtpm")
_PROGRAMS: Final = ("usr/bin", "usr/sbin", "usr/libexec", "usr/lib/qemu")
_QEMU_DATA: Final = ("usr/share/qemu", "usr/share/seabios", "usr/share/ovmf")
_FIRMWARE: Final = "usr/share/ovmf/OVMF.fd"
_MERGED: Final = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_UNWANTED: Final = tuple(f"usr/share/{name}/" for name in ("doc", "man", "locale", "lintian", "bug", "info", "icons"))
_MANIFEST: Final = ".manifest.json"
# What a program may see of the caller's environment: where to write, nothing that changes what it does.
_PASSED_ON: Final = ("HOME", "TMPDIR", "XDG_RUNTIME_DIR")


@dataclass(frozen=True, slots=True)
class ToolsTree:
    """An unpacked tools tree at `root`."""

    root: Path

    def command(self, program: str, *args: str | Path) -> list[str]:
        """The argument vector that starts `program` (such as "qemu-system-x86_64", "swtpm") of this tree.

        QEMU is given the tree's data folders (-L), since it looks for them beside the loader otherwise.
        """
        if sys.platform != "linux" or platform.machine() != "x86_64":
            raise UsageError(f"the tools run on Linux on x86-64, not on {sys.platform} on {platform.machine()}")
        found = [path for folder in _PROGRAMS if (path := self.root / folder / program).is_file()]
        if not found or "/" in program:
            raise UsageError(f"the tools tree has no program {program}")
        libraries = ":".join(str(self.root / folder) for folder in _LIBRARIES)
        data = [word for folder in _QEMU_DATA for word in ("-L", str(self.root / folder))]
        start = [str(self.root / _LOADER), "--library-path", libraries, "--argv0", program, str(found[0])]
        return [*start, *(data if program.startswith("qemu-system-") else ()), *map(str, args)]

    def environment(self) -> dict[str, str]:
        """The whole environment for programs of this tree."""
        passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        return {
            **passed,
            "PATH": os.defpath,
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "QEMU_MODULE_DIR": str(self.root / "usr/lib/x86_64-linux-gnu/qemu"),
            "OPENSSL_CONF": os.devnull,  # the library would read the host's file
        }

    def share(self, path: str) -> Path:
        """A file of the tree below usr/share. Raises UsageError if there is none."""
        found = self.root / "usr/share" / path
        if ".." in Path(path).parts or not found.exists():
            raise UsageError(f"the tools tree has no usr/share/{path}")
        return found

    def firmware(self) -> Path:
        """The firmware image (code and variables in one file, without Secure Boot) for -bios."""
        return self.share(_FIRMWARE.removeprefix("usr/share/"))


def ensure_tools(
    lock: Lock,
    store: Store,
    sources: Sources | None = None,
    *,
    offline: bool = False,
    progress: Progress | None = None,
) -> ToolsTree:
    """The tools tree of this lock below the store; fetched and unpacked if it is not there, whole, already.

    Raises SourceError (files unavailable, disk full), FormatError (a package that is not well-formed).
    """
    root = store.root / "tools" / lock.tools_digest
    if _is_whole(root):
        return ToolsTree(root)
    fetch.ensure(lock.tools, store, sources or Sources(), offline=offline or sources is None, progress=progress)
    try:
        (store.root / "tmp").mkdir(parents=True, exist_ok=True)
        root.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=store.root / "tmp", prefix="tools-") as folder:
            unpack(lock.tools, store, Path(folder) / "root")
            _replace(Path(folder) / "root", root, Path(folder) / "old")
    except OSError as error:
        raise SourceError(f"cannot unpack the tools to {root}: {error.strerror or error}") from error
    return ToolsTree(root)


def unpack(packages: Iterable[Package], store: Store, root: Path) -> None:
    """Unpack packages to the new folder `root`, without documentation, with /usr merged.

    Links are made last, so that no file is ever written through one. Raises FormatError, SourceError, OSError.
    """
    root.mkdir()
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:  # xz runs outside the interpreter lock
        parts = list(pool.map(lambda package: _unpack_one(package, store, root), packages))
    sizes: dict[str, int] = {}
    links: dict[str, str] = {}
    for files, found in parts:
        if twice := sorted((sizes.keys() | links.keys()) & (files.keys() | found.keys())):
            raise FormatError("tools", f"{twice[0]} is in two packages")
        sizes.update(files)
        links.update(found)
    for path, target in sorted(links.items()):
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.is_dir() or place.is_symlink():
            place.symlink_to(target)
    _check_links(root, links)
    (root / _MANIFEST).write_text(json.dumps({"files": sizes}, sort_keys=True))


def _check_links(root: Path, links: Iterable[str]) -> None:
    """Follow every link for real: text alone does not show where a link through another link leads."""
    top = os.path.realpath(root)
    for path in links:
        if os.path.commonpath([top, os.path.realpath(root / path)]) != top:
            raise FormatError("tools", f"link {path} leads out of the tree")


def _unpack_one(package: Package, store: Store, root: Path) -> tuple[Mapping[str, int], Mapping[str, str]]:
    """Write the files of one package; returns their sizes, and its links for later."""
    data = store.get(package.sha256)
    if data is None:
        raise SourceError(f"{package.name} {package.version} is not in the store, or was damaged there")
    sizes: dict[str, int] = {}
    links: dict[str, str] = {}
    for member in deb.read(data, want=_wanted).members:
        path = merged(member.path)
        if not path or path in _MERGED or not _wanted(member.path):
            continue
        if member.kind is Kind.DIRECTORY:
            (root / path).mkdir(parents=True, exist_ok=True)
        elif member.kind is Kind.SYMLINK:
            links[path] = inside(path, member.link)
        else:
            place = root / path
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("xb") as file:
                file.write(member.data)
            place.chmod(0o755 if member.mode & 0o111 else 0o644)
            sizes[path] = len(member.data)
    return sizes, links


def merged(path: str) -> str:
    """The path with /usr merged: bin, sbin and lib* at the top are below usr."""
    first, _, rest = path.partition("/")
    return f"usr/{path}" if first in _MERGED and rest else path


def inside(path: str, target: str) -> str:
    """The relative target of a link at `path` that means `target` inside the tree. FormatError if it leaves it."""
    folder = posixpath.dirname(path)
    absolute = posixpath.normpath(target.lstrip("/") if target.startswith("/") else posixpath.join(folder, target))
    if absolute == ".." or absolute.startswith("../"):
        raise FormatError("tools", f"link {path} leads to {target!r}, out of the tree")
    return posixpath.relpath(merged(absolute), folder or ".")


def _wanted(path: str) -> bool:
    return not merged(path).startswith(_UNWANTED)


def _is_whole(root: Path) -> bool:
    """Whether every file is there in its size: somebody may have tidied up the cache."""
    try:
        files = json.loads((root / _MANIFEST).read_bytes())["files"]
        return all((root / path).stat().st_size == size for path, size in files.items())
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return False


def _replace(new: Path, place: Path, old: Path) -> None:
    """Put `new` in its place; what was there and was not whole goes away. A whole tree of another process stays."""
    if place.exists():
        if _is_whole(place):
            return
        place.rename(old)
        shutil.rmtree(old)
    try:
        new.rename(place)
    except OSError:
        if not _is_whole(place):
            raise
