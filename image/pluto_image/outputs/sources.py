"""sources.json: where the source of everything in the image can be had, and the offer to give it. Pure.

Whoever passes binaries under the GPL on owes their source (GPL 2 §3, GPL 3 §6). Debian's snapshot archive keeps the
source of every package version; it is named by path, `package/NAME/VERSION/`, and not by a host.
Format: docs/formats/sources.md, schemas/sources.json.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from pluto_image.definition import Definition
from pluto_image.lock.lockfile import Lock, Package
from pluto_image.recipe import tables

VERSION: Final = 1
LICENCE: Final = "Apache-2.0"  # of the project's own files
_SIGNED: Final = re.compile(r"linux-signed-[a-z0-9]+")
_KERNEL: Final = re.compile(r"linux-image-[0-9].*")  # with the code; other packages of that source hold no files


# Built-Using of the shipped packages beyond the kernel's, by binary package and version; a test compares them.
_FURTHER: Final[Mapping[tuple[str, str], tuple[tuple[str, str], ...]]] = {
    ("libre2-11", "20240702-3+b1"): (("unicode-data", "15.1.0-1"),),
}


def document(definition: Definition, lock: Lock) -> dict[str, object]:
    """Every source package of which something is in the image or the firmware, sorted by name and version."""
    suites = {one.id: one.suite for one in lock.archives}
    what = f"{definition.name} {definition.version}"
    return {
        "version": VERSION,
        "offer": (
            f"The corresponding source of every package in {what} is what Debian published, and lies in Debian's "
            "snapshot archive under the paths below. Whoever distributes the image gives a complete copy of it to "
            "anybody who asks within three years, for no more than it costs to make and send one."
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
            for (name, version), packages in by_source((*lock.image, *firmware(definition, lock)))
        ],
        "wheels": [{"name": one.name, "version": one.version, "sha256": one.sha256} for one in lock.wheels],
        "derived": [{"name": one.name, "sha256": one.sha256, "inputs": one.inputs} for one in lock.derived],
        "own": {"file": "source.tar", "licence": LICENCE},
    }


def firmware(definition: Definition, lock: Lock) -> tuple[Package, ...]:
    """The package of the tools tree whose file is shipped as firmware.fd; nothing else of that tree is in a release."""
    name = tables.parse(definition.recipe).firmware.package
    return tuple(one for one in lock.tools if one.name == name)


def sources_of(package: Package) -> tuple[tuple[str, str], ...]:
    """(name, version) of the source packages that a binary package was made of.

    A signed kernel has two: its own source holds signatures alone, and the code is that of `linux`, in the binary
    package's version, as its Built-Using says.
    """
    own = (package.source, package.source_version)
    if _SIGNED.fullmatch(package.source) and _KERNEL.fullmatch(package.name):
        return own, ("linux", package.version)
    return (own, *_FURTHER.get((package.name, package.version), ()))


def by_source(packages: Iterable[Package]) -> list[tuple[tuple[str, str], list[Package]]]:
    """(name, version) of each source package and what was made of it, sorted."""
    found: dict[tuple[str, str], list[Package]] = {}
    for package in packages:
        for source in sources_of(package):
            found.setdefault(source, []).append(package)
    return sorted(found.items(), key=lambda item: item[0])
