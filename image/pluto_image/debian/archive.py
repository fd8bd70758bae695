"""What a Debian archive publishes: control paragraphs, Release files, Packages indexes. Pure.

Debian repository format: a paragraph is `Field: value` lines, continued by lines that begin with a blank; paragraphs
are separated by empty lines. A Release file lists its indexes as ` DIGEST SIZE PATH` lines under `SHA256:`.
Callers verify the Release file's signature (pluto_image.debian.openpgp) before anything here is believed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from pluto_image.debian.relations import Group, Relation, check_version, parse_relations
from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import unhex

_FIELD: Final = re.compile(r"([!-9;-~]+):[ \t]*(.*)", re.ASCII)
_PATH: Final = re.compile(r"pool/[A-Za-z0-9][A-Za-z0-9/.+~_%:-]*\.deb", re.ASCII)
LARGEST_INDEX: Final = 256 * 1024 * 1024  # bytes, uncompressed; trixie's main has 57 MB


@dataclass(frozen=True, slots=True)
class Release:
    """The signed table of contents. `indexes`: path → (size in bytes, SHA-256)."""

    suite: str
    codename: str
    date: datetime
    valid_until: datetime | None
    indexes: Mapping[str, tuple[int, bytes]]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One package version that an archive offers."""

    name: str
    version: str
    architecture: str
    archive: str
    path: str
    size: int
    sha256: bytes
    source: str
    source_version: str
    depends: tuple[Group, ...]
    conflicts: tuple[Relation, ...]  # Conflicts and Breaks
    provides: tuple[Relation, ...]  # "=" or no operator


def paragraphs(text: str, *, what: str) -> Iterator[dict[str, str]]:
    """The paragraphs of a control file; field names as spelled, continued values joined by line ends."""
    for block in re.split(r"\n(?:[ \t]*\n)+", text):
        if block.strip():
            yield paragraph(block, what=what)


def paragraph(block: str, *, what: str) -> dict[str, str]:
    """One paragraph. Raises FormatError; a field that occurs twice is refused."""
    fields: dict[str, str] = {}
    name = ""
    for line in block.strip("\n").split("\n"):
        if line.startswith("#"):
            continue
        if line[:1] in (" ", "\t"):
            if not name:
                raise FormatError(what, "begins with a continued line")
            fields[name] += "\n" + line.strip()
            continue
        match = _FIELD.fullmatch(line.rstrip())
        if match is None:
            raise FormatError(what, f"{line[:80]!r} is no field")
        name, value = match.groups()
        if name in fields:
            raise FormatError(what, f"field {name} occurs twice")
        fields[name] = value
    return fields


def parse_release(data: bytes, *, what: str) -> Release:
    """Parse the signed text of a Release file. Raises FormatError."""
    found = list(paragraphs(_text(data, what), what=what))
    if len(found) != 1:
        raise FormatError(what, f"{len(found)} paragraphs, not 1")
    fields = found[0]
    indexes: dict[str, tuple[int, bytes]] = {}
    for line in _need(fields, "SHA256", what).split("\n"):
        words = line.split()
        if not words:
            continue
        if len(words) != 3 or not (words[1].isascii() and words[1].isdigit()):
            raise FormatError(what, f"{line[:80]!r} is no line of SHA256")
        indexes[words[2]] = (int(words[1]), unhex(words[0], 32, what=f"{what}.SHA256"))
    until = fields.get("Valid-Until")
    return Release(
        suite=fields.get("Suite", ""),
        codename=fields.get("Codename", ""),
        date=_date(_need(fields, "Date", what), what),
        valid_until=None if until is None else _date(until, what),
        indexes=indexes,
    )


