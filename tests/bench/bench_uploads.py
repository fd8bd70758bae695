"""The real build to pretended clouds: seconds, requests in flight, memory; beside curl and skopeo.

Each cloud is a process of its own and takes 200 ms for an answer, as one far away does that gets a MiB; so is each
upload.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from figures import Row, timed

from pluto_deploy.cloud.blocks import Blocks
from pluto_image.artifact import Dist
from simulators import containers

ROOT = Path(__file__).resolve().parents[2]
RUNS = 5
DELAY = 0.2  # seconds
MOST = 64  # MiB
SERVER = """
import json, sys
from simulators.cloud import gcs, page_blobs
from pluto_deploy.cloud.crc32c import crc32c
gcs.crc32c = crc32c  # the one by definition takes seconds
kind, delay, size = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
with page_blobs.blob(size) if kind == "azure" else gcs.buckets() as service:
    service.wire.keep_bodies, service.wire.delay = False, delay
    print(service.grant() if kind == "azure" else service.wire.url, flush=True)
    sys.stdin.read()
    print(json.dumps(service.wire.flights))
"""
CLIENT = """
import sys, time
from pathlib import Path
from pluto_measure.progress import Silent
kind, url, sha256, path = *sys.argv[1:4], Path(sys.argv[4])
if kind == "azure":
    from pluto_deploy.azure.page_blob import upload
    act = lambda: upload(path, lambda *, fresh=False: url, sha256=sha256, progress=Silent())
elif kind == "google":
    from pluto_deploy.cloud.door import Door
    from pluto_deploy.google.storage import Storage
    door = Door("Google", lambda answer: ("", ""), token=lambda *, fresh=False: "Bearer first")
    act = lambda: Storage(door, base=url).upload(path, "bucket", sha256=sha256, progress=Silent())
else:
    from pluto_deploy.cloud.layout import Image
    from pluto_deploy.cloud.registry import Registry
    act = lambda: Registry(url, sys.argv[5], None).push(Image.read(path, sha256), progress=Silent())
begun = time.monotonic()
act()
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(time.monotonic() - begun, int(peak) / 1024)
"""


def rows(work: Path) -> Iterator[Row]:
    out = work / "dist"
    words: list[str | Path] = ["build", ROOT / "image/notary", "--out", out, "--flavour", "debug", "--offline"]
    subprocess.run([Path(sys.executable).parent / "pluto-image", *words], check=True, stdout=subprocess.DEVNULL)
    dist = Dist.open(out)
    yield from _azure(dist, work)
    yield from _google(dist)
    yield from _registry(dist, work)


def _azure(dist: Dist, work: Path) -> Iterator[Row]:
    disk = dist.root / "disk.vhd"
    size = disk.stat().st_size
    runs, few = [], []
    for _ in range(RUNS):
        with _serving("azure", size) as (url, flights):
            runs.append(_upload("azure", url, dist.sums["disk.vhd"], disk))
        few.append(_share_below(4, flights))
    peer = []
    for run in range(RUNS if shutil.which("curl") else 0):
        with _serving("azure", size) as (url, _):
            peer.append(timed(["curl", "-sf", "-K", _curl(disk, url, work / f"curl-{run}")])[0])
    seconds, memory = tuple(run[0] for run in runs), tuple(run[1] for run in runs)
    yield Row("the disk of 1 GiB as a page blob", "s", seconds, None, "curl, its data block by block", tuple(peer))
    yield Row("time of that with fewer than 4 requests in flight", "%", tuple(few), 20)
    yield Row("peak memory of that", "MiB", memory, MOST)


def _google(dist: Dist) -> Iterator[Row]:
    archive, digest = dist.root / "gcp.tar.gz", dist.sums["gcp.tar.gz"]
    runs, peer = [], []
    for _ in range(RUNS):
        with _serving("google", 0) as (url, _):
            runs.append(_upload("google", url, digest, archive))
            if shutil.which("curl"):
                peer.append(timed(["bash", "-c", _RESUMABLE, "curl", url, archive])[0])
    seconds, memory = tuple(run[0] for run in runs), tuple(run[1] for run in runs)
    yield Row("the archive as an object", "s", seconds, None, "curl, one PUT, not resumable, no CRC", tuple(peer))
    yield Row("peak memory of that", "MiB", memory, MOST)


# A session, and the whole file in one request.
_RESUMABLE = """set -e
size=$(stat -c %s "$2")
ask() { curl -sf -H "Authorization: Bearer first" "$@"; }
to=$(ask -D - -o /dev/null -H "X-Upload-Content-Length: $size" -d '{"name":"peer"}' \
    "$1/upload/storage/v1/b/bucket/o?uploadType=resumable" | sed -n 's/^Location: //Ip' | tr -d '\\r')
