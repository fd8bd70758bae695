"""A deployment in a pretended cloud, and the commands about it, as an operator types them. For tests alone.

Injected: the services' addresses and clocks; where evidence is fetched and certificates are looked at, as no packet
reaches the addresses that a fake gives away. All that is said there is appraised for real. Bytes go to fakes of a
bucket and a registry; what arrives in the bucket is shown to the fake of Compute Engine, and the registry asks for no
login.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, cast

import pytest

from pluto_deploy import certificate, cli, session
from pluto_deploy.azure import opening as azure_opening
from pluto_deploy.certificate import Awaited
from pluto_deploy.cloud.door import Door, Patience, Waiting
from pluto_deploy.deployment import Deployment
from pluto_deploy.engine import evidence as fetching
from pluto_deploy.engine import gate
from pluto_deploy.engine.evidence import Seen as Fetched
from pluto_deploy.engine.scene import Generation
from pluto_deploy.engine.target import Address
from pluto_deploy.google import opening as google_opening
from pluto_deploy.google.storage import Storage, Stored
from pluto_measure.errors import SourceError
from pluto_measure.evidence import Envelope
from pluto_measure.progress import Progress
from pluto_notary.config import parse_payload
from simulators import cloud_deployments, intel
from simulators.azure_cloud import bodies_of
from simulators.azure_cloud import server as azure_server
from simulators.azure_cloud.login import SECRET
from simulators.azure_cloud.server import Azure
from simulators.cloud.gcs import Gcs, buckets
from simulators.cloud.oci_registry import OciRegistry, registry
from simulators.cloud_deployments import AZURE, SPACE, Seen, build_of
from simulators.google import worlds as google
from simulators.google.cloud import serving
from simulators.google.compute import INSTANCES
from simulators.google.state import PROJECT, ZONE
from simulators.notaries import notary, of_machine
from simulators.notary.certificates import Authority
from simulators.tls_fronts import Front, front

AWAITED = certificate.awaited  # before a story puts its own in place


class Cloud(Protocol):
    """What of a fake a story needs."""

    def machine(self, address: Address, builds: dict[str, tuple[str, str]]) -> Seen | None:
        """What the machine with this address was given; None where none answers."""

    def left(self) -> list[str]:
        """All that is there."""

    def serving(self, address: str) -> bool:
        """Whether clients reach something there."""


@dataclass
class Story:
    """`builds`: statements' digests, and numbers, to names and modes of releases; `lie`: what evidence becomes.

    `authority` is the CA of certificates, which it gives a build that has been looked at as often as `patience` says.
    """

    root: Path
    kind: str
    cloud: Cloud
    out: Callable[[], tuple[str, str]]
    builds: dict[str, tuple[str, str]] = field(default_factory=dict)
    lie: Callable[[Seen], Seen] = lambda seen: seen
    asked: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    err: str = ""
    authority: Authority = field(default_factory=Authority)
    patience: Callable[[str], float] = lambda build: 0
    looks: dict[str, int] = field(default_factory=dict)
    waited: float = 0.0
    site: Front | None = None

    def release(self, name: str, sequence: int, *, mode: str = "honest", **how: Any) -> Path:
        """Made, and named by the deployment file from now on."""
        folder = cloud_deployments.release(self.root / name, name, sequence, mode=mode)
        statement = hashlib.sha256((folder / "release.json").read_bytes()).hexdigest()
        self.builds[statement] = self.builds[str(sequence)] = (name, mode)
        self.file(name, **how)
        return folder

    def file(self, name: str, **how: Any) -> None:
        """The deployment file, which names this release."""
        cloud_deployments.write(self.root / "file", self.kind, self.root / name, **how)

    def run(self, command: str, *more: object) -> tuple[int, Any]:
        """One command with --json: its exit code and its document."""
        code, out = self.text(command, *more, "--json")
        return code, json.loads(out)

    def text(self, command: str, *more: object) -> tuple[int, str]:
        folder = self.root / "file"
        judging = command in ("plan", "apply", "verify", "watch", "rollback", "render")
        given = cloud_deployments.words(self.kind, folder) if judging else ()
        argv = [command, str(folder / "DEPLOYMENT.toml"), "--state", str(self.root / "state"), *given]
        code = cli.main([*argv, *map(str, more)])
        out, self.err = self.out()
        assert "Traceback" not in self.err, self.err
        self.texts += [out, self.err]
        return code, out

    def fetch(self, address: Address, nonce: bytes, *, timeout: float) -> Fetched:
        """Asks whatever has that address in the fake, over TLS."""
        seen = self.cloud.machine(address, self.builds)
        if seen is None:
            raise SourceError(f"{address}: no evidence: nothing answers")
        self.asked.append(str(address))
        machine = Machine(self.kind, self.lie(seen))
        with notary(of_machine(machine)) as (port, machine.key):
            return fetching.fetch(Address("127.0.0.1", port), nonce, timeout=timeout)

    def awaited(self, deployment: Deployment, progress: Progress) -> Awaited | None:
        """As commands make it; but no time passes, and it looks at what the fake has at an address."""
        made = AWAITED(deployment, progress)

        def sleep(seconds: float) -> None:
            self.waited += seconds

        return None if made is None else replace(made, clock=lambda: self.waited, sleep=sleep, connect=self.connect)

    def connect(self, address: Address, timeout: float) -> socket.socket:
        seen, site = self.cloud.machine(address, self.builds), self.site
        if seen is None or site is None:
            raise ConnectionRefusedError(111, "Connection refused")
        acme, looked = parse_payload(seen.config).acme, self.looks.get(seen.build_id, 0)
        self.looks[seen.build_id] = looked + 1
        given = acme is not None and looked >= self.patience(seen.build_id)
        site.shown = self.authority.issue(acme.domain if acme is not None else "pluto-notary", self_signed=not given)
        return socket.create_connection(("127.0.0.1", site.port), timeout)


@dataclass
class Machine:
    """A machine as its notary shows it: evidence of what it was given, for its own TLS key."""

    kind: str
    seen: Seen
    key: bytes = b""

    def evidence(self, nonce: bytes) -> Envelope:
        return cloud_deployments.evidence(self.kind, self.seen, nonce, self.key)


@dataclass
class Bucket:
    """The real way into a bucket, out of which the other fake makes its images."""

    real: Storage
    gcs: Gcs
    world: google.World

    def upload(
        self, path: Path, bucket: str, *, sha256: str, progress: Progress, labels: Mapping[str, str] | None = None
    ) -> Stored:
        stored = self.real.upload(path, bucket, sha256=sha256, progress=progress, labels=labels)
        state = self.world.cloud.state
        state.objects[stored.name] = (self.gcs.content[bucket, stored.name], stored.generation, state.wall)
        return stored

    def look(self, bucket: str, name: str) -> Stored | None:
        return self.real.look(bucket, name)

    def delete(self, stored: Stored) -> None:
        self.real.delete(stored)
        self.world.cloud.state.objects.pop(stored.name, None)


class Held:
    """The tokens that the other fake gave."""

    def __init__(self, world: google.World) -> None:
        self._world = world

    def __contains__(self, token: str) -> bool:
        return self._world.cloud.tokens.holds(f"Bearer {token}")


@dataclass
class GoogleFake:
    world: google.World
    gcs: Gcs
    registry: OciRegistry

    def machine(self, address: Address, builds: dict[str, tuple[str, str]]) -> Seen | None:
        found = self._running(address.host)
        if found is None or not google.lets_in(self.world.cloud.state, address.port):
            return None
        items = {one["key"]: one["value"] for one in found["metadata"]["items"]}
        name, mode = builds[Generation.parse(items["pluto-generation"]).release]
        config = b""
        if "pluto-config" in items:
            config = bodies_of.config(items["pluto-config"])
        instance = {"project_id": PROJECT, "zone": ZONE, "instance_id": found["id"], "instance_name": found["name"]}
        return Seen(build_of(name, mode), mode, config, instance, items.get("tee-image-reference", ""))

    def _running(self, host: str) -> Any:
        known = self.world.cloud.state.collection(INSTANCES).values()
        return next((one for one in known if one["status"] == "RUNNING" and host in google.addresses_of(one)), None)

    def left(self) -> list[str]:
        return [*self.world.left(), *map(str, self.gcs.objects), *self.registry.manifests]

    def serving(self, address: str) -> bool:
        return self._running(address) is not None


@dataclass
class AzureFake:
    azure: Azure

    def machine(self, address: Address, builds: dict[str, tuple[str, str]]) -> Seen | None:
        cloud = self.azure.cloud
        found = cloud.reached(address.host, by="operators", port=address.port)
        if found is None or address.port not in (443, 8443):
            return None
        hidden = cloud.hidden[found["id"].lower()]
        image = bodies_of.image(hidden["content"])
        assert image is not None, "a machine without a system answers nothing"
        name, mode = builds[str(image[0])]
        hidden["appraised"] = mode == "honest"
        return Seen(build_of(name, mode), mode, bodies_of.config(hidden["userData"]))

    def left(self) -> list[str]:
        return sorted(self.azure.cloud.resources)

    def serving(self, address: str) -> bool:
        return self.azure.cloud.reached(address, by="clients") is not None


@contextlib.contextmanager
def told(root: Path, kind: str, patch: pytest.MonkeyPatch, out: Callable[[], tuple[str, str]]) -> Iterator[Story]:
    """A story that begins with one release and nothing in the cloud."""
    with _fake(root, kind, patch) as fake, front() as site:
        story = Story(root, kind, fake, out, site=site)
        patch.setattr(certificate, "awaited", story.awaited)
        patch.setattr(gate, "fetch", story.fetch)
        patch.setattr(session, "now", lambda: intel.NOW)
        story.release("one", 1)
        yield story


@contextlib.contextmanager
def _fake(root: Path, kind: str, patch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    if kind == AZURE:
        with azure_server.running() as fake:
            cloud = fake.cloud

            def sleep(seconds: float) -> None:
                cloud.now += seconds

            waiting = Waiting(clock=lambda: cloud.now, wall=lambda: cloud.now, sleep=sleep)
            patience, base = Patience(connect=5.0, read=20.0, total=3000.0), fake.base
            outside = azure_opening.Outside({"AZURE_CLIENT_SECRET": SECRET}, waiting, patience, base, base, base)
            patch.setattr(azure_opening, "Outside", lambda: outside)
            yield AzureFake(fake)
            assert fake.failures == []
        return
    with serving() as served, buckets() as gcs, registry(f"{PROJECT}/notaries/{cloud_deployments.NAME}") as containers:
        world = google.World(root, served, google.SPACE if kind == SPACE else google.TDX, insist=False)
        containers.challenge, gcs.tokens = None, cast(Any, Held(world))

        def stored(door: Door, *, base: str) -> Bucket:
            del base
            return Bucket(Storage(door, base=gcs.wire.url), gcs, world)

        patch.setattr(google_opening, "Outside", lambda: replace(world.outside(), registry=containers.wire.url))
        patch.setattr(google_opening, "Storage", stored)
        yield GoogleFake(world, gcs, containers)
        assert gcs.wire.complaints == containers.wire.complaints == []
