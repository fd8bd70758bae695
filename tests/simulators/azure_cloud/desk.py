"""An operator's desk before the pretended Azure: releases, targets, a gate that knows what answers where. For tests.

desk.apply(desk.making(5))            looks, plans, carries out, as `pluto-deploy apply` does
desk.making(6, "other-image")         whose machine is refused; "silent": it never says ready; "dies"
desk.deadline = 7                     the process is killed at its 7th change of anything (Killed)
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pluto_deploy.azure import arm as arms
from pluto_deploy.azure import auth, page_blob
from pluto_deploy.azure.disks import Vhd
from pluto_deploy.azure.serial import Serial
from pluto_deploy.azure.target import AzureTarget, Making
from pluto_deploy.azure.wanted import Azure as Platform
from pluto_deploy.azure.wanted import Login
from pluto_deploy.cloud.door import Answer, Door, Patience, Waiting
from pluto_deploy.engine.apply import Done, carry_out
from pluto_deploy.engine.journal import Journal
from pluto_deploy.engine.plan import destroy, plan, rollback
from pluto_deploy.engine.scene import Generation
from pluto_deploy.engine.target import Address
from pluto_measure.appraise import Appraisal
from pluto_measure.errors import RefusedError, SourceError
from simulators.azure_cloud import bodies_of
from simulators.azure_cloud.cloud import GROUP, LOCATION, SUBSCRIPTION
from simulators.azure_cloud.login import CLIENT, SECRET, TENANT
from simulators.azure_cloud.server import Azure
from simulators.pretend_target import ACCEPTED, Killed

MIB = 1 << 20
SIZE = 3 * MIB  # of a disk, without its footer
PLATFORM = Platform(
    tenant=TENANT,
    subscription=SUBSCRIPTION,
    group=GROUP,
    location=LOCATION,
    zone=None,
    size="Standard_DC4es_v6",
    route="disk",
    guest_state="NonPersistedTPM",
    login=Login("secret", CLIENT, None),
    operators=("198.51.100.0/24", "192.0.2.7/32"),
    address=None,
    subnet=None,
)
CONFIG = b'{"deployment":"shop","version":1}'
CREATE = ["put-release", "create a", "start a", "appraise a", "switch a", "confirm a", "tidy"]
UPGRADE = ["put-release", "create b", "start b", "appraise b", "switch b", "confirm b", "stop a", "tidy"]


class Mortal(Door):
    """A door whose process can be killed: before or after its n-th change."""

    desk: Desk

    def ask(self, method: str, url: str, act: str, **more: Any) -> Answer:
        if method in ("GET", "HEAD") or "retrieveBootDiagnosticsData" in url:
            self.desk.refuse_the_dead()
            return super().ask(method, url, act, **more)
        with self.desk.change():
            return super().ask(method, url, act, **more)

    def another(self, waiting: Waiting | None = None) -> Door:
        made = Mortal(
            self.service, self._explain, token=self._token, patience=self.patience, waiting=waiting or self.waiting
        )
        made.desk = self.desk
        return made


@dataclass
class Told:
    """Progress that is kept."""

    lines: list[str] = field(default_factory=list)

    def step(self, text: str) -> None:
        self.lines.append(text)

    def doing(self, text: str) -> None:
        self.lines.append(text)


@dataclass
class Desk:
    """`deadline`: the number of the change at which the process dies, from 1; `late`: after it rather than before."""

    azure: Azure
    folder: Path
    platform: Platform = PLATFORM
    strategy: str = "blue-green"
    deadline: int | None = None
    late: bool = False
    changes: int = 0
    dead: bool = False
    told: Told = field(default_factory=Told)
    computer: str = "here"
    egress: tuple[tuple[str, int], ...] = (("tcp", 443), ("udp", 123))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def cloud(self) -> Any:
        return self.azure.cloud

    def making(self, number: int, mode: str = "honest", config: bytes = CONFIG) -> Making:
        """What release `number` is made of; its VHD is 3 MiB and a footer, of which most is zero."""
        path = self.folder / f"release-{number}-{mode}.vhd"
        data = bytearray(SIZE + 512)
        data[MIB : MIB + 64] = f"release {number} pretend={mode} ".encode().ljust(64, b".")
        data[-512:-504] = b"conectix"
        path.write_bytes(data)
        generation = Generation(
            release=hashlib.sha256(f"{number} {mode}".encode()).hexdigest(),
            config=hashlib.sha256(config).hexdigest(),
            tools="",
            profile="azure-tdx",
            cpus=4,
            memory=16 << 30,
            tee="tdx",
            network="routed",
        )
        small = {"release.json": f"{number}".encode(), "launch.json": b"{}", "measurements.json": b"{}"}
        files = {**small, "firmware.fd": b"", "signatures/a.json": b"{}"}
        return Making(generation, Vhd(path, hashlib.sha256(data).hexdigest()), files, config)

    def target(self, making: Making | None = None, *, timeout: int = 200) -> AzureTarget:
        """As a new process has it."""
        cloud = self.cloud

        def sleep(seconds: float) -> None:
            cloud.now += seconds

        waiting = Waiting(clock=lambda: cloud.now, wall=lambda: cloud.now, sleep=sleep)
        patience = Patience(connect=5.0, read=20.0, total=3000.0)
        environment = {"AZURE_CLIENT_SECRET": SECRET}
        token = auth.of(
            self.platform, environment, login=self.azure.base, imds=self.azure.base, patience=patience, waiting=waiting
        )
        door = self._door(arms.door(token, patience=patience, waiting=waiting))
        blobs = self._door(page_blob.door(patience=patience, waiting=waiting))
        arm = arms.Arm(door, self.platform.subscription, self.platform.group, base=self.azure.base)

        def upload(path: Path, grant: Any, *, sha256: str, progress: Any) -> object:
            return page_blob.upload(path, grant, sha256=sha256, progress=progress, using=blobs, workers=2)

        return AzureTarget(
            name="shop",
            platform=self.platform,
            egress=self.egress,
            timeout=timeout,
            making=making,
            arm=arm,
            upload=upload,
            serial_line=Serial(arm, blobs),
            folder=self.folder / self.computer,
            progress=self.told,
            room=self.strategy == "blue-green",
        )

    def _door(self, door: Door) -> Mortal:
        made = Mortal(door.service, door._explain, token=door._token, patience=door.patience, waiting=door.waiting)
        made.desk = self
        return made

    # What an operator does

    def apply(self, making: Making, *, timeout: int = 200) -> Done:
        target = self.target(making, timeout=timeout)
        with target.lock():
            scene = target.look()
            planned = plan(making.generation, scene, strategy=self.strategy)
            return self._carry_out(planned, target, self.gate(making.generation))

    def rollback(self) -> Done:
        target = self.target()
        with target.lock():
            return self._carry_out(rollback(target.look(), strategy=self.strategy), target, self.gate(None))

    def destroy(self) -> Done:
        target = self.target()
        with target.lock():
            return self._carry_out(destroy(target.look()), target, self.gate(None))

    def plan(self, making: Making) -> list[str]:
        return words(plan(making.generation, self.target(making).look(), strategy=self.strategy).steps)

    def _carry_out(self, planned: Any, target: AzureTarget, gate: Callable[[Address], Appraisal]) -> Done:
        return carry_out(planned, target, gate, Journal(None, "test"), self.told, old_gate=self.gate(None))

    def gate(self, generation: Generation | None) -> Callable[[Address], Appraisal]:
        """Knows the machine that answers at an address: its image, its configuration. `generation` None: any honest."""

        def judge(address: Address) -> Appraisal:
            public = address.host == self.cloud.clients_address
            machine = self.cloud.reached(address.host, by="operators")
            if machine is None or (public and address.port != 8443):
                raise SourceError(f"{address}: no evidence")
            hidden = self.cloud.hidden[machine["id"].lower()]
            image = bodies_of.image(hidden["content"])
            if image is None or image[1] != "honest":
                raise RefusedError("the machine is not what was released")
            if generation is not None:
                if hashlib.sha256(f"{image[0]} {image[1]}".encode()).hexdigest() != generation.release:
                    raise RefusedError("the machine has another release")
                if hashlib.sha256(bodies_of.config(hidden["userData"])).hexdigest() != generation.config:
                    raise RefusedError("the machine has another configuration")
            hidden["appraised"] = True
            return ACCEPTED

        return judge

    # Death

    def refuse_the_dead(self) -> None:
        if self.dead:
            raise Killed

    def change(self) -> Any:
        """One change of anything."""
        return _Change(self)

    def revive(self) -> None:
        """Another process, which is not killed."""
        self.deadline, self.dead, self.changes = None, False, 0

    # What there is

    def states(self) -> dict[str, str]:
        scene = self.target().look()
        found = {one.slot: one.state + (", refused" if one.refused else "") for one in scene.machines}
        return {**found, "serves": scene.serving or "nobody"}

    def serves(self) -> str:
        """What clients meet: the image of the machine that they reach, in words."""
        machine = self.cloud.reached(self.cloud.clients_address, by="clients")
        image = None if machine is None else bodies_of.image(self.cloud.hidden[machine["id"].lower()]["content"])
        return "nothing" if image is None else f"{image[0]} {image[1]}"

    def inventory(self) -> list[str]:
        return sorted(f"{one['type'].rpartition('/')[2]} {one['name']}" for one in self.cloud.resources.values())

    def with_route(self, route: str) -> Desk:
        self.platform = replace(self.platform, route=route)
        return self


class _Change:
    def __init__(self, desk: Desk) -> None:
        self._desk, self._mine = desk, 0

    def __enter__(self) -> None:
        desk = self._desk
        with desk._lock:
            desk.refuse_the_dead()
            desk.changes += 1
            self._mine = desk.changes
            if desk.changes == desk.deadline and not desk.late:
                desk.dead = True
                raise Killed

    def __exit__(self, *_: object) -> None:
        desk = self._desk
        if self._mine == desk.deadline and desk.late:
            desk.dead = True
            raise Killed


def words(steps: Any) -> list[str]:
    """Steps in short."""
    return [f"{step.action} {step.slot}" if step.slot else step.action for step in steps]
