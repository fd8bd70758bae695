"""image.toml: what an image is made of. Parsing is strict: an unknown name is an error, nothing has a silent default.

This module reads the tables that decide the lock ([archive], [image], [tools], [wheel]) and hands the tables of the
recipe over as they are; `pluto_image.recipe` reads those. `lock_digest` covers the former only, so that a change of
the recipe does not ask for a new lock. Format: docs/formats/lock.md.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pluto_image.debian.relations import parse_relations
from pluto_measure.errors import FormatError, UsageError
from pluto_measure.formats.strict_json import Fields, canonical

FILE: Final = "image.toml"
LOCK: Final = "lock.json"
EVIDENCE: Final = "evidence"
KEYS: Final = "keys"
_ARCHITECTURES: Final = ("amd64",)
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9+.-]{0,63}", re.ASCII)
_SUITE: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}", re.ASCII)
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}", re.ASCII)
_OWN: Final = ("name", "version", "architecture", "epoch", "archive", "image", "tools", "wheel")
_LOCKED: Final = ("architecture", "archive", "image", "tools", "wheel")


@dataclass(frozen=True, slots=True)
class Archive:
    """A suite of a Debian archive. `path` is the archive's folder on a mirror; fingerprints are of primary keys."""

    id: str
    suite: str
    components: tuple[str, ...]
    path: str
    fingerprints: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Exclude:
    """A package that dependencies ask for and that is left out, and why that is right."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Tree:
    """One set of packages: where from, which ones, which not."""

    archives: tuple[str, ...]
    install: tuple[str, ...]
    exclude: tuple[Exclude, ...]

    @property
    def excluded(self) -> frozenset[str]:
        return frozenset(one.name for one in self.exclude)


@dataclass(frozen=True, slots=True)
class WheelRequest:
    """A Python wheel for which Debian has no package. Size in bytes, SHA-256."""

    name: str
    version: str
    file: str
    size: int
    sha256: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Definition:
    """A parsed image.toml. `epoch`: the one modification time of all files, seconds since 1970."""

    name: str
    version: str
    architecture: str
    epoch: int
    archives: tuple[Archive, ...]
    image: Tree
    tools: Tree
    wheels: tuple[WheelRequest, ...]
    recipe: Mapping[str, Any]
    lock_digest: bytes
    digest: bytes

    def archive(self, name: str) -> Archive:
        """The archive with this id; parsing made sure that those which trees name exist."""
        return next(archive for archive in self.archives if archive.id == name)


def load(folder: Path) -> Definition:
    """Read the definition in `folder`. Raises UsageError if there is none, FormatError."""
    path = folder / FILE
    if not path.is_file():
        raise UsageError(
            f"{folder} holds no {FILE}", hint="name the folder of an image, as in 'pluto-image build image/notary'"
        )
    return parse(path.read_bytes(), what=FILE)


def parse(data: bytes, *, what: str = FILE) -> Definition:
    """Parse the text of an image.toml. Raises FormatError."""
    try:
        document = tomllib.loads(data.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise FormatError(what, f"not TOML: {error}") from error
    own = {key: value for key, value in document.items() if key in _OWN}
    recipe = {key: value for key, value in document.items() if key not in _OWN}
    if wrong := [key for key, value in recipe.items() if not isinstance(value, dict | list)]:
        raise FormatError(what, f"unknown name {sorted(wrong)[0]}")
    fields = Fields(own, what=what)
    architecture = _one_of(fields, "architecture", _ARCHITECTURES, what)
    archives = _archives(fields.take("archive", list), what)
    ids = [archive.id for archive in archives]
    definition = Definition(
        name=_match(_NAME, fields.take("name", str), f"{what}: name"),
        version=_match(_NAME, fields.take("version", str), f"{what}: version"),
        architecture=architecture,
        epoch=_epoch(fields.take("epoch", int), what),
        archives=archives,
        image=_tree(fields.sub("image"), ids, architecture, f"{what}: image"),
        tools=_tree(fields.sub("tools"), ids, architecture, f"{what}: tools"),
        wheels=tuple(_wheel(value, f"{what}: wheel") for value in fields.get("wheel", [], list)),
        recipe=recipe,
        lock_digest=_digest({key: own[key] for key in _LOCKED if key in own}, what),
        digest=_digest(document, what),
    )
    fields.end()
    return definition


def _archives(values: list[Any], what: str) -> tuple[Archive, ...]:
    found = []
    for value in values:
        fields = Fields(value, what=f"{what}: archive")
        archive = Archive(
            id=_match(_NAME, fields.take("id", str), f"{what}: archive id"),
            suite=_match(_SUITE, fields.take("suite", str), f"{what}: suite"),
            components=tuple(_match(_SUITE, one, f"{what}: component") for one in _texts(fields, "components", what)),
            path=_match(_SUITE, fields.take("path", str), f"{what}: path"),
            fingerprints=tuple(
                _match(_FINGERPRINT, one, f"{what}: fingerprint") for one in _texts(fields, "fingerprints", what)
            ),
        )
        fields.end()
        if not archive.components or not archive.fingerprints:
            raise FormatError(what, f"archive {archive.id} needs components and fingerprints")
        found.append(archive)
    if not found or len({archive.id for archive in found}) != len(found):
        raise FormatError(what, "there must be at least one archive, each with an id of its own")
    return tuple(found)


def _tree(fields: Fields, ids: list[str], architecture: str, what: str) -> Tree:
    tree = Tree(
        archives=_texts(fields, "archives", what),
        install=_texts(fields, "install", what),
        exclude=tuple(_exclude(value, what) for value in fields.get("exclude", [], list)),
    )
    fields.end()
    if unknown := [one for one in tree.archives if one not in ids]:
        raise FormatError(what, f"archive {unknown[0]} is not defined")
    for text in tree.install:
        if len(parse_relations(text, architecture=architecture)) != 1:
            raise FormatError(what, f"install entry {text!r} must be one relation")
    if len(tree.excluded) != len(tree.exclude):
        raise FormatError(what, "a package is excluded twice")
    return tree


def _exclude(value: object, what: str) -> Exclude:
    fields = Fields(value, what=f"{what}: exclude")
    found = Exclude(_match(_NAME, fields.take("name", str), f"{what}: exclude"), fields.take("reason", str))
    fields.end()
    if not found.reason.strip():
        raise FormatError(what, f"exclude {found.name} gives no reason")
    return found


def _wheel(value: object, what: str) -> WheelRequest:
    fields = Fields(value, what=what)
    file = fields.take("file", str)
    found = WheelRequest(
        name=fields.take("name", str),
        version=fields.take("version", str),
        file=file,
        size=fields.take("size", int),
        sha256=fields.hex("sha256", 32),
        reason=fields.take("reason", str),
    )
    fields.end()
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*\.whl", file) is None or not found.reason.strip():
        raise FormatError(what, f"{found.name} needs the name of a .whl file and a reason")
    return found


def _texts(fields: Fields, name: str, what: str) -> tuple[str, ...]:
    values = fields.take(name, list)
    if not all(isinstance(one, str) for one in values) or len(set(values)) != len(values):
        raise FormatError(what, f"{name} must hold texts, each once")
    return tuple(values)


def _epoch(value: int, what: str) -> int:
    if not 315_532_800 <= value < 2**32:  # FAT counts from 1980, cpio's newc has 32 bits
        raise FormatError(what, f"epoch {value} is not between 1980 and 2106")
    return value


def _one_of(fields: Fields, name: str, allowed: tuple[str, ...], what: str) -> str:
    value = str(fields.take(name, str))
    if value not in allowed:
        raise FormatError(what, f"{name} {value!r} is not one of {', '.join(allowed)}")
    return value


def _match(pattern: re.Pattern[str], value: object, what: str) -> str:
    if not isinstance(value, str) or pattern.fullmatch(value) is None:
        raise FormatError(what, f"{value!r} is malformed")
    return value


def _digest(value: object, what: str) -> bytes:
    try:
        return hashlib.sha256(canonical(value)).digest()
    except TypeError as error:
        raise FormatError(what, f"cannot be digested: {error}") from error
