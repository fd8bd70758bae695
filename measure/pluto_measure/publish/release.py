"""A release: the predicate of release.json. Pure; strict.

Everything in it follows from definition, lock, sources and release.toml, so that a rebuilder's release.json has the
same bytes and can be signed by anybody. When and where it was built is provenance (`pluto_measure.publish.provenance`).
Format: docs/formats/release.md; schemas/release.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from pluto_measure.digests import Digests
from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields, unhex
from pluto_measure.launch import FLAVOURS
from pluto_measure.publish.facts import VERSION, Facts, Place, Validity, few, known_version, text, word
from pluto_measure.publish.platforms import PROVIDERS
from pluto_measure.publish.statement import Statement
from pluto_measure.publish.terms import TcbTerms, TdTerms

PREDICATE_TYPE: Final = "https://pluto-tee.org/release/v1"
FILE: Final = "release.json"
BUNDLE: Final = "inputs.tar"
_RESERVED: Final = (FILE, "SHA256SUMS", BUNDLE, "provenance.json")
REPRODUCIBLE: Final = "bit-for-bit"


@dataclass(frozen=True, slots=True)
class Source:
    """What the sources are. `tree_digest`: SHA-256 over paths and contents of source.tar."""

    tree_digest: bytes
    dirty: bool


@dataclass(frozen=True, slots=True)
class Component:
    """A part of what boots, its digests, and the registers that it moves."""

    name: str
    version: str
    digests: Digests
    measured_into: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Release:
    """The predicate. `build` says how the bytes came about and `platforms` what they measure as, both as JSON."""

    name: str
    version: str
    flavour: str
    build_id: str
    facts: Facts
    source: Source
    build: Mapping[str, Any]
    components: tuple[Component, ...]
    platforms: tuple[Mapping[str, Any], ...]

    def to_json(self) -> dict[str, object]:
        facts = self.facts
        return {
            "version": VERSION,
            "name": self.name,
            "release": self.version,
            "flavour": self.flavour,
            **facts.place.to_json(),
            "validity": facts.validity.to_json(),
            "buildId": self.build_id,
            "source": {
                "repository": facts.repository,
                "repositoryId": facts.repository_id,
                "treeDigest": {"sha256": self.source.tree_digest.hex()},
                "dirty": self.source.dirty,
            },
            "build": dict(self.build),
            "components": [_component_json(one) for one in self.components],
            "platforms": [dict(one) for one in self.platforms],
            "td": facts.td.to_json(),
            "tcbPolicy": facts.tcb.to_json(),
            "eventLog": {"file": "measurements.json"},
            "reportData": {"scheme": "pluto-tee/v2", "purposes": ["channel", "session", "key", "node"]},
            "contract": None,
        }

    @classmethod
    def parse(cls, statement: Statement) -> Self:
        """The release that a statement is about. FormatError for another predicate, anything unknown or missing."""
        if statement.predicate_type != PREDICATE_TYPE:
            kind = statement.predicate_type[:80]
            raise FormatError(FILE, f"predicateType {kind!r} is not {PREDICATE_TYPE}")
        fields = Fields(statement.predicate, what=FILE)
        known_version(fields)
        for one in statement.subjects:
            if is_reserved(one.name):
                raise FormatError(FILE, f"lists {one.name}, which is made about a release and is no part of it")
        if "supersedes" not in statement.predicate:  # which release.toml may leave out
            raise FormatError(FILE, "supersedes is missing")
        source, validity = fields.sub("source"), fields.sub("validity")
        tree = source.sub("treeDigest")
        release = cls(
            name=word(fields, "name"),
            version=word(fields, "release"),
            flavour=_flavour(fields),
            build_id=fields.hex("buildId", 32).hex(),
            facts=Facts(
                Place.parse(fields),
                Validity.parse(validity),
                text(source, "repository"),
                text(source, "repositoryId"),
                TdTerms.parse(fields.sub("td")),
                TcbTerms.parse(fields.sub("tcbPolicy")),
            ),
            source=Source(tree.hex("sha256", 32), source.take("dirty", bool)),
            build=_build(fields.take("build", dict)),
            components=tuple(_component(value) for value in few(fields, "components")),
            platforms=tuple(_platform(value) for value in few(fields, "platforms")),
        )
        for read in (tree, source, validity):
            read.end()
        _constants(fields, release)
        fields.end()
        if release.flavour == "release" and release.source.dirty:
            raise FormatError(FILE, "a release is made of committed files only, and its source says that it was not")
        return release


def _constants(fields: Fields, release: Release) -> None:
    """Members that have one value in this version; another one means something that nobody here understands."""
    expected = release.to_json()
    for name in ("eventLog", "reportData", "contract"):
        if fields.take(name) != expected[name]:
            raise FormatError(FILE, f"{name} is not {expected[name]!r}")


def _flavour(fields: Fields) -> str:
    flavour: str = fields.take("flavour", str)
    if flavour not in FLAVOURS:
        raise FormatError(FILE, f"flavour {flavour[:40]!r} is not one of {', '.join(FLAVOURS)}")
    return flavour


def _build(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """How it was built, as JSON: its members are checked, since people act on them."""
    fields = Fields(value, what=f"{FILE}.build")
    for name in ("definition", "lock"):
        digest = fields.sub(name)
        digest.hex("sha256", 32)
        digest.end()
    fields.take("sourceDateEpoch", int)
    for archive in few(fields, "archives"):
        one = Fields(archive, what=f"{FILE}.build.archives[]")
        for name in ("id", "suite", "date"):
            text(one, name)
        unhex(one.take("release", str), 32, what=f"{FILE}.build.archives[].release")
        one.end()
    tools = fields.take("tools", dict)
    if not all(isinstance(version, str) for version in tools.values()):
        raise FormatError(FILE, "build.tools must hold versions as text")
    text(fields, "command")
    if fields.take("reproducible", str) != REPRODUCIBLE:
        raise FormatError(FILE, f"build.reproducible is not {REPRODUCIBLE!r}")
    fields.end()
    return value


def _component(value: object) -> Component:
    fields = Fields(value, what=f"{FILE}.components[]")
    component = Component(
        text(fields, "name"),
        text(fields, "version"),
        Digests.from_json(fields.take("digest", dict), what=f"{FILE}.components[].digest"),
        tuple(fields.take("measuredInto", list)),
    )
    fields.end()
    if not all(isinstance(one, str) for one in component.measured_into):
        raise FormatError(FILE, "components[].measuredInto must name registers")
    return component


def _component_json(one: Component) -> dict[str, object]:
    digest, registers = one.digests.to_json(), list(one.measured_into)
    return {"name": one.name, "version": one.version, "digest": digest, "measuredInto": registers}


def _platform(value: object) -> Mapping[str, Any]:
    """Its registers are those of measurements.json, which `judge` compares; here only the shape."""
    fields = Fields(value, what=f"{FILE}.platforms[]")
    word(fields, "id")
    platform, provider = word(fields, "platform"), word(fields, "provider")
    if PROVIDERS.get(platform) != provider:
        raise FormatError(FILE, f"platforms[] has a {platform} of {provider}, which no release vouches for")
    if fields.take("tee", str) != "tdx":
        raise FormatError(FILE, "platforms[].tee is not tdx")
    for name in ("shape", "registers", "claims"):
        fields.take(name, dict)
    fields.take("firmware", dict, type(None))
    fields.end()
    return dict(value) if isinstance(value, Mapping) else {}


def is_reserved(name: str) -> bool:
    """Whether a file is made about a release, so that no statement can have it as a part."""
    return name in _RESERVED or name.startswith("signatures/")
