"""One release as it is compared: the files of a DIST that say what it is, parsed and held against each other. Pure.

Disks, archives and the container are what these say they are made of, so their digests are enough. Whether anybody
vouches for a release is not asked here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from pluto_image.contents import boot, files, recipe
from pluto_image.contents.opened import open_uki
from pluto_image.formats import untar
from pluto_image.lock.lockfile import Lock
from pluto_image.tree import Entry
from pluto_measure.errors import FormatError, VerificationError
from pluto_measure.launch import Launch
from pluto_measure.measurements import Measurements
from pluto_measure.publish.release import Release
from pluto_measure.publish.statement import Statement

READ: Final = (
    "pluto.efi", "launch.json", "measurements.json", "files.json", "lock.json", "source.tar", "release.json",
)  # fmt: skip
_MOST_SOURCES: Final = 256 * 1024 * 1024  # bytes of a source.tar


@dataclass(frozen=True, slots=True)
class Side:
    """`sections`: of the UKI; `entries`: of its root, by path; `sources`: of source.tar; `sums`: name → SHA-256 in hex.

    `digest`: of the list of digests, in hex.
    """

    release: Release
    launch: Launch
    measurements: Measurements
    lock: Lock
    files: Mapping[str, files.File]
    sections: Mapping[str, bytes]
    entries: Mapping[str, Entry]
    sources: Mapping[str, bytes]
    reasons: recipe.Reasons
    sums: Mapping[str, str]
    digest: str

    @classmethod
    def of(cls, data: Mapping[str, bytes], sums: Mapping[str, str], digest: str) -> Self:
        """From the files that `READ` names. FormatError, VerificationError where they contradict each other."""
        launch = Launch.parse(data["launch.json"])
        measurements = Measurements.parse(data["measurements.json"])
        release = Release.parse(Statement.parse(data["release.json"]))
        for name, other in (("measurements.json", measurements.build_id), ("release.json", release.build_id)):
            if other != launch.build_id:
                raise VerificationError(f"{name} and launch.json are of different builds")
        uki, listed = open_uki(data["pluto.efi"]), files.parse(data["files.json"])
        boot.check(launch, uki.sections)
        files.check(listed, uki.entries)
        return cls(
            release=release,
            launch=launch,
            measurements=measurements,
            lock=Lock.parse(data["lock.json"]),
            files={one.path: one for one in listed},
            sections=uki.sections,
            entries={entry.path: entry for entry in uki.entries},
            sources=_sources(data["source.tar"]),
            reasons=recipe.reasons(data["source.tar"]),
            sums=sums,
            digest=digest,
        )

    def version_of(self, component: str) -> str:
        """The version of a part of what boots, as release.json names both; "" where it says nothing."""
        return next((one.version for one in self.release.components if one.name == component), "")


def _sources(tar: bytes) -> dict[str, bytes]:
    limits = untar.Limits(total=_MOST_SOURCES)
    found: dict[str, bytes] = {}
    for member in untar.members(tar, "", what="source.tar", limits=limits):
        if member.path in found:
            raise FormatError("source.tar", "holds a path twice")
        found[member.path] = member.data
    return found
