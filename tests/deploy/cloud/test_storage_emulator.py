"""The same uploads to a service that is not ours, gcp-storage-emulator, and our CRC-32C beside Google's."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import requests

from interop import peers
from pluto_deploy.cloud.blocks import digests
from pluto_deploy.cloud.door import Door, Patience, Waiting
from pluto_deploy.google.storage import Storage
from pluto_measure.errors import VerificationError
from simulators import containers
from simulators.cloud.told import Kept
from simulators.cloud.wire import Loss, Reply, Request, serving

pytestmark = [pytest.mark.interop, pytest.mark.slow]

UNIT = 256 << 10
CRC = "import sys, google_crc32c as g; print(g.implementation, g.value(sys.stdin.buffer.read()))"


@pytest.fixture(scope="module")
def site() -> dict[str, str]:
    try:
        peers.need("python-gcs")
    except peers.AbsentError as error:
        pytest.skip(f"no peer: {error}")
    return {**os.environ, "PYTHONPATH": str(peers.BUILD / "python-gcs")}


@pytest.fixture(scope="module")
def base(site: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port, folder = containers.free_port(), tmp_path_factory.mktemp("gcs")
    argv = [sys.executable, "-B", "-m", "gcp_storage_emulator", "start", f"--port={port}", "--host=127.0.0.1"]
    argv += ["--in-memory", "--default-bucket=bucket"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(argv, env=site, stdout=log, stderr=log, cwd=folder)
    try:
        url = f"http://127.0.0.1:{port}"
        assert containers.wait_until(lambda: _answers(url), process), (folder / "log").read_text()
        yield url
    finally:
        process.terminate()
        process.wait(timeout=20)


def _answers(base: str) -> bool:
    try:
        return requests.get(f"{base}/storage/v1/b/bucket/o", timeout=5).status_code == 200
    except requests.ConnectionError:
        return False


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "gcp.tar.gz"
    path.write_bytes(os.urandom(3 * UNIT + 77))
    return path


def storage(base: str, patience: Patience, waiting: Waiting) -> Storage:
    door = Door("Google", lambda answer: ("", answer.body.decode()[:100]), patience=patience, waiting=waiting)
    return Storage(door, base=base, chunk=UNIT)


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_others_get_the_exact_bytes(
    base: str, file: Path, patience: Patience, waiting: Waiting, progress: Kept
) -> None:
    ours = storage(base, patience, waiting)
    stored = ours.upload(file, "bucket", sha256=sha256(file), progress=progress, labels={"release": "1"})
    query = {"alt": "media"}
    url = f"{base}/storage/v1/b/bucket/o/{quote(stored.name, safe='')}"
    assert requests.get(url, params=query, timeout=10).content == file.read_bytes()
    assert requests.get(url, timeout=10).json()["metadata"] == {"release": "1"}
    assert ours.upload(file, "bucket", sha256=sha256(file), progress=progress) == stored
    assert "already" in progress.steps[-1]
    assert stored in list(ours.listed("bucket"))
    ours.delete(stored)
    assert ours.look("bucket", stored.name) is None


@pytest.mark.parametrize("loss", Loss)
def test_it_goes_on_after_a_lost_connection(
    base: str, file: Path, patience: Patience, waiting: Waiting, progress: Kept, loss: Loss
) -> None:
    """A door between us loses connections; of half a chunk the emulator gets nothing.

    Not those of the first chunk: of an upload that has nothing it says that it has one byte.
    """

    def forward(request: Request) -> Reply:
        if not request.whole:
            return Reply(400)
        headers = {name: value for name, value in request.headers.items() if name not in ("host", "connection")}
        got = requests.request(request.method, base + request.target, headers=headers, data=request.body, timeout=10)
        told = {name: value for name, value in got.headers.items() if name.lower() in ("location", "range")}
        if "Location" in told:
            told["Location"] = told["Location"].replace(base, wire.url)
        return Reply(got.status_code, told, got.content)

    with serving(lambda _: forward) as wire:
        for begin in (f"bytes {UNIT}-", f"bytes {2 * UNIT}-", f"bytes {3 * UNIT}-"):
            wire.fail(loss, lambda request, begin=begin: request.headers.get("content-range", "").startswith(begin))  # type: ignore[misc]
        ours = storage(wire.url, patience, waiting)
        stored = ours.upload(file, "bucket", sha256=sha256(file), progress=progress)
        assert wire.faults == []
    assert stored.size == file.stat().st_size
    assert stored.crc32c == digests(file, crc=True).crc32c


def test_other_bytes_under_the_name_are_noticed(
    base: str, file: Path, patience: Patience, waiting: Waiting, progress: Kept
) -> None:
    ours = storage(base, patience, waiting)
    digest = sha256(file)
    query = {"uploadType": "media", "name": f"pluto-tee/{digest}/gcp.tar.gz"}
    requests.post(f"{base}/upload/storage/v1/b/bucket/o", params=query, data=b"other", timeout=10).raise_for_status()
    with pytest.raises(VerificationError, match="has 5 bytes"):
        ours.upload(file, "bucket", sha256=digest, progress=progress)


@pytest.mark.parametrize("size", [0, 1, 1023, 1025, 100_000, 5_000_001])
def test_google_computes_the_same_crc(site: dict[str, str], tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(size // 2) + bytes(size - size // 2))
    done = subprocess.run(
        [sys.executable, "-c", CRC], input=path.read_bytes(), env=site, capture_output=True, check=True, timeout=60
    )
    kind, value = done.stdout.split()
    assert kind == b"c"
    assert int(value) == digests(path, crc=True).crc32c
