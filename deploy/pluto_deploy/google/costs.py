"""What of a deployment is there and is paid for, by listing: machines, disks, addresses, images, objects."""

from __future__ import annotations

from typing import Final

from pluto_deploy.cloud.costs import Cost
from pluto_deploy.google.compute import Compute
from pluto_deploy.google.names import NOTE, RULES, Names
from pluto_deploy.google.objects import Kept, Objects
from pluto_deploy.google.reply import Reply

_DESTROY: Final = "destroy"
_REMOVED: Final = "its machine is removed, or destroy"
_UNUSED: Final = "no machine needs it and apply tidies up, or destroy"


def costs(compute: Compute, objects: Objects, names: Names, *, lent: str | None) -> list[Cost]:
    """All of a deployment, in every zone and region. `lent`: the name of an address that is not the deployment's."""
    found = [_machine(one) for one in compute.listed("instances", names.filter)]
    found += [_disk(one) for one in compute.listed("disks", names.filter)]
    addresses = compute.listed("addresses", f"name = {names.address}")
    found += [_address(one) for one in addresses if one.text("name") != lent]
    found += [_image(one) for one in compute.listed("images", names.filter)]
    kept = [one for one in objects.listed(names.folder) if one.name != names.lease]
    kept += [one for note in kept if note.name.endswith(f"/{NOTE}") and (one := _archive(objects, note.name))]
    where = f"bucket {objects.bucket}"
    found += [Cost(f"object {one.name}", where, f"{one.size} bytes by the month", _UNUSED) for one in kept]
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
    on = one.text("status") != "TERMINATED"
    paid = "vCPUs, memory and TDX by the second" if on else "off: its disk alone is paid for"
    return _cost("machine", one, "zone", paid, "it is stopped by apply, or destroy" if on else _REMOVED)


def _disk(one: Reply) -> Cost:
    return _cost("disk", one, "zone", f"{one.text('sizeGb')} GiB by the month", _REMOVED)


def _address(one: Reply) -> Cost:
    used = one.text("status") == "IN_USE"
    why = "an address in use" if used else "an address that nothing uses, which is dearer than one in use"
    return _cost("address", one, "region", why, _DESTROY)


def _image(one: Reply) -> Cost:
    return _cost("image", one, None, "its bytes by the month", _UNUSED)


def _cost(kind: str, one: Reply, place: str | None, why: str, until: str) -> Cost:
    where = "global" if place is None else _place(one, place)
    return Cost(f"{kind} {one.text('name')}", f"{where}, {one.text('status')}", why, until)


def _place(one: Reply, kind: str) -> str:
    return one.maybe(kind).rpartition("/")[2] or "?"
