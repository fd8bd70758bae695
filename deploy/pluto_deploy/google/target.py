"""Google Cloud as a target of the engine: machines in two slots, one static address, a release's files in a bucket.

What is true is in the project: machines say by metadata and labels what they are, the address says which one serves.
Every method looks first and brings about a state, so whoever was killed is resumed by doing it again.

A new machine is reached by an address of its own, which no client knows. At `switch` the static address is taken from
the old one and given to the new one. In between, for as long as two operations of Compute Engine take, seconds as a
rule, nobody serves; connections to the old machine end. Why so: docs/decisions/0019-google.md.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pluto_deploy.cloud.costs import Cost
from pluto_deploy.cloud.door import CloudError
from pluto_deploy.deployment import Deployment
from pluto_deploy.engine.scene import SLOTS, Generation, Scene
from pluto_deploy.engine.target import Address, Belongings, Identity
from pluto_deploy.engine.wish import Wish
from pluto_deploy.google import machines, making, metadata, names, preflight, releases
from pluto_deploy.google.compute import Compute
from pluto_deploy.google.costs import costs, free
from pluto_deploy.google.errors import EXISTS, is_capacity, no_room
from pluto_deploy.google.leading import Leading
from pluto_deploy.google.lease import Lease
from pluto_deploy.google.machines import OFF, Instance
from pluto_deploy.google.names import Names
from pluto_deploy.google.readiness import wait_ready
from pluto_deploy.google.releases import Disks, Shelf, Space
from pluto_deploy.google.wanted import GUEST_PORT, GoogleSpace, GoogleTdx, Place
from pluto_measure.errors import SourceError, UsageError
from pluto_measure.progress import Progress

_STOP_SECONDS: Final = 300.0
_PAUSE: Final = 2.0
_TRIES: Final = 3  # of writing labels, where somebody else writes some


@dataclass(slots=True)
class GoogleTarget:
    """One deployment in one project. `wish` is None where nothing is to be made."""

    deployment: Deployment
    platform: GoogleSpace | GoogleTdx
    wish: Wish | None
    compute: Compute
    shelf: Shelf
    content: Disks | Space
    lease: Lease
    progress: Progress

    @property
    def names(self) -> Names:
        return Names(self.deployment.name)

    @property
    def place(self) -> Place:
        return self.platform.place

    @property
    def leading(self) -> Leading:
        network = self.deployment.network
        return Leading(self.compute, self.names, self.place, network.egress, network.ports)

    def look(self) -> Scene:
        if self.wish is not None:
            preflight.refuse(self.compute, self.place)
        there, found = self._machines(), self.leading.static()
        kept = self.content.whole(releases.whole(self.shelf.listed()), self.wish)
        serving = None if found is None else found.serving
        led = found is None or serving is None or self.leading.is_led(found, there)
        tools = frozenset({self.wish.generation.tools}) if self.wish is not None else frozenset[str]()
        made = tuple(one.machine() for one in there.values())
        return Scene(kept, tools, made, serving if serving in there else None, tuple(self._notes(there)), led)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        with self.lease.held():
            yield

    def put_tools(self) -> None:
        """Nothing: the cloud's own machines run ours."""

    def put_release(self) -> None:
        self.lease.renew()
        wish = self._wished()
        self.content.put(wish)
        self.lease.renew()
        self.shelf.put(wish)

    def create(self, slot: str) -> None:
        self.lease.renew()
        wish, name = self._wished(), self.names.instance(slot)
        there = self._maybe(slot)
        if there is not None and there.generation == wish.generation:
            return
        if there is not None:
            raise SourceError(f"there is a machine {name} of another generation")
        self.leading.door()  # it runs as it is made, and the rules are what it may not do
        try:
            body = making.body(self.platform, self.names, slot, wish, self.content)
            self.compute.insert("instances", body, f"making machine {slot}")
        except CloudError as error:
            if is_capacity(error):
                proven = preflight.has_tdx(self.compute)
                raise no_room(
                    error, zone=self.place.zone, machine_type=self.place.machine_type, proven=proven
                ) from None
            there = self._maybe(slot) if error.code in EXISTS else None
            if there is None or there.generation != wish.generation:
                raise

    def start(self, slot: str) -> None:
        self.lease.renew()
        machine = self._settled(slot)
        self._label(slot, names.STARTED)
        mark = 0
        if machine.status == OFF:
            mark = self._said(machine.name)
            self.leading.own(machine)
            try:
                self.compute.start(machine.name)
            except CloudError as error:
                if not is_capacity(error):
                    raise
                shape = self.place.machine_type
                raise no_room(error, zone=self.place.zone, machine_type=shape, proven=machine.tdx) from None
        self._wait_ready(slot, mark)

    @contextlib.contextmanager
    def reach(self, slot: str) -> Iterator[Address]:
        self.leading.own(self._machine(slot))
        self.leading.door()
        self._wait_ready(slot, 0)
        machine = self._machine(slot)
        if not machine.address:
            raise SourceError(f"machine {slot} has no external address")
        yield Address(machine.address, GUEST_PORT)

    def public(self) -> Address:
        self.lease.renew()
        found = self.leading.static()
        if found is None:
            raise UsageError("nothing serves here", hint="run 'pluto-deploy apply'")
        return Address(found.address, self.deployment.network.ports[0])

    def who(self, address: Address) -> Identity:
        """Which machine has this address now: what evidence that comes from there has to say of itself."""
        found = [one for one in self._machines().values() if one.address == address.host]
        if len(found) != 1:
            raise SourceError(f"no machine of this deployment has the address {address.host}")
        return found[0].identity

    def switch(self, slot: str) -> None:
        self.lease.renew()
        self._machine(slot)
        self.leading.lead(slot, self._machines())

    def stop(self, slot: str, *, refused: bool = False) -> None:
        self.lease.renew()
        machine = self._machine(slot)
        if refused or machine.labels.get(names.STATE) != names.REFUSED:
            self._label(slot, names.REFUSED if refused else names.STOPPED)
        self.leading.settle(slot, self._machines())
        if machine.status != OFF:
            self.compute.stop(machine.name)
            self._settled(slot, off=True)

    def remove(self, slot: str) -> None:
        self.lease.renew()
        name, there = self.names.instance(slot), self._maybe(slot)
        self.leading.forget(slot)
        if there is not None:
            self.compute.delete("instances", name)
        disk = self.compute.get("disks", name)
        if disk is not None and disk.texts("labels").get(names.DEPLOYMENT) == self.deployment.name:
            self.compute.delete("disks", name)

    def close(self) -> None:
        self.lease.renew()
        self.leading.close(self._machines())

    def tidy(self, *, all_of_it: bool = False) -> None:
        self.lease.renew()
        there = self._machines()
        used = {one.generation.release for one in there.values() if one.generation is not None}
        for release, files in self.shelf.listed().items():
            if release not in used:
                self.shelf.remove(release, files, self.content)
                self.lease.renew()
        self._remove_images(used)
        if all_of_it and not there:
            self.leading.give_up()
            if left := [*map(str, self.costs()), *free(self.compute, self.names)]:
                raise SourceError(f"not everything is gone: {'; '.join(left)[:500]}", hint="run the command again")

    def serial(self, slot: str) -> bytes:
        return self.compute.serial(self.names.instance(slot))[0]

    def belongings(self, generation: Generation, slot: str) -> Belongings:
        files = self.shelf.read(generation.release)
        items = self._machine(slot).metadata
        return Belongings(files, metadata.payload(items) if isinstance(self.platform, GoogleTdx) else b"")

    def costs(self) -> list[Cost]:
        """What is there and is paid for, by listing, wherever it is."""
        return costs(self.compute, self.shelf.objects, self.names, lent=self.place.address)

    def _remove_images(self, used: set[str]) -> None:
        """Images that nothing in the bucket tells of any more."""
        if isinstance(self.content, Disks):
            kept = {self.names.image(release) for release in used}
            for _, name in self.content.found():
                if name not in kept:
                    self.compute.delete("images", name)

    def _notes(self, there: dict[str, Instance]) -> Iterator[str]:
        """What is odd, or worth to know."""
        if self.wish is None or not isinstance(self.content, Space):
            return
        newest = self.content.resolved()
        for slot, one in there.items():
            if (old := one.labels.get(names.HOST_IMAGE, "?")) != newest:
                yield f"machine {slot} has {old}; a new machine would have {newest}"

    def _maybe(self, slot: str) -> Instance | None:
        reply = self.compute.get("instances", self.names.instance(slot))
        if reply is None:
            return None
        return machines.instance(reply, self.names, slot, self.place.project, self.place.zone)

    def _machines(self) -> dict[str, Instance]:
        return {slot: one for slot in SLOTS if (one := self._maybe(slot)) is not None}

    def _machine(self, slot: str) -> Instance:
        if (found := self._maybe(slot)) is None:
            raise UsageError(f"there is no machine {slot}")
        return found

    def _settled(self, slot: str, *, off: bool = False) -> Instance:
        """The machine, when it is neither on its way off nor, where it is to be off, on. SourceError."""
        waiting = self.compute.door.waiting
        deadline = waiting.clock() + _STOP_SECONDS
        while True:
            machine = self._machine(slot)
            if machine.status == OFF or not (off or machine.status in machines.LEAVING):
                return machine
            if waiting.clock() > deadline:
                raise SourceError(f"machine {slot} does not end: it is {machine.status}")
            waiting.sleep(_PAUSE)

    def _label(self, slot: str, state: str) -> None:
        for attempt in range(1, _TRIES + 1):
            machine = self._machine(slot)
            if machine.labels.get(names.STATE) == state:
                return
            try:
                self.compute.set_labels("instances", machine.reply, {**machine.labels, names.STATE: state})
            except CloudError as error:
                if error.status != 412 or attempt == _TRIES:
                    raise

    def _said(self, name: str) -> int:
        """How far the serial line was before a machine is started again."""
        try:
            return self.compute.serial(name)[1]
        except CloudError:
            return 0  # a machine that is off need not have one

    def _wait_ready(self, slot: str, mark: int) -> None:
        def status() -> str:
            self.lease.renew()
            return self._machine(slot).status

        wait_ready(
            slot,
            lambda start: self.compute.serial(self.names.instance(slot), start),
            status,
            mark=mark,
            seconds=self.deployment.timeout,
            waiting=self.compute.door.waiting,
            progress=self.progress,
        )

    def _wished(self) -> Wish:
        assert self.wish is not None, "steps that make something come from a wish"
        return self.wish
