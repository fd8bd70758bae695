"""What a reader of the pages about clouds has: a pretended cloud, and a `pluto-deploy` that finds it. For tests alone.

    with desk(tmp_path, kind) as mine:
        mine.release("release-1", 1); mine.run("pluto-deploy plan notary.toml")

Commands run in a child process each, as `cloud_reader`; the fakes, and the machines' notaries, are in this one.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

from cryptography import x509

from pluto_deploy.engine.target import Address
from pluto_measure.collateral.endorsement_store import EndorsementStore
from pluto_measure.collateral.store import Store
from pluto_measure.formats.collateral import Collateral
from pluto_measure.formats.collateral_bundle import Bundle
from pluto_measure.verify.launch_endorsement import verify_endorsement
from simulators import cloud_deployments, cloud_reader, endorsements, intel, programs
from simulators.azure_cloud import server as azure_server
from simulators.azure_cloud.server import Azure
from simulators.cloud.gcs import Gcs, buckets
from simulators.cloud.oci_registry import registry
from simulators.cloud_deployments import AZURE, SPACE, TDX
from simulators.cloud_stories import AzureFake, Cloud, GoogleFake, Held, Machine
from simulators.collateral_keeper import items
from simulators.google import worlds as google
from simulators.google.cloud import serving
from simulators.google.state import PROJECT
from simulators.notaries import notary, of_machine
from simulators.served import served
from simulators.trust_domains import TrustDomain

SECONDS = 60


@dataclass
class Desk:
    """`work`: the reader's folder; `world`: what WORLD.json says; `builds`: statements to names and modes."""

    root: Path
    kind: str
    cloud: Cloud
    world: dict[str, str]
    azure: Azure | None = None
    builds: dict[str, tuple[str, str]] = field(default_factory=dict)
    open: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    said: str = ""

    @property
    def work(self) -> Path:
        return self.root / "work"

    def release(self, name: str, sequence: int, *, mode: str = "honest") -> None:
        """A signed release in the reader's folder."""
        folder = cloud_deployments.release(self.work / name, name, sequence, mode=mode)
        statement = hashlib.sha256((folder / "release.json").read_bytes()).hexdigest()
        self.builds[statement] = self.builds[str(sequence)] = (name, mode)

    def files(self) -> None:
        """Trust file, policy, collateral, and what evidence needs beside them."""
        cloud_deployments.write(self.work, self.kind, self.work / "release-1")
        (self.work / "DEPLOYMENT.toml").unlink()

    def policy(self) -> None:
        """The operator's policy, which accepts what this project's own Intel, Google and Microsoft sign."""
        (self.work / "policy.toml").write_text(cloud_deployments.policy(self.kind))

    def kept(self) -> None:
        """What a person fetched into the state directory: Intel's collateral, Google's endorsement."""
        folder = self.root / "state/pluto-tee"
        collateral = Collateral.parse((self.work / "collateral.json").read_bytes())
        Store(folder).keep(items(Bundle.of_collateral(collateral, ca="platform", fetched_at=intel.NOW)))
        if self.kind == TDX:
            data = (self.work / "endorsement.binarypb").read_bytes()
            mrtd = TrustDomain(kind="gcp-tdx").registers()["mrtd"]
            verified = verify_endorsement(data, at=intel.NOW, roots=frozenset({endorsements.ROOT}))
            EndorsementStore(folder).keep(verified, mrtd, data)

    def certified(self, path: Path) -> None:
        """An operator registers the certificate in a file with the application, by hand."""
        assert self.azure is not None
        self.azure.logins.certificates.append(x509.load_pem_x509_certificate(path.read_bytes()))

    def run(self, command: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """As a reader types it."""
        path = os.pathsep.join([str(self.root / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
        env = {**os.environ, **environ, "PATH": path, "HOME": str(self.root / "home")}
        env["XDG_STATE_HOME"] = str(self.root / "state")
        done = subprocess.run(
            ["bash", "-c", command], cwd=self.work, env=env, capture_output=True, text=True, timeout=SECONDS
        )
        self.said += done.stdout + done.stderr
        return done

    def answer(self, path: str, query: Mapping[str, list[str]]) -> Any:
        """What `cloud_reader` asks. None: nothing."""
        if path == "/machine":
            return self._machine(Address(query["host"][0], int(query["port"][0])))
        assert self.azure is not None
        if path == "/sleep":
            self.azure.cloud.now += float(query["seconds"][0])
        return self.azure.cloud.now

    def _machine(self, address: Address) -> int | None:
        """The port where the machine with this address answers, from now on."""
        seen = self.cloud.machine(address, self.builds)
        if seen is None:
            return None
        machine = Machine(self.kind, seen)
        port, machine.key = self.open.enter_context(notary(of_machine(machine)))
        return port


@contextlib.contextmanager
def desk(root: Path, kind: str) -> Iterator[Desk]:
    """A cloud with nothing of ours in it, and a folder with nothing in it."""
    for name in ("work", "home", "bin"):
        (root / name).mkdir(parents=True)
    with _fake(root, kind) as made, made.open, _answering(made) as url:
        world = {**made.world, "desk": url, "now": intel.NOW.isoformat()}
        (root / "world.json").write_text(json.dumps(world))
        words = f"[{str(root / 'world.json')!r}, *sys.argv[1:]]"
        programs.program(
            root / "bin", "pluto-deploy", f"from {cloud_reader.__name__} import main\nsys.exit(main({words}))"
        )
        yield made


@contextlib.contextmanager
def _fake(root: Path, kind: str) -> Iterator[Desk]:
    if kind == AZURE:
        with azure_server.running() as fake:
            world = {"cloud": "azure", "url": fake.base}
            yield Desk(root, kind, AzureFake(fake), world, azure=fake)
            assert fake.failures == []
        return
    place = f"{PROJECT}/notaries/{cloud_deployments.NAME}"
    with serving() as served, buckets() as gcs, registry(place) as containers:
        cloud = google.World(root, served, google.SPACE if kind == SPACE else google.TDX, insist=False)
        containers.challenge, gcs.tokens = None, cast(Any, Held(cloud))
        gcs.objects = _Shown(gcs, cloud)
        urls = {"cloud": "google", "url": served.url, "bucket": gcs.wire.url, "registry": containers.wire.url}
        login = root / "home/.config/gcloud/application_default_credentials.json"
        login.parent.mkdir(parents=True)
        login.write_text(json.dumps(served.tokens.authorized_user()))
        yield Desk(root, kind, GoogleFake(cloud, gcs, containers), urls)
        assert gcs.wire.complaints == containers.wire.complaints == []


class _Shown(dict[tuple[str, str], dict[str, Any]]):
    """Objects of a bucket, out of which the other fake makes its images."""

    def __init__(self, gcs: Gcs, world: google.World) -> None:
        super().__init__()
        self._gcs, self._state = gcs, world.cloud.state

    def __setitem__(self, place: tuple[str, str], members: dict[str, Any]) -> None:
        super().__setitem__(place, members)
        content = self._gcs.content[place]
        self._state.objects[place[1]] = (content, int(members["generation"]), self._state.wall)

    def __delitem__(self, place: tuple[str, str]) -> None:
        super().__delitem__(place)
        self._state.objects.pop(place[1], None)


@contextlib.contextmanager
def _answering(made: Desk) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            answer = made.answer(parts.path, parse_qs(parts.query))
            self.send_response(404 if answer is None else 200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    with served(server):
        yield f"http://127.0.0.1:{server.server_port}"
