"""Azure as a target of the engine: two slots in a resource group, found again by tags. Decides nothing.

create     the slot's record (its interface) and disk; the machine is made by `start`, as Azure starts what it makes
start      behind rules that let operators in; back when the serial line says ready
switch     the clients' address is taken from one interface and given to the other: in between nobody serves, for
           as long as two changes of an interface take, mostly some seconds each; how long it took is told
stop       deallocated: nothing of the machine is billed but its disk
"""

from __future__ import annotations

import base64
import binascii
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pluto_deploy.azure import bodies, claim, costs, preflight
from pluto_deploy.azure.answers import SERVICE, find, tags
from pluto_deploy.azure.arm import ADDRESS, DEFINITION, DISK, GALLERY, NIC, RULES, VERSION, VM, VNET, Arm, Place
from pluto_deploy.azure.disks import Disks, Upload, Vhd
from pluto_deploy.azure.galleries import Galleries
from pluto_deploy.azure.kept import Kept
from pluto_deploy.azure.leading import Leading, digest_of
from pluto_deploy.azure.looking import look
from pluto_deploy.azure.names import MADE, REFUSED, SLOT, Names, generation_tags, without_generation
from pluto_deploy.azure.seen import Seen, Vm
from pluto_deploy.azure.seen import vm as parsed
from pluto_deploy.azure.serial import Serial
from pluto_deploy.azure.wanted import GUEST_PORT, Azure
from pluto_deploy.cloud.costs import Cost
from pluto_deploy.engine.scene import Generation, Scene
from pluto_deploy.engine.target import Address, Belongings
from pluto_measure.errors import SourceError, UsageError
from pluto_measure.progress import Progress

_FIRST: Final = (VM, NIC)  # what holds the others fast
_THEN: Final = (ADDRESS, RULES, VNET, DISK, VERSION, DEFINITION, GALLERY)
_SETTLE_SECONDS: Final = 600.0
_POLL: Final = 5.0


@dataclass(frozen=True, slots=True)
class Making:
    """What a machine is made of. `files`: the release's small ones, by which anybody can appraise it again."""

    generation: Generation
    vhd: Vhd
    files: dict[str, bytes] = field(repr=False)
    config: bytes


