"""Building with cached inputs, again with nothing changed, and what peers need for the same packages."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import peers
from figures import Row, timed

ROOT = Path(__file__).resolve().parents[2]
RUNS = 5
PEER_RUNS = 3


def rows(work: Path) -> Iterator[Row]:
    out = work / "dist"
    build: list[str | Path] = [Path(sys.executable).parent / "pluto-image", "build", ROOT / "image/notary"]
    build += ["--out", out, "--flavour", "debug", "--offline"]
    timed(build)
    fresh = []
    for _ in range(RUNS):
        shutil.rmtree(out)
        fresh.append(timed(build))
    again = [timed(build) for _ in range(RUNS)]
    rehashed = [timed([*build, "--check"]) for _ in range(RUNS)]

    peer, peer_size = "mkosi", 0.0
    peer_values: tuple[float, ...] = ()
    try:
        seconds, peer_size = peers.mkosi(work / "mkosi", PEER_RUNS)
        peer_values = tuple(seconds)
    except peers.AbsentError as why:
        peer = f"mkosi: {why}"
    yield Row("build, inputs cached", "s", tuple(s for s, _ in fresh), 6, peer, peer_values)
    yield Row("peak memory of that build", "MiB", tuple(m for _, m in fresh), 500)
    try:
        yield Row(
            "build", "s", tuple(s for s, _ in fresh), None, "mmdebstrap (tar, downloads included)",
            tuple(peers.mmdebstrap(work, PEER_RUNS)),
        )  # fmt: skip
    except peers.AbsentError as why:
        print(f"bench: mmdebstrap left out: {why}", file=sys.stderr)
    yield Row("build again, nothing changed", "s", tuple(s for s, _ in again), 0.5)
    yield Row("build again with --check", "s", tuple(s for s, _ in rehashed))
    uki = (out / "pluto.efi").stat().st_size / 1e6
    yield Row("UKI", "MB", (uki,), 30, peer, (peer_size,) if peer_size else ())
    packages = len(json.loads((out / "lock.json").read_text())["image"])
    yield Row("packages", "", (float(packages),), 60)
