"""The builder's own wheels, as requirements/wheels.json locks them: what a bundle carries so that it installs offline.

Format: docs/formats/bundle.md. File names of wheels: PyPA, "Binary distribution format"; tags: PEP 425. Nothing is
installed here; requirements/bootstrap.py does that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from pluto_image.inputs.fetch import Progress, Sources
from pluto_image.inputs.store import Store
from pluto_image.inputs.wheels import Target, ensure_wheels
from pluto_image.lock.lockfile import Wheel
from pluto_image.source_tree import MARKER
from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields, loads

PATH: Final = "requirements/wheels.json"
VERSION: Final = 1
_LARGEST: Final = 2**32  # bytes of one wheel
_ANY: Final = "3.11"  # for wheels of every Python: the oldest that the project runs on
_FILE: Final = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9._]*-[A-Za-z0-9][A-Za-z0-9._+!]*(?:-[0-9][A-Za-z0-9._]*)?"
    r"-(?P<python>[a-z0-9_.]+)-(?P<abi>[a-z0-9_.]+)-(?P<platform>[a-z0-9_.]+)\.whl",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class BuilderWheels:
    """`text`: the file as it is. `wheels`: what any of `pythons` on any of `platforms` needs to run the builder."""

    text: bytes
    pythons: tuple[str, ...]
    platforms: tuple[str, ...]
    wheels: tuple[Wheel, ...]

    @classmethod
    def parse(cls, text: bytes) -> BuilderWheels:
        """Parse requirements/wheels.json. Raises FormatError; wheels must be sorted by file, each once."""
        fields = Fields(loads(text, what=PATH), what=PATH)
        if (version := fields.take("version", int)) != VERSION:
            raise FormatError(PATH, f"version {version} is not known")
        pythons, platforms = _texts(fields.take("pythons", list)), _texts(fields.take("platforms", dict))
        wheels = tuple(_wheel(value) for value in fields.take("wheels", list))
        fields.end()
        if any(a.file >= b.file for a, b in pairwise(wheels)):
            raise FormatError(PATH, "wheels is not sorted by file, or holds a file twice")
        return cls(text, pythons, platforms, wheels)


def of_project(definition: Path) -> BuilderWheels | None:
    """The lock in the project around a definition's folder; None if the project has none. Raises FormatError."""
    for folder in definition.resolve().parents:
        if (folder / MARKER).is_file():
            path = folder / PATH
            return BuilderWheels.parse(path.read_bytes()) if path.is_file() else None
    return None


def bring(
    definition: Path, store: Store, sources: Sources, *, offline: bool = False, progress: Progress | None = None
) -> BuilderWheels | None:
    """Bring the wheels of `of_project` into the store. Raises FormatError, and as `wheels.ensure_wheels` does."""
    found = of_project(definition)
    if found is not None:
        ensure_wheels(found.wheels, store, sources, offline=offline, target=target, progress=progress)
    return found


def target(wheel: Wheel) -> Target:
    """The interpreter that a wheel's file name asks for. Raises FormatError for what is no such name."""
    match = _FILE.fullmatch(wheel.file)
    if match is None:
        raise FormatError(PATH, f"{wheel.file[:120]!r} is not the name of a wheel")
    abis, platforms = (tuple(sorted(match[name].split("."))) for name in ("abi", "platform"))
    if found := re.fullmatch(r"cp(\d)(\d+)", match["python"], re.ASCII):
        return Target("cp", f"{found[1]}.{found[2]}", abis, platforms)
    return Target("py", _ANY, abis, platforms)


def _wheel(value: object) -> Wheel:
    fields = Fields(value, what=f"{PATH}: wheel")
    name, version, file = (str(fields.take(name, str)) for name in ("name", "version", "file"))
    found = Wheel(name, version, file, int(fields.take("size", int)), fields.hex("sha256", 32).hex())
    fields.end()
    target(found)
    if not 0 < found.size <= _LARGEST:
        raise FormatError(PATH, f"size {found.size} of {file} is out of range")
    if re.fullmatch(r"[a-z0-9-]+", name) is None or re.fullmatch(r"[A-Za-z0-9._+!]+", version) is None:
        raise FormatError(PATH, f"name or version of {file} is malformed")
    return found


def _texts(values: object) -> tuple[str, ...]:
    found = tuple(str(value) for value in values) if isinstance(values, list | dict) else ()
    if not found or len(set(found)) != len(found):
        raise FormatError(PATH, "pythons and platforms must hold names, each once")
    return found