ask -o /dev/null -X PUT -H "Content-Range: bytes 0-$((size - 1))/$size" -T "$2" "$to"
"""


def _registry(dist: Dist, work: Path) -> Iterator[Row]:
    container = dist.launch.container
    if container is None or not shutil.which("docker-registry", path=os.environ["PATH"] + ":/usr/sbin"):
        return
    layout, runs, peer = dist.root / "oci", [], []
    for run in range(RUNS):  # an empty one each: skopeo has a registry mount what another of its repositories has
        with _docker_registry(work / f"registry-{run}") as url:
            runs.append(_upload("registry", url, container.manifest_digest, layout, "ours"))
        if shutil.which("skopeo"):
            with _docker_registry(work / f"registry-{run}-peer") as url:
                to = f"docker://{url.removeprefix('http://')}/theirs:x"
                how = ["--insecure-policy", "copy", "-q", "--preserve-digests", "--dest-tls-verify=false"]
                peer.append(timed(["skopeo", *how, f"oci:{layout}", to])[0])
    seconds, memory = tuple(run[0] for run in runs), tuple(run[1] for run in runs)
    yield Row("the container to a registry beside it", "s", seconds, None, "skopeo copy", tuple(peer))
    yield Row("peak memory of that", "MiB", memory, MOST)


@contextmanager
def _serving(kind: str, size: int) -> Iterator[tuple[str, list[tuple[float, int]]]]:
    """The URL of a cloud, and how many requests were in flight since when, which is known at the end."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    argv = [sys.executable, "-c", SERVER, kind, str(DELAY), str(size)]
    flights: list[tuple[float, int]] = []
    with subprocess.Popen(argv, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip(), flights
        flights += json.loads(process.communicate("")[0])
    assert process.returncode == 0


@contextmanager
def _docker_registry(folder: Path) -> Iterator[str]:
    folder.mkdir()
    port = containers.free_port()
    configuration = {
        "version": "0.1",
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    (folder / "config.yml").write_text(json.dumps(configuration))
    process = subprocess.Popen(
        [containers.tool("docker-registry"), "serve", str(folder / "config.yml")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}/v2/"
        # curl takes any answer for one
        assert containers.wait_until(
            lambda: subprocess.run(["curl", "-so", os.devnull, url], check=False).returncode == 0, process
        )
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _upload(kind: str, url: str, digest: str, path: Path, *more: str) -> tuple[float, float]:
    """Seconds, and MiB that the process had at most by itself: what wait4(2) tells begins with that of its parent."""
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, kind, url, digest, str(path), *more], check=True, capture_output=True
    )
    seconds, peak = map(float, done.stdout.split())
    return seconds, peak


def _share_below(least: int, flights: list[tuple[float, int]]) -> float:
    """Per cent of the time that fewer were in flight, while there was more to send.

    The disk's last blocks, the second partition table and the footer, come after a GiB of zeros that are hashed: what
    counts is the time until then, without that in which the last requests end.
    """
    idle = max((later - now, at) for at, ((now, number), (later, _)) in enumerate(pairwise(flights)) if number == 0)
    sent = flights[: idle[1] + 1]
    last = max(at for at, ((_, before), (_, after)) in enumerate(pairwise(sent), 1) if after > before)
    spans = [(later - now, number) for (now, number), (later, _) in pairwise(sent[: last + 1])]
    return 100 * sum(time for time, number in spans if number < least) / sum(time for time, _ in spans)


def _curl(disk: Path, url: str, folder: Path) -> Path:
    """What curl is to send: the same blocks, one after the other."""
    folder.mkdir()
    parts = []
    for block in Blocks(disk):
        (folder / str(block.offset)).write_bytes(block.data)
        md5 = b64encode(hashlib.md5(block.data, usedforsecurity=False).digest()).decode()
        parts.append(
            f'url = "{url}&comp=page"\nupload-file = "{folder / str(block.offset)}"\n'
            f'header = "x-ms-version: 2023-11-03"\nheader = "x-ms-page-write: update"\nheader = "Content-MD5: {md5}"\n'
            f'header = "x-ms-range: bytes={block.offset}-{block.end - 1}"\nheader = "Expect:"\n'
        )
    config = folder / "config"
    config.write_text("next\n".join(parts))
    return config
