"""release.json of a build: the unsigned in-toto statement about all its files. Pure.

Format: docs/formats/release.md; `pluto_measure.publish.release` reads it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final

from pluto_image.definition import Definition
from pluto_image.formats.compress import LIBRARY
from pluto_image.lock.lockfile import Lock, Package
from pluto_image.recipe import tables
from pluto_image.source_tree import SourceTree, digest
from pluto_measure.digests import Digests
from pluto_measure.launch import Launch
from pluto_measure.measurements import Measurements
from pluto_measure.publish import facts as release_facts
from pluto_measure.publish import release
from pluto_measure.publish.facts import Facts
from pluto_measure.publish.platforms import described
from pluto_measure.publish.release import Component, Release, Source
from pluto_measure.publish.statement import Statement, of

COMMAND: Final = "pluto-image reproduce RELEASE"


def statement(
    definition: Definition,
    lock: Lock,
    source: SourceTree,
    launch: Launch,
    measurements: Measurements,
    subjects: Mapping[str, Digests],
) -> Statement:
    """The statement; `subjects` are all files of the DIST but this one and the digest list. FormatError for facts."""
    facts = Facts.parse(source.files[f"{source.definition}/{release_facts.FILE}"])
    predicate = Release(
        name=definition.name,
        version=definition.version,
        flavour=launch.flavour,
        build_id=launch.build_id,
        facts=facts,
        source=Source(bytes.fromhex(digest(source.files)), dirty=bool(source.dirty)),
        build=_build(definition, lock),
        components=_components(definition, lock, launch, subjects),
        platforms=tuple(described(profile) for profile in measurements.profiles),
    )
    return of(subjects, release.PREDICATE_TYPE, predicate.to_json())


def _build(definition: Definition, lock: Lock) -> dict[str, Any]:
    archives = [
        {"id": one.id, "suite": one.suite, "date": one.date, "release": one.release_sha256} for one in lock.archives
    ]
    return {
        "definition": {"sha256": definition.digest.hex()},
        "lock": {"sha256": lock.digest},
        "sourceDateEpoch": definition.epoch,
        "archives": archives,
        "tools": {"libzstd": ".".join(map(str, LIBRARY))},
        "command": COMMAND,
        "reproducible": release.REPRODUCIBLE,
    }


def _components(
    definition: Definition, lock: Lock, launch: Launch, subjects: Mapping[str, Digests]
) -> tuple[Component, ...]:
    """What boots, in the order in which it runs, and where each part shows; with a dot: sections of the UKI."""
    recipe = tables.parse(definition.recipe)
    versions = {".linux": _version(lock.image, recipe.kernel.package)}
    firmware = _version(lock.tools, recipe.firmware.package)
    found = [Component("firmware", firmware, subjects["firmware.fd"], ("mrtd", "pcr0"))]
    if launch.gpt_event is not None:
        found.append(Component("partition table", "", launch.gpt_event, ("rtmr1", "pcr5")))
    found.append(Component("pluto.efi", launch.stub, subjects["pluto.efi"], ("rtmr1", "pcr4")))
    for section in launch.sections:
        image = ("rtmr1", "pcr4") if section.name == ".linux" else ()
        registers = (*image, "rtmr2", "pcr11")
        found.append(Component(section.name, versions.get(section.name, ""), section.digests, registers))
    if launch.handed_initrd is not None:
        found.append(Component("initrd", "", launch.handed_initrd, ("rtmr2", "pcr9")))
    return tuple(found)


def _version(packages: Sequence[Package], pattern: str) -> str:
    return next((package.version for package in packages if fnmatchcase(package.name, pattern)), "")
