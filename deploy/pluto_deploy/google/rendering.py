"""What would be sent to Google Cloud for a first machine. Pure: nothing is asked, and nothing in it is secret."""

from __future__ import annotations

from pluto_deploy.engine.wish import Wish
from pluto_deploy.google import bodies, making
from pluto_deploy.google.bodies import Boot
from pluto_deploy.google.names import ARCHIVE, Names
from pluto_deploy.google.releases import SPACE_PROJECT, reference_of
from pluto_deploy.google.storage import name_of
from pluto_deploy.google.wanted import SPACE_FAMILY, GoogleSpace, GoogleTdx

_SLOT = "a"


def bodies_of(platform: GoogleSpace | GoogleTdx, wish: Wish) -> dict[str, object]:
    """By names, in the order in which they are sent."""
    names, place = Names(wish.deployment.name), platform.place
    sent: dict[str, object] = {}
    if isinstance(platform, GoogleSpace):
        image = platform.image or f"<newest of {SPACE_FAMILY}>"
        boot = Boot(f"projects/{SPACE_PROJECT}/global/images/{image}", bodies.SPACE_DISK)
        reference = reference_of(f"{platform.repository}/{wish.deployment.name}", wish)
    else:
        archive = name_of(wish.image[ARCHIVE].hex(), wish.dist.root / ARCHIVE)
        source, own = f"https://storage.googleapis.com/{place.bucket}/{archive}", names.image(wish.generation.release)
        sent["images.insert"] = bodies.image(own, source, labels=names.image_labels(wish.generation.release))
        boot, reference = Boot(f"projects/{place.project}/global/images/{own}", bodies.OWN_DISK), None
    sent["instances.insert"] = making.machine(platform, names, _SLOT, wish, boot, reference)
    network = wish.deployment.network
    for rule in bodies.firewalls(names, place, network.egress, network.ports):
        sent[f"firewalls.insert/{rule['name']}"] = rule
    if place.address is None:
        sent["addresses.insert"] = bodies.address(names.address)
    return sent
