"""The Debian tree that namespaced hosts start from: made once by mmdebstrap, kept below build/.

The archive is the machine's own (what its apt is configured with), or mmdebstrap's default. Needs root and, the first
time, the network: about 30 seconds and 250 MB.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BUILD = Path(__file__).resolve().parents[3] / "build"
ABSENT = "needs a Debian tree for the namespaced host"
SUITES = ("trixie", "bookworm")
PACKAGES = (
    "systemd,systemd-sysv,dbus,udev,kmod,openssh-server,sudo,nftables,iproute2,iputils-ping,procps,python3,"
    "ca-certificates"
)
CUSTOMISE = Path(__file__).with_name("customise.sh")


class AbsentError(Exception):
    """The tree is not there and cannot be made; the text says why."""


def tree() -> Path:
    """The folder of the tree, made if need be. Raises AbsentError."""
    folder = BUILD / f"metal-rootfs-{digest()[:12]}"
    BUILD.mkdir(exist_ok=True)
    with _locked(BUILD / "metal-rootfs.lock"):
        if not folder.is_dir():
            _make(folder)
    return folder


def digest() -> str:
    """SHA-256, hex, of all that decides what is in the tree, but the archive's own state."""
    recipe = "\0".join([*SUITES, PACKAGES, CUSTOMISE.read_text()])
    return hashlib.sha256(recipe.encode()).hexdigest()


def _make(folder: Path) -> None:
    if shutil.which("mmdebstrap") is None:
        raise AbsentError(f"{ABSENT}: mmdebstrap is not installed")
    unfinished = folder.with_suffix(".unfinished")
    problem = ""
    for suite in SUITES:
        for mirror in [*_mirrors(), None]:
            shutil.rmtree(unfinished, ignore_errors=True)
            done = _bootstrap(suite, unfinished, mirror)
            if done.returncode == 0:
                unfinished.rename(folder)
                return
            if "command failed" in done.stderr:
                raise RuntimeError(f"customise.sh failed:\n{done.stderr}")
            problem = (done.stderr.strip().splitlines() or ["mmdebstrap failed"])[-1]
    shutil.rmtree(unfinished, ignore_errors=True)
    raise AbsentError(f"{ABSENT}: {problem}")


def _bootstrap(suite: str, target: Path, mirror: str | None) -> subprocess.CompletedProcess[str]:
    argv = ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", f"--include={PACKAGES}"]
    argv += [f"--aptopt={option}" for option in _apt_options()]
    argv += [f"--customize-hook={CUSTOMISE}", suite, str(target), *([mirror] if mirror else [])]
    return subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def _apt_options() -> list[str]:
    """How this machine's apt reaches the network (proxies and such), as mmdebstrap does not read that by itself."""
    return _lines(["apt-config", "dump", "--no-empty", "--format", '%F "%v";%n', "Acquire::http", "Acquire::https"])


def _mirrors() -> list[str]:
    """Debian archives that this machine's apt is configured with."""
    target = "$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)"
    found = (line.split() for line in _lines(["apt-get", "indextargets", "--format", target, "Created-By: Packages"]))
    known = [uri for uri, release, *rest in found if rest == ["main", "Debian"] and "-" not in release]
    return list(dict.fromkeys(known))


def _lines(argv: list[str]) -> list[str]:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # a machine without apt
        return []
    return done.stdout.splitlines()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
