"""The notary's container held against other people's tools: skopeo, a registry, a Docker daemon, containerd."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import docker
import pytest
import requests

from pluto_image.outputs import oci
from pluto_notary import __version__
from simulators import containers

pytestmark = [pytest.mark.interop, pytest.mark.slow]

MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
HEALTH: Final = (200, {"status": "ok", "version": __version__, "buildId": containers.BUILD_ID})
NO_EVIDENCE: Final = (503, {"error": {"code": "device", "message": "evidence cannot be had now"}})
EVENTS: Final = [
    f"pluto: started component=notary version={__version__}",
    f"pluto: ready port=8443 buildid={containers.BUILD_ID}",
    "pluto: refused code=device",
    "pluto: stopping component=notary",
]


@pytest.fixture(scope="module")
def layout() -> oci.Layout:
    """The notary's container, of the locked inputs."""
    return containers.layout(containers.locked_root())


@pytest.fixture(scope="module")
def folder(layout: oci.Layout, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a build lays it."""
    return containers.lay(layout.files, tmp_path_factory.mktemp("container") / "oci")


def program(name: str) -> str:
    try:
        return containers.tool(name)
    except LookupError as error:
        pytest.skip(f"no peer: {error}")


def skopeo(*words: str | Path) -> str:
    argv = [program("skopeo"), "--insecure-policy", *map(str, words)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


class TestSkopeo:
    def test_it_reads_the_layout(self, layout: oci.Layout, folder: Path) -> None:
        found = json.loads(skopeo("inspect", f"oci:{folder}"))
        config = containers.config(layout.files)
        assert found["Digest"] == layout.container.manifest_digest
        assert found["Layers"] == config["rootfs"]["diff_ids"]
        assert found["Labels"] == config["config"]["Labels"]
        assert found["Env"] == config["config"]["Env"]
        assert (found["Os"], found["Architecture"]) == ("linux", "amd64")
        assert json.loads(skopeo("inspect", "--config", f"oci:{folder}")) == config

    def test_a_copy_is_the_same_where_it_may_not_compress(
        self, layout: oci.Layout, folder: Path, tmp_path: Path
    ) -> None:
        skopeo("copy", "--preserve-digests", f"oci:{folder}", f"oci:{tmp_path}/copy:x")
        index = json.loads((tmp_path / "copy/index.json").read_bytes())
        assert index["manifests"][0]["digest"] == layout.container.manifest_digest
        copied = {path.name: path.read_bytes() for path in (tmp_path / "copy/blobs/sha256").iterdir()}
        ours = {path.name: path.read_bytes() for path in (folder / "blobs/sha256").iterdir()}
        assert copied == ours

    def test_it_reads_the_archive_that_docker_loads(self, layout: oci.Layout, tmp_path: Path) -> None:
        archive = tmp_path / "oci.tar"
        archive.write_bytes(containers.archive(layout.files))
        config = containers.config(layout.files)
        assert json.loads(skopeo("inspect", "--config", f"docker-archive:{archive}")) == config
        assert json.loads(skopeo("inspect", f"oci-archive:{archive}"))["Digest"] == layout.container.manifest_digest


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Debian's docker-registry on a free port of this machine; its base URL."""
    binary, folder = program("docker-registry"), tmp_path_factory.mktemp("registry")
    port = containers.free_port()
    configuration = {
        "version": "0.1",
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    (folder / "config.yml").write_text(json.dumps(configuration))  # YAML 1.2 takes JSON
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([binary, "serve", str(folder / "config.yml")], stdout=log, stderr=log)
    try:
        assert containers.wait_until(lambda: answers(f"http://127.0.0.1:{port}/v2/"), process), (
            folder / "log"
        ).read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).status_code == 200
    except requests.ConnectionError:
        return False


def push(base: str, files: Mapping[str, bytes], tag: str) -> requests.Response:
    """Push the exact bytes of a layout (OCI distribution specification 1.1, "Pushing manifests"); the last answer."""
    with requests.Session() as session:
        (entry,) = json.loads(files["index.json"])["manifests"]
        manifest = files["blobs/" + entry["digest"].replace(":", "/")]
        document = json.loads(manifest)
        for blob in (document["config"], *document["layers"]):
            begun = session.post(f"{base}/v2/notary/blobs/uploads/", timeout=30)
            assert begun.status_code == 202, begun.text
            data = files["blobs/" + blob["digest"].replace(":", "/")]
            headers = {"Content-Type": "application/octet-stream"}
            place = begun.headers["Location"]
            put = session.put(place, params={"digest": blob["digest"]}, data=data, headers=headers, timeout=60)
            if put.status_code != 201:
                return put
        headers = {"Content-Type": entry["mediaType"]}
        return session.put(f"{base}/v2/notary/manifests/{tag}", data=manifest, headers=headers, timeout=30)


class TestRegistry:
    def test_it_keeps_the_bytes_and_the_digest(self, layout: oci.Layout, registry: str, tmp_path: Path) -> None:
        pushed = push(registry, layout.files, "exact")
        assert pushed.status_code == 201, pushed.text
        assert pushed.headers["Docker-Content-Digest"] == layout.container.manifest_digest
        for reference in ("exact", layout.container.manifest_digest):
            got = requests.get(f"{registry}/v2/notary/manifests/{reference}", headers={"Accept": MANIFEST}, timeout=30)
            assert got.headers["Docker-Content-Digest"] == layout.container.manifest_digest
            assert got.content == layout.files["blobs/" + layout.container.manifest_digest.replace(":", "/")]
        remote = f"docker://{registry.removeprefix('http://')}/notary:exact"
        found = json.loads(skopeo("inspect", "--tls-verify=false", remote))
        assert found["Digest"] == layout.container.manifest_digest
        options = ["--src-tls-verify=false", "--preserve-digests", "--remove-signatures"]  # there are none to look for
        skopeo("copy", *options, remote, f"oci:{tmp_path}/pulled:x")
        for name, data in layout.files.items():
            if name.startswith("blobs/"):
                assert (tmp_path / "pulled" / name).read_bytes() == data

    def test_it_refuses_another_layer_under_the_same_digest(self, layout: oci.Layout, registry: str) -> None:
        layer = containers.config(layout.files)["rootfs"]["diff_ids"][0]
        name = "blobs/" + layer.replace(":", "/")
        changed = {**layout.files, name: layout.files[name][:-1] + b"x"}
        refused = push(registry, changed, "changed")
        assert refused.status_code == 400
        assert refused.json()["errors"][0]["code"] == "DIGEST_INVALID"


class Daemon:
    """A Docker daemon with a folder and a containerd of its own, that makes no networks."""

    def __init__(self, folder: Path, address: str) -> None:
        self.containerd = folder / "exec/containerd/containerd.sock"
        self.client = docker.DockerClient(base_url=address, timeout=60)

    def ctr(self, *words: str) -> str:
        argv = [program("ctr"), "--address", str(self.containerd), "--namespace", "notary", *words]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Starts one as root; skips where none can be started."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    folder = tmp_path_factory.mktemp("docker")
    for name in ("containerd", "runc"):
        program(name)
    argv = [program("dockerd"), "--host", f"unix://{folder}/docker.sock", "--data-root", str(folder / "data")]
    argv += ["--exec-root", str(folder / "exec"), "--pidfile", str(folder / "pid")]
    argv += ["--bridge=none", "--iptables=false", "--ip-forward=false", "--ip-masq=false"]
    paths = os.environ["PATH"] + ":/usr/local/sbin:/usr/sbin:/sbin"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(argv, env={**os.environ, "PATH": paths}, stdout=log, stderr=log)
    try:
        if not containers.wait_until(lambda: listens(folder / "docker.sock"), process):
            last = (folder / "log").read_text(errors="replace").strip().splitlines()[-1:]
            pytest.skip(f"no peer: no Docker daemon can be started here: {last}")
        found = Daemon(folder, f"unix://{folder}/docker.sock")
        yield found
        found.client.close()
    finally:
        process.terminate()
        process.wait(timeout=60)


def listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


@pytest.mark.root
class TestDocker:
    def test_it_loads_the_image_under_our_digest_and_name(self, layout: oci.Layout, daemon: Daemon) -> None:
        (image,) = daemon.client.images.load(containers.archive(layout.files))
        assert image.id == layout.container.image_id
        assert image.tags == [f"localhost/pluto-notary:debug-{containers.BUILD_ID}"]
        found, ours = image.attrs["Config"], containers.config(layout.files)["config"]
        assert {name: found[name] for name in ours} == ours
        assert not found["Cmd"]
        assert image.attrs["RootFS"]["Layers"] == containers.config(layout.files)["rootfs"]["diff_ids"]

    def test_it_runs_serves_and_stops(self, layout: oci.Layout, daemon: Daemon) -> None:
        (image,) = daemon.client.images.load(containers.archive(layout.files))
        # Less than any engine gives: nothing to write to, no network but its own loopback, and no capability but
        # those to become another user and to end that user's process. The notary has none of them.
        container = daemon.client.containers.run(
            image, detach=True, network_mode="none", read_only=True,
            cap_drop=["ALL"], cap_add=["SETUID", "SETGID", "KILL"],
            security_opt=["no-new-privileges"], pids_limit=64, mem_limit="192m",
        )  # fmt: skip
        try:
            container.reload()
            pid = container.attrs["State"]["Pid"]
            answers = containers.ask(pid, "/health", "/v1/evidence?nonce=00")
            assert answers == {"/health": HEALTH, "/v1/evidence?nonce=00": NO_EVIDENCE}
            (notary,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            status = Path(f"/proc/{notary}/status").read_text()
            assert "Uid:\t990\t990\t990\t990\n" in status
            assert "CapEff:\t0000000000000000\n" in status
            begun = time.monotonic()
            container.stop(timeout=20)
            assert time.monotonic() - begun < 15, "it did not heed the signal"
            assert container.wait()["StatusCode"] == 0
            assert list(dict.fromkeys(container.logs().decode().splitlines())) == EVENTS
        finally:
            container.remove(force=True)


@pytest.mark.root
class TestContainerd:
    """What Confidential Space's launcher runs containers by, without Docker on top."""

    def test_it_measures_our_digest_and_starts_with_our_arguments(
        self, layout: oci.Layout, daemon: Daemon, tmp_path: Path
    ) -> None:
        (tmp_path / "oci.tar").write_bytes(containers.archive(layout.files))
        name = f"localhost/pluto-notary:debug-{containers.BUILD_ID}"
        assert name in daemon.ctr("images", "import", str(tmp_path / "oci.tar"))
        _, line = daemon.ctr("images", "list", f"name=={name}").splitlines()
        assert layout.container.manifest_digest in line.split()
        daemon.ctr("run", "--detach", name, "one")
        try:
            spec = json.loads(daemon.ctr("containers", "info", "one"))["Spec"]["process"]
            assert tuple(spec["args"]) == layout.container.args
            assert spec["env"] == [f"{key}={value}" for key, value in layout.container.env]
            assert (spec["user"]["uid"], spec["user"]["gid"]) == (0, 0), "it gives that up by itself"
            pid = int(next(line.split()[1] for line in daemon.ctr("tasks", "list").splitlines() if "one" in line))
            assert containers.ask(pid, "/health") == {"/health": HEALTH}
        finally:
            daemon.ctr("tasks", "kill", "--signal", "SIGTERM", "one")
            assert containers.wait_until(lambda: "STOPPED" in daemon.ctr("tasks", "list"))
            daemon.ctr("tasks", "delete", "one")
            daemon.ctr("containers", "delete", "one")
            daemon.ctr("images", "remove", name)
