"""What of which source package is in a build, from its own files. Pure.

In the image is what files.json lists, what pluto.efi holds beside the root (kernel, stub), and firmware.fd. A package
that was locked and left no file behind is not: what is wrong with it is wrong nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from pluto_image.audit.model import Component, Inside, Source
from pluto_image.contents.files import File
from pluto_image.lock.lockfile import Lock, Package
from pluto_image.outputs.sources import sources_of
from pluto_image.recipe.patterns import matches
from pluto_image.tree import Kind
from pluto_measure.errors import FormatError

UNSTABLE: Final = "sid"
_BACKPORT: Final = re.compile(r"~bpo[0-9]+\+[0-9]+$")
_UKI, _FIRMWARE = "pluto.efi", "firmware.fd"
_WHAT: Final = "image.toml in source.tar"


def inside(lock: Lock, files: Sequence[File], recipe: Mapping[str, Any]) -> Inside:
    """What is in the image. `recipe` is the parsed image.toml. FormatError where it names no kernel or firmware."""
    carried = {_package(recipe, "kernel"): _UKI, _package(recipe, "stub"): _UKI}
    firmware = _package(recipe, "firmware")
    paths = _paths(files)
    found = [(one, (*_carried(one.name, carried), *paths.get(one.name, ()))) for one in lock.image]
    found += [(one, (_FIRMWARE,)) for one in lock.tools if one.name == firmware]
    if _FIRMWARE not in {path for _, some in found for path in some}:
        raise FormatError("lock.json", f"has no package {firmware} for the firmware")
    suites = {one.id: one.suite for one in lock.archives}
    wheels = tuple(f"{one.name} {one.version} (Python wheel)" for one in lock.wheels)
    return Inside(
        sources=_by_source(((package, some) for package, some in found if some), suites),
        outside=tuple(package.name for package, some in found if not some),
        uncovered=(*wheels, "the project's own files"),
    )


def tracked(suite: str, version: str) -> tuple[str, str]:
    """The tracker's line for a package of this suite, and the version to compare there.

    The tracker does not look after backports. One is a version of unstable, built again.
    """
    codename, _, kind = suite.partition("-")
    return (UNSTABLE, _BACKPORT.sub("", version)) if kind.startswith("backports") else (codename, version)


def _by_source(found: Iterable[tuple[Package, tuple[str, ...]]], suites: Mapping[str, str]) -> tuple[Source, ...]:
    grouped: dict[tuple[str, str, str, str], list[Component]] = {}
    for package, paths in found:
        component = Component(package.name, package.version, package.architecture, paths)
        for name, version in sources_of(package):
            key = (name, version, *tracked(suites[package.archive], version))
            grouped.setdefault(key, []).append(component)
    return tuple(Source(*key, tuple(components)) for key, components in sorted(grouped.items()))


def _paths(files: Iterable[File]) -> dict[str, tuple[str, ...]]:
    """Files and links in the root by package; byte code counts for the package of its source."""
    found: dict[str, list[str]] = {}
    for file in files:
        kind, _, name = file.owner.partition(":")
        if kind == "package" and file.kind is not Kind.DIRECTORY:
            found.setdefault(name, []).append(file.path)
    return {name: tuple(paths) for name, paths in found.items()}


def _carried(name: str, carried: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(sorted({file for pattern, file in carried.items() if matches(pattern, name)}))


def _package(recipe: Mapping[str, Any], table: str) -> str:
    found = recipe.get(table)
    name = found.get("package") if isinstance(found, dict) else None
    if not isinstance(name, str) or not name:
        raise FormatError(_WHAT, f"[{table}] names no package")
    return name
