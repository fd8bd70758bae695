"""A release as an image version of a gallery, from which many machines can be made. IO.

The version comes from a disk that is uploaded for it and then removed. Its number is made of the release's digest, so
that it is found again, and never is the latest one.
"""

from __future__ import annotations

from dataclasses import dataclass

from pluto_deploy.azure import bodies
from pluto_deploy.azure.answers import find, tags
from pluto_deploy.azure.arm import Arm, Place
from pluto_deploy.azure.disks import Disks, Vhd
from pluto_deploy.azure.names import OWNER, RELEASE, Names
from pluto_deploy.azure.seen import Seen
from pluto_deploy.azure.wanted import Azure
from pluto_measure.errors import UsageError
from pluto_measure.progress import Progress


@dataclass(frozen=True, slots=True)
class Galleries:
    """The gallery of one deployment."""

    arm: Arm
    names: Names
    platform: Azure
    disks: Disks
    progress: Progress

    def whole(self, release: str, vhd: Vhd, seen: Seen) -> Place:
        """The image version of the release, replicated."""
        place = self.names.version(release)
        found = self.arm.get(place)
        state = None if found is None else find(found, "properties.provisioningState", str, str(place))
        if found is not None and tags(found, str(place)).get(RELEASE) != release:
            raise UsageError(f"{place} is there already, and is not of release {release[:12]}")
        if state == "Failed":
            self.arm.delete(place)
        if state != "Succeeded":
            self._make(place, release, vhd, seen)
        return place

    def _make(self, place: Place, release: str, vhd: Vhd, seen: Seen) -> None:
        marks = {**self.names.tags, RELEASE: release}
        disk = self.disks.whole(release, vhd, seen)
        self._own(self.names.gallery, bodies.gallery(self.platform, self.names.tags))
        definition = bodies.definition(self.platform, self.names.tags, self.names.definition.name)
        self._own(self.names.definition, definition)
        self.progress.doing(f"making image version {place.name} of {disk.name}")
        self.arm.put(place, bodies.version(self.platform, marks, self.arm.id(disk)))
        self.progress.step(f"image version {place.name} is there")
        self.arm.delete(disk)

    def _own(self, place: Place, body: dict[str, object]) -> None:
        found = self.arm.get(place)
        if found is None:
            self.arm.put(place, body)
        elif tags(found, str(place)).get(OWNER) != self.names.deployment:
            raise UsageError(f"{place} is there already, and is not of this deployment")
