"""A deployment in the fake of Google Cloud, and what an operator does with it. For tests alone.

    with world(tmp_path, kind="tdx") as one:
        one.release("one"); one.apply(); one.status(); one.rollback(); one.destroy()

Uploads and pushes go to stand-ins that put the bytes where the fakes look for them. A gate knows machines by the
address that was asked, and holds the identity that the target gives against the one that the fake has.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from pluto_deploy.cloud.door import Patience, Waiting
from pluto_deploy.cloud.layout import MANIFEST, Image
from pluto_deploy.deployment import Deployment, Network
from pluto_deploy.engine.apply import Done, carry_out
from pluto_deploy.engine.journal import Journal
from pluto_deploy.engine.plan import Plan, destroy, plan, rollback
from pluto_deploy.engine.scene import Generation, Scene
from pluto_deploy.engine.target import Address
from pluto_deploy.engine.wish import Expected, Wish
from pluto_deploy.google import opening, releases
from pluto_deploy.google.opening import Outside
from pluto_deploy.google.storage import Stored, name_of
from pluto_deploy.google.target import GoogleTarget
from pluto_deploy.google.wanted import SPACE_KIND, TDX_KIND, GoogleSpace, GoogleTdx, Place
from pluto_image.artifact import Dist
from pluto_image.lock.lockfile import Lock
from pluto_measure.appraise import Appraisal
from pluto_measure.errors import RefusedError, SourceError
from pluto_measure.launch import Container, Launch
from pluto_measure.progress import Progress, Silent
from simulators.google.cloud import Cloud, serving
from simulators.google.compute import ADDRESSES, FIREWALLS, INSTANCES
from simulators.google.state import PROJECT, ZONE, State
from simulators.pretend_target import ACCEPTED, Killed

PLACE = Place(PROJECT, ZONE, "c3-standard-4", "default", "default", "our-bucket", None)
REPOSITORY = f"europe-west4-docker.pkg.dev/{PROJECT}/notaries"
SPACE = GoogleSpace(PLACE, f"notary@{PROJECT}.iam.gserviceaccount.com", REPOSITORY, None, "OnFailure")
TDX = GoogleTdx(PLACE)
KINDS: Mapping[str, GoogleSpace | GoogleTdx] = {SPACE_KIND: SPACE, TDX_KIND: TDX}
Judge = Callable[[str, str], object]  # of a release's name, at "appraise" or "confirm"


@dataclass
class Archives:
    """Stands in for `google.storage.Storage`: an upload is one act."""

    world: World

    def upload(
        self, path: Path, bucket: str, *, sha256: str, progress: Progress, labels: Mapping[str, str] | None = None
    ) -> Stored:
        del progress, labels
        data, cloud = path.read_bytes(), self.world.cloud
        assert hashlib.sha256(data).hexdigest() == sha256
        self.world.change()
        cloud.state.objects[name_of(sha256, path)] = (data, 7, cloud.state.wall)
        return Stored(bucket, name_of(sha256, path), 7, len(data), 0)

    def look(self, bucket: str, name: str) -> Stored | None:
        found = self.world.cloud.state.objects.get(name)
        return None if found is None else Stored(bucket, name, 7, len(found[0]), 0)

    def delete(self, stored: Stored) -> None:
        self.world.change()
        self.world.cloud.state.objects.pop(stored.name, None)


@dataclass
class Containers:
    """Stands in for `cloud.registry.Registry`."""

    world: World
    held: set[str] = field(default_factory=set)

    def holds(self, image: Image) -> bool:
        return image.digest in self.held

    def push(self, image: Image, *, progress: Progress, tag: str | None = None) -> None:
        del progress
        assert tag is None, "nothing is named by a tag"
        self.world.change()
        self.held.add(image.digest)

    def delete(self, digest: str) -> None:
        self.world.change()
        self.held.discard(digest)


@dataclass
class World:
    """One deployment. `appraised`: the ids of machines, with when they were started, that the gate accepted."""

    folder: Path
    cloud: Cloud
    platform: GoogleSpace | GoogleTdx
    strategy: str = "blue-green"
    payload: bytes = b""
    egress: tuple[tuple[str, int], ...] = (("tcp", 443),)
    wish: Wish | None = None
    judge: Judge = lambda name, purpose: None
    appraised: set[tuple[str, str]] = field(default_factory=set)
    served: list[bool] = field(default_factory=list)
    containers: Containers = field(init=False)
    names: dict[str, str] = field(default_factory=dict)  # releases' digests to their names
    slept: float = 0.0
    insist: bool = True

    def __post_init__(self) -> None:
        self.containers = Containers(self)
        self.cloud.watch = self.look_on

    @property
    def deployment(self) -> Deployment:
        network = Network(None, (8443,), None, None, self.egress)
        return Deployment(
            "notary", self.folder, None, None, cast(Any, self.platform), 4, 16 << 30, network, self.payload,
            self.strategy, 60,
        )  # fmt: skip

    def release(self, name: str) -> Wish:
        """What is asked for from now on."""
        self.wish = made = wish(self.folder / name, name, self.deployment)
        self.names[made.generation.release] = name
        return made

    def change(self) -> None:
        """What the stand-ins change counts like a change of the cloud."""
        cloud = self.cloud
        cloud.changes += 1
        if cloud.stop_at is not None and cloud.stop_at[0] == cloud.changes:
            cloud.killed = True
            raise Killed

    def look_on(self) -> None:
        """After each change: clients reach a machine that was accepted since it was started, or none."""
        machine = self.server()
        good = machine is not None and (machine["id"], machine["lastStartTimestamp"]) in self.appraised
        self.served.append(good)
        if self.insist and machine is not None and not good:
            self.cloud.wrong.append(
                f"clients reach {machine['name']}, which was not appraised: {self.cloud.asked[-6:]}"
            )

    def server(self) -> dict[str, Any] | None:
        """The machine that clients reach."""
        state = self.cloud.state
        address = state.collection(ADDRESSES).get("pluto-notary", {}).get("address")
        if "pluto-notary-in" not in state.collection(FIREWALLS):
            return None
        running = [one for one in state.collection(INSTANCES).values() if one["status"] == "RUNNING"]
        return next((one for one in running if address is not None and address in addresses_of(one)), None)

    def machine(self, slot: str) -> dict[str, Any] | None:
        return self.cloud.state.collection(INSTANCES).get(f"pluto-notary-{slot}")

    @contextmanager
    def target(self) -> Iterator[GoogleTarget]:
        with opening.opened(
            self.platform,
            self.deployment,
            self.wish,
            Silent(),
            state=self.folder / "state",
            key="g",
            outside=self.outside(),
        ) as target:
            content = target.content
            if isinstance(content, releases.Disks):
                target.content = replace(content, archives=Archives(self))
            else:
                target.content = replace(content, containers=self.containers)
            yield target

    def outside(self) -> Outside:
        """No time passes: whoever waits only counts."""
        cloud, url = self.cloud, self.cloud.url

        def clock() -> float:
            if cloud.killed:
                raise Killed
            return time.monotonic() + self.slept

        def sleep(seconds: float) -> None:
            self.slept += seconds

        waiting = Waiting(clock=clock, wall=time.time, sleep=sleep)
        environ = cloud.tokens.environ(self.folder)
        patience = Patience(connect=5, read=10, total=60, attempts=4)
        return Outside(environ, self.folder, waiting, patience, f"{url}/compute/v1", url, url, url)

    def gate(self, target: GoogleTarget) -> Callable[[Address], Appraisal]:
        def gate(address: Address) -> Appraisal:
            state = self.cloud.state
            found = [one for one in state.collection(INSTANCES).values() if address.host in addresses_of(one)]
            if not found or found[0]["status"] != "RUNNING" or not lets_in(state, address.port):
                raise SourceError(f"{address}: no evidence")
            machine, who = found[0], target.who(address)
            assert (who.project, who.zone, who.name) == (PROJECT, ZONE, machine["name"])
            assert who.instance_id == machine["id"], "another machine answered"
            public = address.host == state.collection(ADDRESSES).get("pluto-notary", {}).get("address")
            self.judge(self.name_of(machine), "confirm" if public else "appraise")
            self.appraised.add((machine["id"], machine["lastStartTimestamp"]))
            return ACCEPTED

        return gate

    def name_of(self, machine: dict[str, Any]) -> str:
        """The release that a machine is of, by what it starts from."""
        items = {one["key"]: one["value"] for one in machine["metadata"]["items"]}
        found = Generation.parse(items["pluto-generation"])
        if "tee-image-reference" in items:
            assert items["tee-image-reference"].rpartition("@")[2] in self.containers.held, "the container is not there"
        return self.names[found.release]

    def look(self) -> Scene:
        with self.target() as target:
            return target.look()

    def run(self, planned: Callable[[Scene], Plan]) -> Done:
        """Plan and carry out, as the commands do."""
        with self.target() as target, target.lock():
            gate = self.gate(target)
            return carry_out(planned(target.look()), target, gate, Journal(None, "test"), Silent(), old_gate=gate)

    def apply(self) -> Done:
        assert self.wish is not None
        wanted = self.wish.generation
        return self.run(lambda scene: plan(wanted, scene, strategy=self.strategy))

    def rollback(self) -> Done:
        return self.run(lambda scene: rollback(scene, strategy=self.strategy))

    def destroy(self) -> Done:
        return self.run(destroy)

    def serving(self) -> str:
        """The release of what clients reach."""
        machine = self.server()
        assert machine is not None, "nothing serves"
        return self.name_of(machine)

    def left(self) -> list[str]:
        """What is there at all, but for Google's own images."""
        state = self.cloud.state
        things = [
            f"{path}/{name}" for path, found in state.things.items() for name in found if path.startswith(PROJECT)
        ]
        return [*things, *state.objects, *self.containers.held]

    @contextmanager
    def killed_at(self, change: int, when: str) -> Iterator[None]:
        """Whoever works now is killed at this change, counted from now."""
        self.cloud.stop_at, self.cloud.killed = (self.cloud.changes + change, when), False
        with contextlib.suppress(Killed):
            yield
        self.cloud.stop_at = None

    def revived(self, *, settled: bool = True) -> bool:
        """Whether it was killed. `settled`: what was begun comes to its end before the next command comes."""
        killed, self.cloud.killed = self.cloud.killed, False
        if settled:
            self.cloud.state.settle()
        return killed

    def snapshot(self) -> Callable[[], None]:
        """Brings all of it back to how it is now."""
        state = self.cloud.state
        state.settle()
        kept = copy.deepcopy((state.things, state.objects, self.cloud.compute.serial, self.containers.held))
        appraised = set(self.appraised)

        def restore() -> None:
            state.operations.clear()
            state.asked.clear()
            state.things, state.objects, self.cloud.compute.serial, self.containers.held = copy.deepcopy(kept)
            self.appraised = set(appraised)

        return restore


