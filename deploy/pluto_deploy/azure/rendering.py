"""What would be sent to Azure for a first machine. Pure: nothing is asked, and nothing in it is secret."""

from __future__ import annotations

from pluto_deploy.azure import bodies
from pluto_deploy.azure.answers import Json
from pluto_deploy.azure.arm import Place
from pluto_deploy.azure.names import MADE, RELEASE, SLOT, Names, generation_tags
from pluto_deploy.azure.opening import VHD
from pluto_deploy.azure.wanted import Azure
from pluto_deploy.engine.wish import Wish

_SLOT = "a"


def bodies_of(platform: Azure, wish: Wish) -> dict[str, object]:
    """By the resources that they make, in the order in which they are sent."""
    deployment, release = wish.deployment, wish.generation.release
    names, network, by_disk = Names(deployment.name, platform.group), deployment.network, platform.route == "disk"
    own, mark = names.tags, {**names.tags, RELEASE: release}

    def id_of(place: Place) -> str:
        return f"/subscriptions/{platform.subscription}/resourceGroups/{platform.group}/{place.path}"

    sent: dict[Place, Json] = {}
    if platform.subnet is None:
        sent[names.vnet] = bodies.network(platform, own)
    for place, clients in ((names.closed, False), (names.open, True)):
        sent[place] = bodies.rules(platform, own, clients=clients, egress=network.egress, ports=network.ports)
    if platform.address is None:
        sent[names.public(None)] = bodies.address(platform, own)
    disk = names.disk(release, 0)
    size = (wish.dist.root / VHD).stat().st_size
    sent[disk] = bodies.disk(platform, mark, size, secured=by_disk)
    if not by_disk:
        sent[names.gallery] = bodies.gallery(platform, own)
        sent[names.definition] = bodies.definition(platform, own, names.definition.name)
        sent[names.version(release)] = bodies.version(platform, mark, id_of(disk))
    record = {**own, SLOT: _SLOT, MADE: "<time>", **generation_tags(wish.generation)}
    subnet = platform.subnet or f"{id_of(names.vnet)}/subnets/{bodies.SUBNET}"
    sent[names.nic(_SLOT)] = bodies.interface(platform, record, subnet=subnet, rules=id_of(names.closed), address=None)
    sent[names.vm(_SLOT)] = bodies.machine(
        platform,
        {**own, SLOT: _SLOT},
        id_of(names.nic(_SLOT)),
        disk=id_of(disk) if by_disk else None,
        image=None if by_disk else id_of(names.version(release)),
        disk_name=names.made_disk(_SLOT).name,
        config=deployment.payload,
    )
    return {place.path.removeprefix("providers/"): body for place, body in sent.items()}
