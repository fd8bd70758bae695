"""A deployment as it was found in its resource group: disks, machines, addresses; and what that means. Pure.

A slot's network interface is the record of its machine: its tags name the generation, and they are written when all
else is there. The machine itself is made when it is started first, since Azure starts what it makes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from pluto_deploy.azure import names as spelled
from pluto_deploy.azure.answers import Json, find, need, objects, same_id, tags
from pluto_deploy.azure.names import Names
from pluto_deploy.engine.scene import SLOTS, Generation, Machine, Scene, State
from pluto_measure.errors import SourceError

_RUNNING: Final = ("running", "starting")
_GONE: Final = ("deallocated",)
DETACHED: Final = ("Unattached", "ReadyToUpload", "ActiveUpload", "ActiveSAS", "ActiveSASFrozen")


@dataclass(frozen=True, slots=True)
class Disk:
    """`state`: diskState; `slot`: whose machine has it, or is to; `holder`: the id of the machine that has it."""

    name: str
    release: str
    whole: bool
    slot: str
    state: str
    size: int  # bytes
    holder: str | None


@dataclass(frozen=True, slots=True)
class Nic:
    """The record of a slot. `address`, `rules`: ids."""

    tags: Mapping[str, str]
    address: str | None
    rules: str | None
    subnet: str

    @property
    def generation(self) -> Generation | None:
        return spelled.generation_of(dict(self.tags))


@dataclass(frozen=True, slots=True)
class Vm:
    """`power`: the last word of PowerState, "" where it has none yet; `provisioning`: in lower case."""

    power: str
    provisioning: str
    size: str
    since: str
    disk: str | None  # the name of the one that it boots from


@dataclass(frozen=True, slots=True)
class Version:
    """Of the image in the gallery."""

    name: str
    release: str
    state: str


@dataclass(frozen=True, slots=True)
class Seen:
    """All of it. `addresses`: names; `ours`: (type, name) of every resource that is the deployment's."""

    names: Names
    public: str  # the id of the address by which clients come
    closed: str  # the id of the rules that let operators in
    open: str
    disks: tuple[Disk, ...] = ()
    nics: Mapping[str, Nic] = field(default_factory=dict)
    vms: Mapping[str, Vm] = field(default_factory=dict)
    versions: tuple[Version, ...] = ()
    addresses: frozenset[str] = frozenset()
    ours: tuple[tuple[str, str], ...] = ()
    open_body: str = ""  # the digest of the rules that let clients in, as they were sent

    @property
    def serving(self) -> str | None:
        """The slot whose interface has the clients' address; while it moves, the one that had it."""
        has = [slot for slot, nic in self.nics.items() if same_id(nic.address, self.public)]
        had = [slot for slot, nic in self.nics.items() if spelled.LEFT in nic.tags]
        return next(iter((*has, *had)), None)

    @property
    def led(self) -> bool:
        """Whether the rules in front of it let clients in."""
        serving = self.serving
        return serving is None or same_id(self.nics[serving].rules, self.open)

    def state(self, slot: str) -> State:
        """Of the machine in a slot."""
        nic, vm = self.nics.get(slot), self.vms.get(slot)
        if nic is None or nic.generation is None:
            return "incomplete"
        if vm is None or vm.power in _GONE:
            return "stopped"
        if vm.provisioning == "failed":
            return "broken"
        if vm.power in _RUNNING or (not vm.power and vm.provisioning in ("creating", "updating")):
            return "running"
        return "broken"  # stopped from inside, which is still paid for, or going down

    def machine(self, slot: str) -> Machine | None:
        """What is in a slot, if anything: half a machine too is one."""
        nic, vm = self.nics.get(slot), self.vms.get(slot)
        parts = [one for one in self.disks if one.slot == slot]
        own = self.names.own_address(slot).name in self.addresses
        if nic is None and vm is None and not parts and not own:
            return None
        generation, state = (nic.generation if nic else None), self.state(slot)
        refused = nic is not None and spelled.REFUSED in nic.tags
        made = nic.tags.get(spelled.MADE, "") if nic else ""
        since = vm.since if vm is not None and state == "running" else ""
        number = int(made) if made.isascii() and made.isdigit() and len(made) < 16 else 0
        return Machine(slot, generation, state, refused and state != "incomplete", since, number)

    @property
    def machines(self) -> tuple[Machine, ...]:
        """In both slots."""
        return tuple(one for slot in SLOTS if (one := self.machine(slot)) is not None)

    @property
    def releases(self) -> frozenset[str]:
        """There, and whole: as a disk, or as an image."""
        disks = {one.release for one in self.disks if one.whole and one.release}
        return frozenset(disks | {one.release for one in self.versions if one.release and one.state == "Succeeded"})

    def scene(self, notes: Iterable[str], open_body: str) -> Scene:
        """As the engine sees it. `open_body`: what `open_body` is to be."""
        led = self.led and (self.serving is None or self.open_body == open_body)
        return Scene(self.releases, frozenset(), self.machines, self.serving, tuple(notes), led)

    def disk_of(self, slot: str) -> Disk | None:
        """The disk that a slot's machine starts from."""
        vm = self.vms.get(slot)
        if vm is not None and vm.disk is not None:
            return next((one for one in self.disks if one.name.lower() == vm.disk.lower()), None)
        return next((one for one in self.disks if one.slot == slot and one.whole), None)