@contextmanager
def world(folder: Path, kind: str, **how: Any) -> Iterator[World]:
    """An empty project, with a bucket."""
    with serving() as cloud:
        yield World(folder, cloud, KINDS[kind], **how)


def refusing(*names: str, at: tuple[str, ...] = ("appraise", "confirm")) -> Judge:
    """A gate's word about releases."""

    def judge(name: str, purpose: str) -> None:
        if name in names and purpose in at:
            raise RefusedError("not what was released")

    return judge


def lets_in(state: State, port: int) -> bool:
    """Whether the deployment's rule lets anybody in to this port, at which a machine serves."""
    rule = state.collection(FIREWALLS).get("pluto-notary-in", {"allowed": []})
    return port in (443, 8443) and any(str(port) in one["ports"] for one in rule["allowed"])


def addresses_of(machine: dict[str, Any]) -> list[str]:
    return [one.get("natIP", "") for one in machine["networkInterfaces"][0].get("accessConfigs", [])]


def wish(folder: Path, name: str, deployment: Deployment) -> Wish:
    """A small release of each kind, judged by nobody."""
    folder.mkdir(parents=True, exist_ok=True)
    archive, statement = f"archive of {name}".encode(), json.dumps({"release": name}).encode()
    (folder / "gcp.tar.gz").write_bytes(archive)
    (folder / "firmware.fd").write_bytes(b"firmware")
    container = Container(layout(folder / "oci", name), "sha256:" + "1" * 64, ("notary",), ())
    launch = replace(_launch(), container=container)
    small = {
        "release.json": statement, "launch.json": launch.to_text().encode(), "measurements.json": b"{}",
        "signatures/one.json": b"{}",
    }  # fmt: skip
    generation = Generation(
        hashlib.sha256(statement).hexdigest(), hashlib.sha256(deployment.payload).hexdigest(), "", "google", 4,
        16 << 30, "tdx", "routed",
    )  # fmt: skip
    expected = Expected(generation, cast(Any, None), cast(Any, None), cast(Any, None), None)
    images = {"gcp.tar.gz": hashlib.sha256(archive).digest()}
    return Wish(deployment, Dist(folder, launch, {}), launch, expected, cast(Lock, None), small, images)


def layout(folder: Path, name: str) -> str:
    """An image in the OCI layout; the digest of its manifest."""
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True, exist_ok=True)

    def put(data: bytes, media: str) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": media, "digest": f"sha256:{digest}", "size": len(data)}

    config = put(f"config of {name}".encode(), "application/vnd.oci.image.config.v1+json")
    layer = put(f"layer of {name}".encode(), "application/vnd.oci.image.layer.v1.tar")
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]}
    named = put(json.dumps(manifest).encode(), MANIFEST)
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
    return str(named["digest"])


def _launch() -> Launch:
    from simulators import deployments

    return deployments.launch()[1]
