"""What a rebuilder got whose bytes differ, and how two statements about one release differ. Pure.

A dissent is an in-toto statement of its own kind: it lists what was rebuilt, and never counts for any release. A
rebuilder whose bytes are equal signs release.json itself. Compared are files by digest and computed registers. A
rebuild copies observed and endorsed values from the sources and confirms none of them, so they stand apart.
Format: docs/formats/signatures.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from pluto_measure.errors import FormatError
from pluto_measure.event_text import safe
from pluto_measure.publish.release import FILE, PREDICATE_TYPE, Release
from pluto_measure.publish.statement import Statement, of

DISSENT: Final = "https://pluto-tee.org/dissent/v1"
COMPUTED: Final = "computed"
_DISSENTS: Final = DISSENT.rpartition("/")[0] + "/"
_MOST: Final = 1000
Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Differing:
    """`what` differs: the release says `expected`, the other one `actual`; "" for nothing. Fit for a terminal."""

    what: str
    expected: str
    actual: str

    def to_json(self) -> dict[str, object]:
        return {"what": self.what, "expected": self.expected or None, "actual": self.actual or None}


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Where a statement about the same release differs. `artifacts`: files by SHA-256, and by SHA-384 where only that
    one differs. `registers`: computed by either side, as profile/register. `apart`: observed or endorsed by both.
    """

    artifacts: tuple[Differing, ...]
    registers: tuple[Differing, ...]
    apart: tuple[Differing, ...]

    def to_text(self) -> str:
        """The names of all that differs, in a line; empty if these parts are equal."""
        parts = [
            f"{word}{'' if len(found) == 1 else 's'} {', '.join(one.what for one in found[:4])}"
            f"{f' and {len(found) - 4} more' if len(found) > 4 else ''}"
            for word, found in (("file", self.artifacts), ("register", self.registers))
            if found
        ]
        return " and ".join(parts)


def dissent(published: bytes, rebuilt: bytes) -> Statement:
    """What somebody says who rebuilt a release and got another. Both are bytes of release.json.

    FormatError where what was rebuilt is no release, or is equal.
    """
    if published == rebuilt:
        raise FormatError("dissent", "the release was rebuilt, so there is nothing to dissent from")
    got = Statement.parse(rebuilt, what=FILE)
    release = Release.parse(got)
    place = release.facts.place
    said = {
        "version": 1,
        "name": release.name,
        "channel": place.channel,
        "sequence": place.sequence,
        "flavour": release.flavour,
        "statement": {"sha256": sha256(published).hexdigest()},
        "rebuilt": {"sha256": sha256(rebuilt).hexdigest()},
        "buildId": release.build_id,
        "platforms": [{"id": one["id"], "registers": _of_source(one["registers"])} for one in release.platforms],
    }
    return of({one.name: one.digests for one in got.subjects}, DISSENT, said)


def is_dissent(statement: Any, release: Json, release_sha256: str) -> bool:
    """Whether a statement is a dissent, of whatever version, from this release: by its digest, or by its place."""
    kind = statement.get("predicateType") if isinstance(statement, dict) else None
    if not isinstance(kind, str) or not kind.startswith(_DISSENTS):
        return False
    said, ours = members(statement.get("predicate")), members(release.get("predicate"))
    if members(said.get("rebuilt")).get("sha256") == release_sha256:
        return False  # got from another release, but it is this one: no disagreement with it
    tried = members(said.get("statement")).get("sha256")
    place = [(one.get("name"), one.get("channel"), one.get("sequence")) for one in (said, ours)]
    return tried == release_sha256 or (place[0] == place[1] and place[0][0] is not None)


def between(theirs: Any, ours: Any) -> Disagreement:
    """How a statement differs from a release's, both as JSON. Whatever is odd in theirs is a difference."""
    files, our_files = _digests(theirs), _digests(ours)
    registers, our_registers = _registers(theirs), _registers(ours)
    computed: list[Differing] = []
    apart: list[Differing] = []
    partial = theirs.get("predicateType") != PREDICATE_TYPE if isinstance(theirs, dict) else True
    for name in sorted({*registers, *our_registers}):
        (source, value), (our_source, our_value) = (side.get(name, ("", "")) for side in (registers, our_registers))
        if (source, value) == (our_source, our_value) or (partial and not source and our_source != COMPUTED):
            continue
        into = computed if COMPUTED in (source, our_source) else apart
        into.append(Differing(safe(name), safe(our_value), safe(value)))
    return Disagreement(tuple(_files(files, our_files))[:_MOST], tuple(computed[:_MOST]), tuple(apart[:_MOST]))


def sources(platforms: object) -> dict[str, dict[str, list[str]]]:
    """Which registers of each platform are computed, observed and endorsed: what a rebuild confirms, and what not."""
    found: dict[str, dict[str, list[str]]] = {}
    for platform in map(members, platforms if isinstance(platforms, list | tuple) else ()):
        by_source = found.setdefault(str(platform.get("id")), {COMPUTED: [], "observed": [], "endorsed": []})
        for name, rule in members(platform.get("registers")).items():
            by_source.setdefault(str(members(rule).get("source")), []).append(name)
    return found


def members(value: object) -> Json:
    """An object's members; none of anything else."""
    return value if isinstance(value, Mapping) else {}


def _of_source(registers: Json) -> dict[str, object]:
    return {name: rule for name, rule in registers.items() if members(rule).get("source") == COMPUTED}


def _files(theirs: Mapping[str, Json], ours: Mapping[str, Json]) -> Iterator[Differing]:
    for name in sorted({*theirs, *ours}):
        one, other = theirs.get(name, {}), ours.get(name, {})
        for algorithm in ("sha256", "sha384"):
            if one.get(algorithm) != other.get(algorithm):
                values = (str(side.get(algorithm) or "") for side in (other, one))
                yield Differing(safe(name), *map(safe, values))
                break


def _digests(statement: Any) -> dict[str, Json]:
    subjects = members(statement).get("subject")
    listed = map(members, subjects if isinstance(subjects, list) else ())
    return {str(one.get("name")): members(one.get("digest")) for one in listed}


def _registers(statement: Any) -> dict[str, tuple[str, str]]:
    """By profile/register: where the rule comes from, and what it accepts, in a line."""
    platforms = members(members(statement).get("predicate")).get("platforms")
    found = {}
    for platform in map(members, platforms if isinstance(platforms, list) else ()):
        for name, rule in members(platform.get("registers")).items():
            said = members(rule)
            found[f"{platform.get('id')}/{name}"] = (str(said.get("source")), _rule(said))
    return found


def _rule(said: Json) -> str:
    """A rule in a line: its values, or how it matches where it has none."""
    listed = said.get("values")
    values = [
        f"{bank}:{digest}"
        for one in (listed if isinstance(listed, list) else ())
        for bank, digest in members(one).items()
    ]
    match = str(said.get("match"))
    return " | ".join(values) if values and match in ("exact", "oneOf") else " ".join([match, *values])
