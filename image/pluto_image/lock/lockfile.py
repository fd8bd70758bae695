"""lock.json: every input of a build by hash. Pure; format: docs/formats/lock.md.

SHA-256 and size decide what a file is. SHA-1 is only its address in the snapshot archive, path and archive only its
address on a mirror. One lock has one text (`Lock.to_text`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final, Self

from pluto_image.debian.relations import check_version
from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields, canonical, loads, pretty, unhex

VERSION: Final = 1
DATE: Final = "%Y-%m-%dT%H:%M:%SZ"
SCRIPTS: Final = ("preinst", "postinst", "prerm", "postrm", "config", "triggers")
_WHAT: Final = "lock.json"
_LARGEST: Final = 2**32  # bytes of one input
_PATH: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9/.+~_%:-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Package:
    """One binary package. Digests in hex; `scripts`: maintainer script → SHA-256 in hex."""

    name: str
    version: str
    architecture: str
    size: int
    sha256: str
    sha1: str
    path: str
    archive: str
    source: str
    source_version: str
    scripts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Wheel:
    """One Python wheel: from a package index, a store or a bundle; SHA-256 in hex."""

    name: str
    version: str
    file: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Derived:
    """A file that was computed from locked packages at lock time. `inputs`: SHA-256 over what it was made from."""

    name: str
    size: int
    sha256: str
    inputs: str


@dataclass(frozen=True, slots=True)
class Index:
    """One Packages index as the Release file lists it: the evidence for every package of the archive."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class LockedArchive:
    """The state of an archive that was locked: its signed Release file (evidence/ID.InRelease) and its indexes."""

    id: str
    suite: str
    path: str
    date: str
    release_size: int
    release_sha256: str
    signed_by: tuple[str, ...]
    indexes: tuple[Index, ...]


