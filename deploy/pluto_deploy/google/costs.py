"""What of a deployment is there and is paid for, by listing: machines, disks, addresses, images, objects."""

from __future__ import annotations

from dataclasses import dataclass

from pluto_deploy.google.compute import Compute
from pluto_deploy.google.names import NOTE, RULES, Names
from pluto_deploy.google.objects import Kept, Objects
from pluto_deploy.google.reply import Reply


@dataclass(frozen=True, slots=True)
class Cost:
    """One thing, where it is, and for what it is paid, in words."""

    kind: str
    name: str
    place: str
    state: str
    why: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name} ({self.place}, {self.state}): {self.why}"

    def to_json(self) -> dict[str, object]:
        return {"kind": self.kind, "name": self.name, "place": self.place, "state": self.state, "why": self.why}


def costs(compute: Compute, objects: Objects, names: Names, *, lent: str | None) -> list[Cost]:
    """All of a deployment, in every zone and region. `lent`: the name of an address that is not the deployment's."""
    found = [_machine(one) for one in compute.listed("instances", names.filter)]
    found += [_disk(one) for one in compute.listed("disks", names.filter)]
    addresses = compute.listed("addresses", f"name = {names.address}")
    found += [_address(one) for one in addresses if one.text("name") != lent]
    found += [_image(one) for one in compute.listed("images", names.filter)]
    kept = [one for one in objects.listed(names.folder) if one.name != names.lease]
    kept += [one for note in kept if note.name.endswith(f"/{NOTE}") and (one := _archive(objects, note.name))]
    found += [Cost("object", one.name, objects.bucket, "kept", f"{one.size} bytes by the month") for one in kept]
    return found


def free(compute: Compute, names: Names) -> list[str]:
    """What costs nothing and is there all the same: rules of the firewall."""
    wanted = " OR ".join(f"(name = {names.rule(which)})" for which in RULES)
    return [one.text("name") for one in compute.listed("firewalls", wanted)]


def _archive(objects: Objects, note: str) -> Kept | None:
    """The archive that a note tells of."""
    name = objects.read(note)
    found = None if name is None else objects.look(name.decode("utf-8", errors="replace"))
    return None if found is None else found[0]


def _machine(one: Reply) -> Cost:
    status = one.text("status")
    paid = "vCPUs, memory and TDX by the second" if status != "TERMINATED" else "off: its disk alone is paid for"
    return Cost("machine", one.text("name"), _place(one, "zone"), status, paid)


def _disk(one: Reply) -> Cost:
    return Cost(
        "disk", one.text("name"), _place(one, "zone"), one.text("status"), f"{one.text('sizeGb')} GiB by the month"
    )


def _address(one: Reply) -> Cost:
    used = one.text("status") == "IN_USE"
    why = "an address in use" if used else "an address that nothing uses, which is dearer than one in use"
    return Cost("address", one.text("name"), _place(one, "region"), one.text("status"), why)


def _image(one: Reply) -> Cost:
    return Cost("image", one.text("name"), "global", one.text("status"), "its bytes by the month")


def _place(one: Reply, kind: str) -> str:
    return one.maybe(kind).rpartition("/")[2] or "?"
