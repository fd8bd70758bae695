"""What a machine of a wish is made of: the body of one request, with all that it says of itself."""

from __future__ import annotations

from pluto_deploy.engine.wish import Wish
from pluto_deploy.google import bodies, metadata, names
from pluto_deploy.google.bodies import Boot
from pluto_deploy.google.names import Names
from pluto_deploy.google.releases import Disks, Space
from pluto_deploy.google.wanted import GoogleSpace, GoogleTdx


def body(
    platform: GoogleSpace | GoogleTdx, of: Names, slot: str, wish: Wish, content: Disks | Space
) -> dict[str, object]:
    """The machine of a slot. Asks `content` alone, for the image that it starts from. UsageError, SourceError."""
    reference = content.reference(wish) if isinstance(content, Space) else None
    return machine(platform, of, slot, wish, content.boot(wish), reference)


def machine(
    platform: GoogleSpace | GoogleTdx, of: Names, slot: str, wish: Wish, boot: Boot, reference: str | None
) -> dict[str, object]:
    """The same of what is known. Pure. `reference`: of the container, by digest, for Confidential Space."""
    account = None
    if isinstance(platform, GoogleSpace):
        assert reference is not None, "Confidential Space runs a container"
        items = metadata.space(reference, restart=platform.restart)
        account = platform.account
    else:
        items = metadata.domain(wish.deployment.payload)
    items[names.GENERATION_ITEM] = wish.generation.to_text().decode("ascii")
    return bodies.instance(
        of.instance(slot),
        platform.place,
        boot,
        labels=names.machine_labels(of, slot, wish.generation, boot.image.rpartition("/")[2]),
        metadata=items,
        tag=of.tag,
        account=account,
        secure_boot=account is not None,  # Google's image is signed, ours has no keys enrolled
    )
