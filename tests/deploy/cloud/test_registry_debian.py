"""The same pushes to a registry that is not ours: Debian's docker-registry, which asks a token server of ours."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from pluto_deploy.cloud.door import CloudError, Patience, Waiting
from pluto_deploy.cloud.layout import Image
from pluto_deploy.cloud.registry import Registry
from simulators import containers
from simulators.cloud.layouts import lay
from simulators.cloud.token_server import ISSUER, SERVICE, TokenServer, tokens
from simulators.cloud.told import Kept

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def server() -> Iterator[TokenServer]:
    with tokens() as made:
        yield made


@pytest.fixture(scope="module")
def base(server: TokenServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    try:
        program = containers.tool("docker-registry")
    except LookupError as error:
        pytest.skip(f"no peer: {error}")
    folder, port = tmp_path_factory.mktemp("registry"), containers.free_port()
    (folder / "root.pem").write_bytes(server.pem)
    (folder / "config.yml").write_text(json.dumps({
        "version": "0.1",
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
        "http": {"addr": f"127.0.0.1:{port}"},
        "auth": {"token": {
            "realm": f"{server.wire.url}/token", "service": SERVICE, "issuer": ISSUER,
            "rootcertbundle": str(folder / "root.pem"),
        }},
    }))  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "serve", str(folder / "config.yml")], stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        assert containers.wait_until(lambda: _answers(f"{url}/v2/"), process), (folder / "log").read_text()
        yield url
    finally:
        process.terminate()
        process.wait(timeout=20)


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).status_code == 401
    except requests.ConnectionError:
        return False


@pytest.fixture
def image(tmp_path: Path) -> Image:
    return Image.read(*lay(tmp_path / "oci", 300_000))


class Desk:
    def __init__(self, base: str, name: str, patience: Patience, waiting: Waiting) -> None:
        self.registry = Registry(base, name, _login, patience=patience, waiting=waiting)
        self.base, self.name = base, name

    def manifest(self, server: TokenServer, reference: str) -> requests.Response:
        """What somebody else gets."""
        query = {"service": SERVICE, "scope": f"repository:{self.name}:pull"}
        given = requests.get(f"{server.wire.url}/token", params=query, auth=("pusher", "word"), timeout=10)
        headers = {"Authorization": f"Bearer {given.json()['token']}", "Accept": "*/*"}
        headers["Accept"] = "application/vnd.oci.image.manifest.v1+json"
        return requests.get(f"{self.base}/v2/{self.name}/manifests/{reference}", headers=headers, timeout=10)


def _login(*, fresh: bool = False) -> tuple[str, str]:
    del fresh
    return "pusher", "word"


@pytest.fixture
def desk(base: str, patience: Patience, waiting: Waiting, request: pytest.FixtureRequest) -> Desk:
    name = "project/" + hashlib.sha256(request.node.name.encode()).hexdigest()[:12]
    return Desk(base, name, patience, waiting)


def test_others_get_the_exact_bytes(desk: Desk, image: Image, server: TokenServer, progress: Kept) -> None:
    assert not desk.registry.holds(image)
    desk.registry.push(image, progress=progress, tag="exact")
    assert desk.registry.holds(image)
    for reference in ("exact", image.digest):
        got = desk.manifest(server, reference)
        assert got.content == image.manifest
        assert got.headers["Docker-Content-Digest"] == image.digest


def test_a_second_push_sends_no_blob(desk: Desk, image: Image, progress: Kept) -> None:
    desk.registry.push(image, progress=progress)
    desk.registry.push(image, progress=progress)
    assert sum("there already" in step for step in progress.steps) == len(image.blobs)


def test_a_token_that_ran_out_is_replaced(desk: Desk, image: Image, server: TokenServer, progress: Kept) -> None:
    server.lifetime = -100  # more than the registry's tolerance
    try:
        with pytest.raises(CloudError) as caught:
            desk.registry.push(image, progress=progress)
        assert caught.value.status == 401
    finally:
        server.lifetime = 60
    desk.registry.push(image, progress=progress)
    assert desk.registry.holds(image)


def test_who_may_not_push_is_told(desk: Desk, image: Image, server: TokenServer, progress: Kept) -> None:
    server.actions = ("pull",)
    try:
        with pytest.raises(CloudError) as caught:
            desk.registry.push(image, progress=progress)
        assert caught.value.status in (401, 403)
        assert caught.value.code in ("UNAUTHORIZED", "DENIED")
    finally:
        server.actions = ("pull", "push")


def test_a_blob_that_changed_is_refused_by_the_registry(desk: Desk, image: Image, progress: Kept) -> None:
    image.blobs[1].path.write_bytes(b"x" * image.blobs[1].size)
    with pytest.raises(CloudError, match="DIGEST_INVALID"):
        desk.registry.push(image, progress=progress)


def test_a_manifest_is_deleted(desk: Desk, image: Image, server: TokenServer, progress: Kept) -> None:
    server.actions = ("pull", "push", "delete")
    desk.registry.push(image, progress=progress)
    desk.registry.delete(image.digest)
    assert not desk.registry.holds(image)