@dataclass(frozen=True, slots=True)
class Lock:
    """All inputs. `definition_digest` (hex) is the definition's `lock_digest`."""

    version: int
    definition_digest: str
    archives: tuple[LockedArchive, ...]
    image: tuple[Package, ...]
    tools: tuple[Package, ...]
    wheels: tuple[Wheel, ...]
    derived: tuple[Derived, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "version": self.version,
            "definition": self.definition_digest,
            "archives": [_archive_json(one) for one in self.archives],
            "image": [_package_json(one) for one in self.image],
            "tools": [_package_json(one) for one in self.tools],
            "wheels": [_plain(one) for one in self.wheels],
            "derived": [_plain(one) for one in self.derived],
        }

    def to_text(self) -> str:
        """The one text of this lock."""
        return pretty(self.to_json())

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON, in hex."""
        return hashlib.sha256(canonical(self.to_json())).hexdigest()

    @property
    def tools_digest(self) -> str:
        """SHA-256 over the content of the tools tree alone, in hex: names the unpacked tree."""
        return hashlib.sha256(canonical([[one.name, one.sha256] for one in self.tools])).hexdigest()

    def package(self, name: str) -> Package:
        """The package of the image, else of the tools, with this name. Raises FormatError."""
        for one in (*self.image, *self.tools):
            if one.name == name:
                return one
        raise FormatError(_WHAT, f"holds no package {name}")

    @classmethod
    def parse(cls, text: bytes | str) -> Self:
        """Parse a lock. Raises FormatError; lists must be sorted and free of doubles."""
        fields = Fields(loads(text, what=_WHAT), what=_WHAT)
        version = fields.take("version", int)
        if version != VERSION:
            raise FormatError(_WHAT, f"version {version} is not known")
        lock = cls(
            version=version,
            definition_digest=fields.hex("definition", 32).hex(),
            archives=tuple(_archive(value) for value in fields.take("archives", list)),
            image=tuple(_package(value) for value in fields.take("image", list)),
            tools=tuple(_package(value) for value in fields.take("tools", list)),
            wheels=tuple(_wheel(value) for value in fields.take("wheels", list)),
            derived=tuple(_derived(value) for value in fields.take("derived", list)),
        )
        fields.end()
        known = {archive.id for archive in lock.archives}
        if stray := [one.name for one in (*lock.image, *lock.tools) if one.archive not in known]:
            raise FormatError(_WHAT, f"package {stray[0]} comes from an archive that is not locked")
        for what in ("image", "tools", "wheels", "derived"):
            _sorted([one.name for one in getattr(lock, what)], what)
        return lock


def with_derived(lock: Lock, derived: Iterable[Derived]) -> Lock:
    """The lock with these derived inputs in place of those of the same name."""
    found = {one.name: one for one in (*lock.derived, *derived)}
    return replace(lock, derived=tuple(found[name] for name in sorted(found)))


def script_changes(old: Iterable[Package], new: Iterable[Package]) -> tuple[tuple[str, str], ...]:
    """(package, script) for every maintainer script that is new, gone or other than before."""
    before = {one.name: one.scripts for one in old}
    found = []
    for package in new:
        known = before.get(package.name, {})
        for script in sorted({*known, *package.scripts}):
            if known.get(script) != package.scripts.get(script):
                found.append((package.name, script))
    return tuple(found)


def _archive(value: object) -> LockedArchive:
    fields = Fields(value, what=f"{_WHAT}: archive")
    found = LockedArchive(
        id=fields.take("id", str),
        suite=fields.take("suite", str),
        path=_path(fields.take("path", str)),
        date=_date(fields.take("date", str)),
        release_size=_size(fields, "releaseSize"),
        release_sha256=fields.hex("releaseSha256", 32).hex(),
        signed_by=tuple(fields.take("signedBy", list)),
        indexes=tuple(_index(one) for one in fields.take("indexes", list)),
    )
    fields.end()
    if not all(isinstance(one, str) for one in found.signed_by):
        raise FormatError(_WHAT, "signedBy must hold fingerprints")
    return found


def _index(value: object) -> Index:
    fields = Fields(value, what=f"{_WHAT}: index")
    found = Index(_path(fields.take("path", str)), _size(fields), fields.hex("sha256", 32).hex())
    fields.end()
    return found


def _package(value: object) -> Package:
    fields = Fields(value, what=f"{_WHAT}: package")
    scripts = fields.take("scripts", dict)
    if unknown := sorted(set(scripts) - set(SCRIPTS)):
        raise FormatError(_WHAT, f"unknown maintainer script {unknown[0]}")
    found = Package(
        name=fields.take("name", str),
        version=check_version(fields.take("version", str)),
        architecture=fields.take("architecture", str),
        size=_size(fields),
        sha256=fields.hex("sha256", 32).hex(),
        sha1=fields.hex("sha1", 20).hex(),
        path=_path(fields.take("path", str)),
        archive=fields.take("archive", str),
        source=fields.take("source", str),
        source_version=check_version(fields.take("sourceVersion", str)),
        scripts={name: unhex(str(text), 32, what=f"{_WHAT}: {name}").hex() for name, text in scripts.items()},
    )
    fields.end()
    return found


def _wheel(value: object) -> Wheel:
    fields = Fields(value, what=f"{_WHAT}: wheel")
    name, version, file = (str(fields.take(name, str)) for name in ("name", "version", "file"))
    found = Wheel(name, version, file, _size(fields), fields.hex("sha256", 32).hex())
    fields.end()
    return found


def _derived(value: object) -> Derived:
    fields = Fields(value, what=f"{_WHAT}: derived")
    found = Derived(
        fields.take("name", str), _size(fields), fields.hex("sha256", 32).hex(), fields.hex("inputs", 32).hex()
    )
    fields.end()
    return found


def _size(fields: Fields, name: str = "size") -> int:
    value = int(fields.take(name, int))
    if not 0 <= value <= _LARGEST:
        raise FormatError(_WHAT, f"{name} {value} is out of range")
    return value


def _path(text: str) -> str:
    if _PATH.fullmatch(text) is None or ".." in text.split("/"):
        raise FormatError(_WHAT, f"path {text[:80]!r} is malformed")
    return text


def _date(text: str) -> str:
    try:
        parsed = datetime.strptime(text, DATE).replace(tzinfo=UTC)
    except ValueError as error:
        raise FormatError(_WHAT, f"date {text[:40]!r} is malformed") from error
    if parsed.strftime(DATE) != text:
        raise FormatError(_WHAT, f"date {text[:40]!r} has another spelling")
    return text


def _sorted(names: list[str], what: str) -> None:
    if any(a >= b for a, b in pairwise(names)):
        raise FormatError(_WHAT, f"{what} is not sorted by name, or holds a name twice")


def _archive_json(one: LockedArchive) -> dict[str, Any]:
    return {
        "id": one.id,
        "suite": one.suite,
        "path": one.path,
        "date": one.date,
        "releaseSize": one.release_size,
        "releaseSha256": one.release_sha256,
        "signedBy": list(one.signed_by),
        "indexes": [_plain(index) for index in one.indexes],
    }


def _package_json(one: Package) -> dict[str, Any]:
    document = _plain(one)
    document["sourceVersion"] = document.pop("source_version")
    document["scripts"] = {name: one.scripts[name] for name in SCRIPTS if name in one.scripts}
    return document


def _plain(one: Package | Wheel | Derived | Index) -> dict[str, Any]:
    return {name: getattr(one, name) for name in one.__slots__}
