"""Packages of an image: what was taken of each, and how much of the image it is. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pluto_image.contents.files import File
from pluto_image.contents.recipe import Reasons
from pluto_image.lock.lockfile import Lock
from pluto_image.recipe.patterns import matches
from pluto_measure.errors import FormatError


@dataclass(frozen=True, slots=True)
class PackageFacts:
    """One locked package or wheel. Sizes in bytes: of the archive file, of its files in the root, of their byte code.

    `scripts`: its maintainer scripts by name, none of which ran. `why`: reasons of the recipe's lines that name it.
    """

    name: str
    kind: str  # "package" | "wheel"
    version: str
    source: str
    source_version: str
    suite: str
    archive_size: int
    root_size: int
    byte_code_size: int
    paths: int
    scripts: tuple[str, ...]
    why: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """A share of the image: a package, or something else that accounts for bytes. Sizes in bytes."""

    name: str
    kind: str  # "package" | "wheel" | "source" | "recipe" | "derived" | "kernel"
    size: int
    byte_code_size: int
    paths: int


def packages(lock: Lock, files: Sequence[File], reasons: Reasons) -> tuple[PackageFacts, ...]:
    """All locked packages of the image and its wheels, the largest in the root first."""
    shares = {(part.kind, part.name): part for part in parts(files)}
    suites = {archive.id: archive.suite for archive in lock.archives}
    found = []
    for one in lock.image:
        part = shares.get(("package", one.name), Part(one.name, "package", 0, 0, 0))
        found.append(
            PackageFacts(
                one.name,
                "package",
                one.version,
                one.source,
                one.source_version,
                suites.get(one.archive, one.archive),
                one.size,
                part.size,
                part.byte_code_size,
                part.paths,
                tuple(name for name in one.scripts if name != "triggers"),  # a declaration, no script
                _why(one.name, reasons.packages),
            )
        )
    for wheel in lock.wheels:
        part = shares.get(("wheel", wheel.name), Part(wheel.name, "wheel", 0, 0, 0))
        sizes = (wheel.size, part.size, part.byte_code_size, part.paths)
        found.append(PackageFacts(wheel.name, "wheel", wheel.version, wheel.name, wheel.version, "", *sizes, (), ()))
    return tuple(sorted(found, key=lambda one: (-one.root_size, one.name)))


def parts(files: Iterable[File]) -> tuple[Part, ...]:
    """Whose bytes the root is made of, the largest first. FormatError for an origin that is none."""
    sizes: dict[str, list[int]] = {}
    for file in files:
        one = sizes.setdefault(file.owner, [0, 0, 0])
        one[0] += file.size
        one[1] += file.size if file.is_byte_code else 0
        one[2] += 1
    found = [Part(*_named(owner), *counts) for owner, counts in sizes.items()]
    return tuple(sorted(found, key=lambda one: (-one.size, one.kind, one.name)))


def _named(owner: str) -> tuple[str, str]:
    kind, colon, name = owner.partition(":")
    if not colon or kind not in ("package", "wheel", "source", "recipe", "derived"):
        raise FormatError("files.json", f"origin {owner[:80]!r} is not known")
    return name, kind


def _why(name: str, reasons: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Names of the recipe are exact, but for the kernel's, which is a pattern."""
    exact = reasons.get(name, ())
    return exact or tuple(why for key, values in reasons.items() if "*" in key and matches(key, name) for why in values)
