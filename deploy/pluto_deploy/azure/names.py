"""What everything of a deployment is called, and the tags by which it is found again. Pure; nothing else spells one.

Resources are named after the deployment and their part in it. Names that another deployment could have too are told
apart by their form: a part is one of a few words, or the digest of a release and a number.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from pluto_deploy.azure.arm import ADDRESS, DEFINITION, DISK, GALLERY, NIC, RULES, VERSION, VM, VNET, Place
from pluto_deploy.engine.scene import Generation
from pluto_measure.errors import FormatError

OWNER: Final = "pluto-deployment"
SLOT: Final = "pluto-slot"
RELEASE: Final = "pluto-release"  # SHA-256 of release.json
WHOLE: Final = "pluto-whole"  # of a disk: every byte is there
MADE: Final = "pluto-made"
REFUSED: Final = "pluto-refused"
LEFT: Final = "pluto-left"  # of the record whose machine the clients' address is on its way from
CLAIM: Final = "pluto-claim"
BODY: Final = "pluto-body"  # the digest of what was sent last
_GENERATION: Final = "pluto-generation-"
_TAG: Final = 256  # characters of a tag's value
_DIGITS: Final = 20
MOST_DISKS: Final = 4  # of one release: two slots, and what a failure left
_PARTS: Final = re.compile(rf"a|b|a-os|b-os|net|open|closed|public|[0-9a-f]{{{_DIGITS}}}-[0-{MOST_DISKS - 1}]")


@dataclass(frozen=True, slots=True)
class Names:
    """Of one deployment in one resource group."""

    deployment: str
    group: str

    @property
    def tags(self) -> dict[str, str]:
        return {OWNER: self.deployment}

    def vm(self, slot: str) -> Place:
        return Place(VM, (self._of(slot),))

    def nic(self, slot: str) -> Place:
        """Which also is the record of what the slot's machine is."""
        return Place(NIC, (self._of(slot),))

    def own_address(self, slot: str) -> Place:
        """By which a machine is reached before clients reach it."""
        return Place(ADDRESS, (self._of(slot),))

    def public(self, name: str | None) -> Place:
        """Where clients come; `name`: one that is the operator's."""
        return Place(ADDRESS, (name or self._of("public"),))

    def made_disk(self, slot: str) -> Place:
        """The disk that a machine makes from an image."""
        return Place(DISK, (self._of(f"{slot}-os"),))

    def disk(self, release: str, number: int) -> Place:
        """A release's disk, of which every machine needs one of its own."""
        return Place(DISK, (self._of(f"{release[:_DIGITS]}-{number}"),))

    @property
    def open(self) -> Place:
        return Place(RULES, (self._of("open"),))

    @property
    def closed(self) -> Place:
        return Place(RULES, (self._of("closed"),))

    @property
    def vnet(self) -> Place:
        return Place(VNET, (self._of("net"),))

    @property
    def gallery(self) -> Place:
        """Unique in the subscription, and without hyphens."""
        mark = hashlib.sha256(f"{self.group.lower()} {self.deployment}".encode()).hexdigest()[:8]
        return Place(GALLERY, (f"pluto_{self.deployment.replace('-', '_')}_{mark}",))

    @property
    def definition(self) -> Place:
        return Place(DEFINITION, (self.gallery.name, self._of("image")))

    def version(self, release: str) -> Place:
        return Place(VERSION, (*self.definition.names, version_of(release)))

    def is_ours(self, name: str) -> bool:
        """Whether a name is one of these. Services answer in the case that they like."""
        prefix, name = self._of(""), name.lower()
        return name.startswith(prefix) and _PARTS.fullmatch(name.removeprefix(prefix)) is not None

    def _of(self, part: str) -> str:
        return f"pluto-{self.deployment}-{part}"


def version_of(release: str) -> str:
    """A release as the three numbers of an image version: the first 90 bits of its digest."""
    number = int(release[:24], 16) >> 6
    return ".".join(str(number >> shift & 0x3FFFFFFF) for shift in (60, 30, 0))


def generation_tags(generation: Generation) -> dict[str, str]:
    """A generation in tags, each of which has room for 256 characters."""
    text = generation.to_text().decode().strip()
    parts = [text[at : at + _TAG] for at in range(0, len(text), _TAG)]
    return {f"{_GENERATION}{number}": part for number, part in enumerate(parts)}


def without_generation(tags: dict[str, str]) -> dict[str, str]:
    """The tags of a machine whose unmaking has begun."""
    return {name: value for name, value in tags.items() if not name.startswith(_GENERATION)}


def generation_of(tags: dict[str, str]) -> Generation | None:
    """What tags say; None where they say nothing, or half of it."""
    parts: list[str] = []
    while (part := tags.get(f"{_GENERATION}{len(parts)}")) is not None:
        parts.append(part)
    try:
        return Generation.parse("".join(parts)) if parts else None
    except FormatError:
        return None
