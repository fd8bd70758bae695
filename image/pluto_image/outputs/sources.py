"""sources.json: where the source of everything in the image can be had, and the offer to give it. Pure.

Whoever passes binaries of the GPL on owes their source (GPL 2 §3, GPL 3 §6). Debian's snapshot archive keeps the source
of every package version; it is named by path, `package/NAME/VERSION/`, and not by a host.
Format: docs/formats/sources.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pluto_image.definition import Definition
from pluto_image.lockfile import Lock, Package
from pluto_image.recipe import tables

VERSION: Final = 1


def document(definition: Definition, lock: Lock) -> dict[str, object]:
    """Every source package whose binaries are in the image or the firmware, sorted by name and version."""
    suites = {one.id: one.suite for one in lock.archives}
    return {
        "version": VERSION,
        "offer": (
            f"The sources of every package in {definition.name} {definition.version} are those that Debian publishes, "
            "in the snapshot archive under the paths below. Whoever distributes the image gives a copy of them to "
            "anybody who asks within three years, for no more than it costs to make one."
        ),
        "sources": [
            {
                "name": name,
                "version": version,
                "archive": packages[0].archive,
                "suite": suites[packages[0].archive],
                "path": f"package/{name}/{version}/",
                "packages": [f"{one.name} {one.version}" for one in packages],
            }
            for (name, version), packages in _by_source(shipped(definition, lock))
        ],
        "wheels": [{"name": one.name, "version": one.version, "sha256": one.sha256} for one in lock.wheels],
        "derived": [{"name": one.name, "sha256": one.sha256, "inputs": one.inputs} for one in lock.derived],
        "own": {"file": "source.tar", "licence": "Apache-2.0"},
    }


def shipped(definition: Definition, lock: Lock) -> tuple[Package, ...]:
    """The packages of which something is in the DIST: those of the image, and the firmware's."""
    firmware = tables.parse(definition.recipe).firmware.package
    return (*lock.image, *(one for one in lock.tools if one.name == firmware))


def _by_source(packages: Iterable[Package]) -> list[tuple[tuple[str, str], list[Package]]]:
    found: dict[tuple[str, str], list[Package]] = {}
    for package in packages:
        found.setdefault((package.source, package.source_version), []).append(package)
    return sorted(found.items())