@dataclass(slots=True)
class AzureTarget:
    """One deployment in one resource group. `making` is None where nothing is to be made; `timeout`: until it is ready.

    `room`: whether two machines run at once. `folder`: what this computer keeps. `ports`: where clients come.
    """

    name: str
    platform: Azure
    egress: tuple[tuple[str, int], ...]
    timeout: int
    making: Making | None
    arm: Arm
    upload: Upload
    serial_line: Serial
    folder: Path
    progress: Progress
    room: bool = True
    ports: tuple[int, ...] = (GUEST_PORT,)

    @property
    def names(self) -> Names:
        return Names(self.name, self.platform.group)

    @property
    def kept(self) -> Kept:
        return Kept(self.folder)

    @property
    def leading(self) -> Leading:
        return Leading(self.arm, self.names, self.platform, self.egress, self.ports)

    def look(self) -> Scene:
        seen = self._look()
        scene = seen.scene(self._notes(seen), digest_of(self.leading.open_rules))
        if self.making is not None and all(one.generation != self.making.generation for one in scene.machines):
            running = any(one.state == "running" for one in scene.machines)
            preflight.check(self.arm, self.platform, 1 if self.room or not running else 0)
        return scene

    def costs(self) -> list[Cost]:
        """What is billed now. Empty: nothing of this deployment."""
        return costs.costs(self._look())

    def lock(self) -> contextlib.AbstractContextManager[None]:
        return claim.held(self.arm, self.names, self.platform, self.kept, claim.SECONDS + 2 * self.timeout)

    def put_tools(self) -> None:
        raise UsageError("Azure runs machines with its own tools")

    def put_release(self) -> None:
        self._release("")

    def create(self, slot: str) -> None:
        making = self._making()
        self.leading.make()
        self._release(slot)
        self.kept.put(making.generation.release, making.files, making.config)
        others = [one.made for one in self._look().machines if one.slot != slot]
        made = max([int(self.arm.server_time), *(other + 1 for other in others)])
        self.leading.record(slot, {SLOT: slot, MADE: str(made), **generation_tags(making.generation)})

    def start(self, slot: str) -> None:
        self.leading.mark(slot, {REFUSED: None})
        self.leading.operators_only(slot)
        vm = self._settled(slot)
        before = b""
        if vm is None or vm.provisioning == "failed":
            if vm is None:  # what a making that did not end may have left
                self.arm.delete(self.names.made_disk(slot))
            self.arm.put(self.names.vm(slot), self._machine(slot))
        elif vm.power != "running":
            before = self.serial(slot)
            self.arm.post(self.names.vm(slot), "start")
        self._wait_ready(slot, before)

    @contextlib.contextmanager
    def reach(self, slot: str) -> Iterator[Address]:
        if self.leading.nic(slot).address is None:
            self.leading.operators_only(slot)
        yield Address(self.leading.ip(slot), GUEST_PORT)

    def public(self) -> Address:
        return Address(self.leading.ip_of(self.leading.public), self.ports[0])

    def switch(self, slot: str) -> None:
        begin = (clock := self.serial_line.waiting.clock)()
        if self.leading.move(slot):
            self.progress.step(f"the address moved to machine {slot}; for {clock() - begin:.0f} s nobody served")

    def stop(self, slot: str, *, refused: bool = False) -> None:
        if refused:
            self.leading.mark(slot, {REFUSED: "yes"})
        vm = self._settled(slot)
        if vm is not None and not vm.power and vm.provisioning == "failed":
            self.arm.delete(self.names.vm(slot))  # it never came to be, and is no machine
        elif vm is not None and vm.power != "deallocated":
            self.arm.post(self.names.vm(slot), "deallocate")
            state = self._vm(slot)
            if state is not None and state.power != "deallocated":
                raise SourceError(f"{SERVICE}: machine {slot} is {state.power or state.provisioning}, not deallocated")
        self.leading.take_away(slot, clients=False)

    def remove(self, slot: str) -> None:
        seen, nic = self._look(), self.arm.get(self.names.nic(slot))
        disk = seen.disk_of(slot)
        # The record first: what is left after that is a machine whose making was interrupted.
        if nic is not None and (marks := tags(nic, "interface")) != without_generation(marks):
            self.arm.patch(self.names.nic(slot), {"tags": without_generation(marks)})
        self.arm.delete(self.names.vm(slot))
        self.arm.delete(self.names.nic(slot))
        self.arm.delete(self.names.own_address(slot))
        for name in {one.name for one in seen.disks if one.slot == slot} | ({disk.name} if disk else set()):
            self.arm.delete(Place(DISK, (name,)))

    def close(self) -> None:
        for slot in self._look().nics:
            self.leading.take_away(slot, clients=True)

    def tidy(self, *, all_of_it: bool = False) -> None:
        seen = self._look()
        kept = [] if all_of_it else [nic.generation for nic in seen.nics.values() if nic.generation is not None]
        if all_of_it:
            self._remove_everything(seen)
        else:
            for disk in seen.disks:
                if disk.holder is None and (disk.slot not in seen.nics or not disk.whole):
                    self.arm.delete(Place(DISK, (disk.name,)))
            for version in seen.versions:
                if version.release not in {one.release for one in kept}:
                    self.arm.delete(Place(VERSION, (*self.names.definition.names, version.name)))
        self.kept.forget_all_but(kept)

    def serial(self, slot: str) -> bytes:
        return self.serial_line.read(self.names.vm(slot)) if self.arm.get(self.names.vm(slot)) else b""

    def belongings(self, generation: Generation, slot: str) -> Belongings:
        files = self.kept.files(generation.release)
        return Belongings(files, self._config(generation, slot))

    def _look(self) -> Seen:
        return look(self.arm, self.names, self.platform)

    def _notes(self, seen: Seen) -> Iterator[str]:
        for slot, vm in seen.vms.items():
            if vm.size != self.platform.size:
                yield f"machine {slot} is a {vm.size}, the file asks for {self.platform.size}"
            if vm.power == "stopped":
                yield f"machine {slot} ended by itself, and is still billed"
        for disk in seen.disks:
            if not disk.whole and not disk.slot:
                yield f"disk {disk.name} is {disk.state}: its upload did not end, and it is billed"

    def _release(self, slot: str) -> Place:
        """The disk (for this slot) or the image version of the wanted release; made where it is not there."""
        making, seen = self._making(), self._look()
        by_disk = self.platform.route == "disk"
        disks = Disks(self.arm, self.names, self.platform, self.upload, self.progress, secured=by_disk)
        release = making.generation.release
        if by_disk:
            return disks.whole(release, making.vhd, seen, slot)
        return Galleries(self.arm, self.names, self.platform, disks, self.progress).whole(release, making.vhd, seen)

    def _machine(self, slot: str) -> dict[str, object]:
        """The body of a machine as the slot's record has it."""
        generation = self.leading.nic(slot).generation
        if generation is None:
            raise UsageError(f"machine {slot} is not complete", hint="run apply")
        seen, image = self._look(), None
        disk = seen.disk_of(slot)
        if self.platform.route == "gallery":
            image = self.arm.id(self.names.version(generation.release))
        elif disk is None:
            raise SourceError(f"the disk of machine {slot} is gone", hint="run apply")
        return bodies.machine(
            self.platform,
            {**self.names.tags, SLOT: slot},
            self.arm.id(self.names.nic(slot)),
            disk=None if disk is None else self.arm.id(Place(DISK, (disk.name,))),
            image=image,
            disk_name=self.names.made_disk(slot).name,
            config=self._config(generation, slot),
        )

    def _config(self, generation: Generation, slot: str) -> bytes:
        """The run-time configuration: the wanted one, the one that is kept here, or what the machine was given."""
        if self.making is not None and self.making.generation.config == generation.config:
            return self.making.config
        if (kept := self.kept.config(generation.config)) is not None:
            return kept
        found = self.arm.get(self.names.vm(slot), expand="userData") or {}
        text = find(found, "properties.userData", str, f"machine {slot}") or ""
        with contextlib.suppress(binascii.Error):
            data = base64.b64decode(text, validate=True)
            if len(data) >= 4 and int.from_bytes(data[:4], "big") == len(data) - 4:
                return data[4:]
        raise SourceError(f"{SERVICE}: the configuration of machine {slot} is gone")

    def _vm(self, slot: str) -> Vm | None:
        value = self.arm.get(self.names.vm(slot), expand="instanceView")
        return None if value is None else parsed(value)

    def _settled(self, slot: str) -> Vm | None:
        """The machine, once it is neither going up nor down: somebody who was killed may have begun that."""
        waiting = self.serial_line.waiting
        limit = waiting.clock() + _SETTLE_SECONDS
        while True:
            vm = self._vm(slot)
            moving = vm is not None and (
                vm.power in ("starting", "stopping", "deallocating")
                or vm.provisioning in ("creating", "deleting", "updating")
            )
            if not moving or waiting.clock() > limit:
                return vm
            waiting.sleep(_POLL)

    def _wait_ready(self, slot: str, before: bytes) -> None:
        limit = self.serial_line.waiting.clock() + self.timeout

        def alive() -> bool:
            vm = self._vm(slot)
            return vm is not None and vm.power in ("running", "starting")

        self.serial_line.wait_ready(self.names.vm(slot), slot, before, limit, alive, self.progress)

    def _remove_everything(self, seen: Seen) -> None:
        for kinds in (_FIRST, _THEN):
            for kind in kinds:
                for one, name in seen.ours:
                    if one == kind:
                        self.arm.delete(self._place(kind, name))
        left = [f"{kind.rpartition('/')[2]} {name}" for kind, name in self._look().ours]
        if left:
            raise SourceError(
                f"{SERVICE}: still there, and perhaps billed: {', '.join(left)}", hint="run destroy again"
            )
        self.progress.step("nothing of it is left: the resource group was listed")

    def _place(self, kind: str, name: str) -> Place:
        definition = self.names.definition.names
        parents = {VERSION: definition, DEFINITION: definition[:1]}.get(kind, ())
        return Place(kind, (*parents, name))

    def _making(self) -> Making:
        assert self.making is not None, "steps that make something come from a wish"
        return self.making
