"""Looks at a deployment in its resource group; changes nothing. IO."""

from __future__ import annotations

from pluto_deploy.azure import names as spelled
from pluto_deploy.azure import seen as found
from pluto_deploy.azure.answers import Json, need, tags
from pluto_deploy.azure.arm import ADDRESS, DEFINITION, DISK, GALLERY, NIC, RULES, VERSION, VM, VNET, Arm
from pluto_deploy.azure.names import Names
from pluto_deploy.azure.seen import Seen
from pluto_deploy.azure.wanted import Azure
from pluto_deploy.engine.scene import SLOTS


def look(arm: Arm, names: Names, platform: Azure) -> Seen:
    """Everything of the deployment. What has its tag is taken for its own."""
    lists = {kind: _ours(arm.listed(kind), names, kind) for kind in (VM, NIC, DISK, ADDRESS, RULES, VNET)}
    galleries = [one for one in arm.listed(GALLERY) if need(one, "name", str, "gallery") == names.gallery.name]
    definitions: list[Json] = []
    versions: list[Json] = []
    if galleries:
        definitions = arm.listed(DEFINITION, names.gallery.name)
        versions = [one for each in definitions for one in arm.listed(VERSION, names.gallery.name, _name(each))]
    lists |= {GALLERY: galleries, DEFINITION: definitions, VERSION: versions}
    rules = [one for one in lists[RULES] if _name(one).lower() == names.open.name]
    machines, nics = {}, {}
    for slot in SLOTS:
        for one in lists[VM]:
            # A list of a group's machines has no word about whether they run.
            if _name(one).lower() == names.vm(slot).name and (whole := arm.get(names.vm(slot), expand="instanceView")):
                machines[slot] = found.vm(whole)
        for one in lists[NIC]:
            if _name(one).lower() == names.nic(slot).name:
                nics[slot] = found.nic(one)
    return Seen(
        names=names,
        public=arm.id(names.public(platform.address)),
        closed=arm.id(names.closed),
        open=arm.id(names.open),
        disks=tuple(found.disk(one, names) for one in lists[DISK]),
        nics=nics,
        vms=machines,
        versions=tuple(map(found.version, versions)),
        addresses=frozenset(_name(one).lower() for one in lists[ADDRESS]),
        open_body=next((tags(one, _name(one)).get(spelled.BODY, "") for one in rules), ""),
        ours=tuple(found.kind_and_name(one, kind) for kind, all_of in lists.items() for one in all_of),
    )


def _ours(listed: list[Json], names: Names, kind: str) -> list[Json]:
    """What has the deployment's tag. The disk that a machine made from an image has none: it goes by its name."""
    return [
        one
        for one in listed
        if tags(one, _name(one)).get(spelled.OWNER) == names.deployment
        or (kind == DISK and names.is_ours(_name(one)) and spelled.OWNER not in tags(one, _name(one)))
    ]


def _name(value: Json) -> str:
    return need(value, "name", str, "a resource")
