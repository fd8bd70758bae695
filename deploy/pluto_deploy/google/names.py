"""Every name and label of what a deployment has in a Google Cloud project. Pure; nothing else spells one of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pluto_deploy.engine.scene import SLOTS, Generation

DEPLOYMENT: Final = "pluto-deployment"  # labels; values have at most 63 of a-z, 0-9, - and _
SLOT: Final = "pluto-slot"
RELEASE: Final = "pluto-release"
GENERATION: Final = "pluto-generation"
STATE: Final = "pluto-state"  # of a machine: what was last done to it
SERVING: Final = "pluto-serving"  # of the address: the slot that serves
HOST_IMAGE: Final = "pluto-host-image"

STARTED: Final = "started"
STOPPED: Final = "stopped"
REFUSED: Final = "refused"

GENERATION_ITEM: Final = "pluto-generation"  # metadata of a machine: the whole generation
CONFIG_ITEM: Final = "pluto-config"  # the run-time configuration
NETWORK_INTERFACE: Final = "nic0"
ACCESS: Final = "External NAT"
RULES: Final = ("in", "in-none", "out", "out-none")
ARCHIVE: Final = "gcp.tar.gz"
NOTE: Final = "archive"  # an object beside a release that says where its archive is, while there is one
_SHORT: Final = 40  # hex digits of a digest: as good as all of it, and short enough for names and labels


@dataclass(frozen=True, slots=True)
class Names:
    """Of one deployment, whose name has at most 32 letters."""

    deployment: str

    @property
    def address(self) -> str:
        return f"pluto-{self.deployment}"

    @property
    def tag(self) -> str:
        """Of its machines: what its firewall rules are about."""
        return f"pluto-{self.deployment}"

    def instance(self, slot: str) -> str:
        """Of the machine in a slot, and of its disk."""
        assert slot in SLOTS
        return f"pluto-{self.deployment}-{slot}"

    def image(self, release: str) -> str:
        return f"pluto-{self.deployment[:12]}-{release[:_SHORT]}"

    def rule(self, which: str) -> str:
        assert which in RULES
        return f"pluto-{self.deployment}-{which}"

    @property
    def folder(self) -> str:
        """What objects in the bucket begin with."""
        return f"pluto/{self.deployment}/"

    def object(self, release: str, name: str) -> str:
        """A file of a release."""
        return f"{self.folder}releases/{release}/{name}"

    @property
    def lease(self) -> str:
        return f"{self.folder}lease"

    @property
    def labels(self) -> dict[str, str]:
        """What all of it is found by."""
        return {DEPLOYMENT: self.deployment}

    def image_labels(self, release: str) -> dict[str, str]:
        """What an image of a release says of itself."""
        return {**self.labels, RELEASE: short(release)}

    @property
    def filter(self) -> str:
        """The same, as lists are asked."""
        return f"labels.{DEPLOYMENT}={self.deployment}"


def short(digest: str) -> str:
    """A digest as a label has it."""
    return digest[:_SHORT]


def machine_labels(names: Names, slot: str, generation: Generation, host_image: str) -> dict[str, str]:
    """What a machine says of itself when it is made."""
    return {
        **names.labels,
        SLOT: slot,
        RELEASE: short(generation.release),
        GENERATION: short(generation.id),
        HOST_IMAGE: host_image,
        STATE: STARTED,
    }
