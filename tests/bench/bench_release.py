"""All outputs of a build, rebuilding a release, verifying one as a process; beside tools that people have for parts."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from figures import Row, timed

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
RUNS = 5
DISKS = ("disk.raw", "disk.vhd")
# UKI and disk alone, as the build made them before it had other outputs.
ALONE = """
import sys
from pathlib import Path
from pluto_image import sparse
from pluto_image import build, source_tree
from pluto_image.formats import disk
from pluto_image import definition as definitions
from pluto_image.lock.lockfile import Lock
from pluto_image.inputs.store import Store, default_root

folder, out = Path(sys.argv[1]), Path(sys.argv[2])
lock = Lock.parse((folder / "lock.json").read_bytes())
image = build.build_image(definitions.load(folder), lock, Store(default_root()), source_tree.read(folder), "debug")
(out / "pluto.efi").write_bytes(image.uki)
sparse.write_sparse(out / "disk.raw", image.disk(), disk.SIZE)
"""


def rows(work: Path) -> Iterator[Row]:
    out, definition = work / "dist", ROOT / "image/notary"
    build: list[str | Path] = [
        BIN / "pluto-image",
        "build",
        definition,
        "--out",
        out,
        "--flavour",
        "debug",
        "--offline",
    ]
    timed(build)
    seconds, memory = [], []
    for _ in range(RUNS):
        shutil.rmtree(out)
        took, peak = timed(build)
        seconds.append(took)
        memory.append(peak)
    yield Row("all outputs, inputs cached", "s", tuple(seconds), 6)
    yield Row("peak memory of that build", "MiB", tuple(memory), 500)
    alone = [timed([sys.executable, "-c", ALONE, definition, work])[0] for _ in range(RUNS)]
    yield Row("UKI and disk alone", "s", tuple(alone), 4)
    rebuild = [timed([BIN / "pluto-image", "reproduce", out, "--offline"])[0] for _ in range(RUNS)]
    most = 1.3 * sorted(seconds)[RUNS // 2]
    yield Row("reproduce: rebuild and compare every byte", "s", tuple(rebuild), round(most, 2))
    yield from _differing(work, out)
    yield from _transport(work, out)
    yield from _verifying(work, out)


def _differing(work: Path, out: Path) -> Iterator[Row]:
    """Against the other flavour: another command line, os-release and build. Everything is read and compared."""
    other = work / "other"
    # A release asks for committed sources, and source.tar is an unpacked tree of its own.
    (work / "tree").mkdir()
    subprocess.run(["tar", "-xf", out / "source.tar", "-C", work / "tree"], check=True)
    definition = work / "tree/image/notary"
    timed([BIN / "pluto-image", "build", definition, "--out", other, "--flavour", "release", "--offline"])
    page = work / "page.html"
    words: list[str | Path] = [BIN / "pluto-image", "diff", out, other, "--json", "--html", page]
    seconds = [timed(words, code=5)[0] for _ in range(RUNS)]
    yield Row("diff: two releases, down to registers, as a process", "s", tuple(seconds), 3)
    yield Row("its page", "KiB", (page.stat().st_size / 1024,), 300)


def _transport(work: Path, out: Path) -> Iterator[Row]:
    """Our writers inside the build, told by the tools that make the same formats from the same disk."""
    tar = [
        timed(["tar", "--format=oldgnu", "-S", "-czf", work / "peer.tar.gz", "-C", out, "disk.raw"])[0]
        for _ in range(3)
    ]
    ours = [timed([sys.executable, "-c", _GCP, out / "pluto.efi", work / "ours.tar.gz"])[0] for _ in range(RUNS)]
    yield Row("Google's archive from the UKI, as a process", "s", tuple(ours), None, "tar -S and gzip", tuple(tar))
    if shutil.which("qemu-img"):
        convert: list[str | Path] = [
            "qemu-img",
            "convert",
            "-f",
            "raw",
            "-O",
            "vpc",
            "-o",
            "subformat=fixed,force_size",
        ]
        peer = [timed([*convert, out / "disk.raw", work / "peer.vhd"])[0] for _ in range(3)]
        made = [timed([sys.executable, "-c", _VHD, out / "pluto.efi", work / "ours.vhd"])[0] for _ in range(RUNS)]
        yield Row("fixed VHD from the UKI, as a process", "s", tuple(made), None, "qemu-img convert", tuple(peer))


def _verifying(work: Path, out: Path) -> Iterator[Row]:
    key, public, trust = work / "key.pem", work / "public.pem", work / "trust.toml"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", key], check=True, capture_output=True)
    key.chmod(0o600)
    subprocess.run(["openssl", "pkey", "-in", key, "-pubout", "-out", public], check=True)
    subprocess.run([BIN / "pluto-measure", "sign", out / "release.json", "--key", key], check=True, capture_output=True)
    made = subprocess.run([BIN / "pluto-measure", "trust", "--key", f"me={public}"], check=True, capture_output=True)
    trust.write_bytes(made.stdout)
    verify: list[str | Path] = [BIN / "pluto-measure", "release", out, "--trust", trust, "--allow-debug"]
    check: list[str | Path] = ["sh", "-c", f"cd {out} && sha256sum --quiet --ignore-missing -c SHA256SUMS"]
    whole, peer = [timed(verify)[0] for _ in range(RUNS)], [timed(check)[0] for _ in range(RUNS)]
    name = "verify a release with its disks (2 GiB more), as a process"
    yield Row(name, "s", tuple(whole), None, "sha256sum alone", tuple(peer))
    for disk in DISKS:
        (out / disk).unlink()
    usual, peer = [timed(verify)[0] for _ in range(RUNS)], [timed(check)[0] for _ in range(RUNS)]
    yield Row("verify a release, as a process", "s", tuple(usual), 0.5, "sha256sum alone", tuple(peer))


_GCP = """
import sys
from pathlib import Path
from pluto_image.formats.disk import SIZE, disk
from pluto_image.outputs.gcp import archive
Path(sys.argv[2]).write_bytes(b"".join(archive(SIZE, disk(Path(sys.argv[1]).read_bytes()), 0)))
"""
_VHD = """
import sys
from pathlib import Path
from pluto_image.formats.disk import SIZE, disk
from pluto_image.sparse import write_sparse
from pluto_image.outputs.vhd import fixed
write_sparse(Path(sys.argv[2]), fixed(SIZE, disk(Path(sys.argv[1]).read_bytes())), SIZE + 512)
"""