class PackageIndex:
    """The packages of one archive, by name. Paragraphs are parsed when they are asked for: main has 69,000 of them."""

    def __init__(self, data: bytes, *, archive: str, architecture: str) -> None:
        self._archive, self._architecture = archive, architecture
        self._what = f"Packages of {archive}"
        self._blocks: dict[str, list[str]] = {}
        self._providers: dict[str, list[str]] = {}
        for block in _text(data, self._what).split("\n\n"):
            self._add(block)

    def named(self, name: str) -> tuple[Candidate, ...]:
        """All versions of the package `name`, in the order of the file."""
        found = (self._candidate(block) for block in self._blocks.get(name, ()))
        return tuple(c for c in found if c.architecture in (self._architecture, "all"))

    def providing(self, virtual: str) -> tuple[Candidate, ...]:
        """All versions of packages that provide the name `virtual`, by package name."""
        names = sorted(set(self._providers.get(virtual, ())))
        found = (candidate for name in names for candidate in self.named(name))
        return tuple(c for c in found if any(p.name == virtual for p in c.provides))

    def _add(self, block: str) -> None:
        block = block.strip("\n")
        if not block:
            return
        first, _, _ = block.partition("\n")
        if not first.startswith("Package: "):
            raise FormatError(self._what, f"a paragraph begins with {first[:80]!r}")
        name = first[9:].strip()
        self._blocks.setdefault(name, []).append(block)
        at = block.find("\nProvides: ")
        if at >= 0:
            for one in block[at + 11 :].partition("\n")[0].split(","):
                self._providers.setdefault(re.split(r"[\s(:]", one.strip(), maxsplit=1)[0], []).append(name)

    def _candidate(self, block: str) -> Candidate:
        fields = paragraph(block, what=self._what)
        return parse_candidate(fields, archive=self._archive, architecture=self._architecture)


def parse_candidate(fields: Mapping[str, str], *, archive: str, architecture: str) -> Candidate:
    """One paragraph of a Packages index. Raises FormatError."""
    name = _need(fields, "Package", f"Packages of {archive}")
    what = f"Packages of {archive}: {name}"
    version = check_version(_need(fields, "Version", what))
    source, source_version = _source(fields, name, version, what)
    size, path = _need(fields, "Size", what), _need(fields, "Filename", what)
    if not (size.isascii() and size.isdigit()) or _PATH.fullmatch(path) is None or ".." in path:
        raise FormatError(what, f"Size {size[:20]!r} or Filename {path[:80]!r} is malformed")

    def relations(*names: str) -> tuple[Group, ...]:
        text = ",".join(fields.get(field, "") for field in names)
        return parse_relations(text, architecture=architecture)

    return Candidate(
        name=Relation.parse(name).name,
        version=version,
        architecture=_need(fields, "Architecture", what),
        archive=archive,
        path=path,
        size=int(size),
        sha256=unhex(_need(fields, "SHA256", what), 32, what=what),
        source=source,
        source_version=source_version,
        depends=relations("Pre-Depends", "Depends"),
        conflicts=tuple(one for group in relations("Conflicts", "Breaks") for one in group),
        provides=tuple(one for group in relations("Provides") for one in group),
    )


def _source(fields: Mapping[str, str], name: str, version: str, what: str) -> tuple[str, str]:
    match = re.fullmatch(r"(\S+)(?:\s+\((\S+)\))?", fields.get("Source", name))
    if match is None:
        raise FormatError(what, "Source is malformed")
    return match.group(1), check_version(match.group(2) or version)


def _need(fields: Mapping[str, str], name: str, what: str) -> str:
    if name not in fields:
        raise FormatError(what, f"{name} is missing")
    return fields[name]


def _date(text: str, what: str) -> datetime:
    try:
        found = parsedate_to_datetime(text)
    except ValueError as error:
        raise FormatError(what, f"{text[:60]!r} is no date") from error
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _text(data: bytes, what: str) -> str:
    if len(data) > LARGEST_INDEX:
        raise FormatError(what, f"{len(data)} bytes are more than {LARGEST_INDEX}")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise FormatError(what, "not UTF-8", offset=error.start) from error