def disk(value: Json, names: Names) -> Disk:
    """A disk of the deployment's."""
    what = f"disk {need(value, 'name', str, 'disk')}"
    name, marks = need(value, "name", str, what), tags(value, what)
    slot = marks.get(spelled.SLOT, "")
    for one in SLOTS:  # what a machine made from an image has no tags of ours
        slot = one if name.lower() == names.made_disk(one).name else slot
    return Disk(
        name=name,
        release=marks.get(spelled.RELEASE, ""),
        whole=marks.get(spelled.WHOLE) == "yes",
        slot=slot if slot in SLOTS else "",
        state=need(value, "properties.diskState", str, what),
        size=find(value, "properties.diskSizeBytes", int, what)
        or find(value, "properties.creationData.uploadSizeBytes", int, what)
        or 0,
        holder=find(value, "managedBy", str, what),
    )


def nic(value: Json) -> Nic:
    """A slot's interface."""
    what = f"interface {need(value, 'name', str, 'interface')}"
    configurations = objects(value, "properties.ipConfigurations", what)
    if len(configurations) != 1:
        raise SourceError(f"Azure: {what}: properties.ipConfigurations has {len(configurations)} entries, not 1")
    only = configurations[0]
    return Nic(
        tags=tags(value, what),
        address=find(only, "properties.publicIPAddress.id", str, what),
        rules=find(value, "properties.networkSecurityGroup.id", str, what),
        subnet=need(only, "properties.subnet.id", str, what),
    )


def vm(value: Json) -> Vm:
    """A machine, got with its instance view."""
    what = f"machine {need(value, 'name', str, 'machine')}"
    power, since = "", ""
    for status in objects(value, "properties.instanceView.statuses", what):
        code = need(status, "code", str, what)
        if code.startswith("PowerState/"):
            power = code.rpartition("/")[2].lower()
        elif code.lower() == "provisioningstate/succeeded":
            since = find(status, "time", str, what) or ""
    boots = find(value, "properties.storageProfile.osDisk.managedDisk.id", str, what)
    return Vm(
        power=power,
        provisioning=need(value, "properties.provisioningState", str, what).lower(),
        size=need(value, "properties.hardwareProfile.vmSize", str, what),
        since=since,
        disk=None if boots is None else boots.rpartition("/")[2],
    )


def version(value: Json) -> Version:
    """A version of the image."""
    what = f"version {need(value, 'name', str, 'version')}"
    state = need(value, "properties.provisioningState", str, what)
    return Version(need(value, "name", str, what), tags(value, what).get(spelled.RELEASE, ""), state)


def kind_and_name(value: Json, kind: str) -> tuple[str, str]:
    """Of one entry of a list."""
    return kind, need(value, "name", str, kind.rpartition("/")[2])
