"""Peers of the builder, run as root on a Debian machine: mmdebstrap, and mkosi from a locked trixie tree.

Both get the same top packages as our image. mkosi needs a tree of its own suite: it is made by mmdebstrap from
`peer-packages.txt` (exact versions) and entered by pivot_root, since mkosi's sandbox fails in a plain chroot.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from figures import timed

from pluto_image.debian import mirrors

HERE = Path(__file__).resolve().parent
TOP_PACKAGES = (
    "linux-image-cloud-amd64,systemd,udev,base-files,libc6,netbase,ca-certificates,python3,python3-cryptography,"
    "python3-h11,systemd-boot-efi,libkmod2"
)
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


class AbsentError(Exception):
    """The peer cannot be had here; says why."""


def mmdebstrap(work: Path, runs: int) -> list[float]:
    """Seconds for mmdebstrap to write a tar of the same top packages; downloads are not cached by it."""
    _need_root_and("mmdebstrap")
    argv = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={TOP_PACKAGES}", "trixie"]
    return [
        timed([*argv, work / f"peer-{run}.tar", _mirror("debian")], environment={"SOURCE_DATE_EPOCH": "1"})[0]
        for run in range(runs)
    ]


def mkosi(work: Path, runs: int) -> tuple[list[float], float]:
    """(seconds per build with cached packages, size of the UKI in MB)."""
    _need_root_and("mmdebstrap", "unshare")
    work.mkdir(parents=True)
    tree = work / "tree"
    locked = ",".join((HERE / "peer-packages.txt").read_text().split())
    subprocess.run(
        ["mmdebstrap", "--quiet", "--variant=apt", f"--include={locked}", "trixie", tree, _mirror("debian")], check=True
    )
    _configure(tree)
    timed(["unshare", "--mount", "bash", HERE / "enter-tree.sh", tree])  # the first run fills mkosi's package cache
    seconds = [timed(["unshare", "--mount", "bash", HERE / "enter-tree.sh", tree])[0] for _ in range(runs)]
    return seconds, (tree / "build/mkosi.output/peer.efi").stat().st_size / 1e6


def _configure(tree: Path) -> None:
    sources = tree / "build/mkosi.sandbox/etc/apt/sources.list.d"
    sources.mkdir(parents=True)
    (tree / "var/cache/mk").mkdir(parents=True)
    (tree / "build/mkosi.conf").write_text(
        "[Distribution]\nDistribution=debian\nRelease=trixie\n"
        "[Output]\nFormat=uki\nImageId=peer\n"
        f"[Content]\nPackages={TOP_PACKAGES}\nBootable=yes\nBootloader=uki\n"
        "SourceDateEpoch=1750000000\nWithRecommends=no\n"
    )
    entry = "Types: deb\nURIs: {}\nSuites: {}\nComponents: main\nSigned-By: " + KEYRING + "\n\n"
    (sources / "mkosi.sources").write_text(
        entry.format(_mirror("debian"), "trixie") + entry.format(_mirror("debian-security"), "trixie-security")
    )
    for name in ("etc/ssl/certs/ca-certificates.crt", "etc/resolv.conf"):
        if Path("/", name).exists():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(Path("/", name), tree / name)


def _mirror(path: str) -> str:
    found = mirrors.from_apt().get(path, ())
    if not found:
        raise AbsentError("apt names no mirror")
    return found[0]


def _need_root_and(*programs: str) -> None:
    if os.geteuid() != 0:
        raise AbsentError("needs root")
    for program in programs:
        if shutil.which(program) is None:
            raise AbsentError(f"no {program}")
