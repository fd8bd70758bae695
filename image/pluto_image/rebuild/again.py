"""What a release was built from, read from the release alone, and its files made again in memory. Nothing of it runs.

Format of source.tar: POSIX.1-1988 ustar as `pluto_image.source_tree.tar` writes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pluto_image import build
from pluto_image import definition as definitions
from pluto_image.definition import Definition
from pluto_image.formats import untar
from pluto_image.inputs.store import Store
from pluto_image.lock.lockfile import Lock
from pluto_image.outputs.everything import Outputs
from pluto_image.outputs.everything import outputs as all_outputs
from pluto_image.rebuild.view import View
from pluto_image.source_tree import SourceTree
from pluto_image.tree import Kind
from pluto_measure.errors import FormatError, VerificationError
from pluto_measure.formats.strict_json import loads
from pluto_measure.launch import FLAVOURS
from pluto_measure.publish.digest_list import SUMS, format_sums

_SOURCE: Final = "source.tar"
_LARGEST_FILE: Final = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Ingredients:
    """All that decides the bytes. `shelved`: the lock that lies in source.tar beside the definition, None if none."""

    definition: Definition
    lock: Lock
    source: SourceTree
    flavour: str
    shelved: Lock | None


def ingredients(source_tar: bytes, lock: bytes, launch: bytes, release: bytes) -> Ingredients:
    """From the texts of source.tar, lock.json, launch.json and release.json.

    The last two only say which flavour it is and whether the tree was dirty; if that is a lie, bytes differ. Raises
    FormatError, and VerificationError if the lock belongs to another definition than that in source.tar.
    """
    files = _files(source_tar)
    folder = _definition(files)
    definition, locked = definitions.parse(files[f"{folder}/{definitions.FILE}"]), Lock.parse(lock)
    if locked.definition_digest != definition.lock_digest.hex():
        raise VerificationError("lock.json was made for another definition than that in source.tar")
    flavour, dirty = _said(launch, release)
    source = SourceTree(Path(), folder, files, (_SOURCE,) if dirty and flavour == "debug" else ())
    own = files.get(f"{folder}/{definitions.LOCK}")
    return Ingredients(definition, locked, source, flavour, _lock(own) if own is not None else None)


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """All files of the build in memory."""

    build_id: str
    outputs: Outputs


def rebuilt(made_of: Ingredients, store: Store, say: build.Say) -> Rebuilt:
    """Build with the builder that is installed here. Errors of `build.build_image` and `everything.outputs`."""
    parts = made_of.definition, made_of.lock
    image = build.build_image(*parts, store, made_of.source, made_of.flavour, say)
    say("making all outputs")
    return Rebuilt(image.build_id, all_outputs(*parts, made_of.source, image))


def views(outputs: Outputs) -> dict[str, View]:
    """Every file that a build writes, the digest list too."""
    found = {name: View.of(data) for name, data in outputs.texts.items()}
    found |= {name: View.sparse(size, chunks()) for name, (size, chunks) in outputs.sparse.items()}
    return found | {SUMS: View.of(format_sums(outputs.sums).encode())}


def _files(source_tar: bytes) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for member in untar.members(source_tar, "", what=_SOURCE, limits=untar.Limits(total=64 << 20, members=20_000)):
        if member.kind is not Kind.FILE or len(member.data) > _LARGEST_FILE:
            raise FormatError(_SOURCE, f"{member.path} is no plain file of at most 16 MiB")
        found[member.path] = member.data
    return found


def _definition(files: Mapping[str, bytes]) -> str:
    folders = [path.rpartition("/")[0] for path in files if path.endswith(f"/{definitions.FILE}")]
    if len(folders) != 1:
        raise FormatError(_SOURCE, f"holds {len(folders)} definitions, not one")
    return folders[0]


def _said(launch: bytes, release: bytes) -> tuple[str, bool]:
    """Flavour and dirtiness, from launch.json or, where that is damaged, from the statement."""
    match _loaded(launch):
        case {"flavour": str(flavour), "commandLine": str(line)} if flavour in FLAVOURS:
            return flavour, "pluto.source=dirty" in line.split(" ")
    match _loaded(release):
        case {"predicate": {"flavour": str(flavour), "source": {"dirty": bool(dirty)}}} if flavour in FLAVOURS:
            return flavour, dirty
    raise FormatError("release", "neither launch.json nor release.json says which flavour it is")


def _loaded(text: bytes) -> Any:
    try:
        return loads(text, what="release")
    except FormatError:
        return None


def _lock(text: bytes) -> Lock | None:
    try:
        return Lock.parse(text)
    except FormatError:
        return None
