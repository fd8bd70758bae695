"""SLSA provenance: where, when and from which commit a release was built. Pure.

Specification: SLSA 1.0 "Provenance" (predicate https://slsa.dev/provenance/v1). It is somebody's word about one build
and differs from build to build, so it stands beside the release statement and not in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self

from pluto_measure.errors import FormatError
from pluto_measure.evidence import format_time, parse_time
from pluto_measure.formats.strict_json import Fields, unhex
from pluto_measure.publish.facts import text
from pluto_measure.publish.release import Release
from pluto_measure.publish.statement import Statement, Subject

PREDICATE_TYPE: Final = "https://slsa.dev/provenance/v1"
BUILD_TYPE: Final = "https://pluto-tee.org/build/v1"
FILE: Final = "provenance.json"


@dataclass(frozen=True, slots=True)
class Provenance:
    """`commit`: of git, 40 or 64 hex digits. `builder`: a URI. `invocation`: of one run, empty where there is none."""

    commit: str
    ref: str
    builder: str
    invocation: str
    started_at: datetime
    finished_at: datetime

    def statement(self, release: Release, subjects: tuple[Subject, ...]) -> Statement:
        """The statement about a release's files."""
        repository = release.facts.repository
        source = {"uri": f"git+{repository}@{self.ref}", "digest": {"gitCommit": self.commit}}
        lock = next((one.digests.sha256.hex() for one in subjects if one.name == "lock.json"), None)
        inputs = [{"name": "lock.json", "digest": {"sha256": lock} if lock else release.build["lock"]}]
        metadata = {
            "invocationId": self.invocation,
            "startedOn": format_time(self.started_at),
            "finishedOn": format_time(self.finished_at),
        }
        predicate = {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"repository": repository, "ref": self.ref, "flavour": release.flavour},
                "internalParameters": {},
                "resolvedDependencies": [source, *inputs],
            },
            "runDetails": {"builder": {"id": self.builder}, "metadata": metadata},
        }
        return Statement(subjects, PREDICATE_TYPE, predicate)

    @classmethod
    def parse(cls, statement: Statement) -> Self:
        """Ours only, since another build type has other parameters. FormatError for members that we do not write."""
        if statement.predicate_type != PREDICATE_TYPE:
            raise FormatError(FILE, f"predicateType {statement.predicate_type[:80]!r} is not {PREDICATE_TYPE}")
        top = Fields(statement.predicate, what=FILE)
        definition, details = top.sub("buildDefinition"), top.sub("runDetails")
        top.end()
        if definition.take("buildType", str) != BUILD_TYPE:
            raise FormatError(FILE, f"buildType is not {BUILD_TYPE}")
        parameters = definition.sub("externalParameters")
        ref = text(parameters, "ref")
        parameters.take("repository", str)
        parameters.take("flavour", str)
        parameters.end()
        definition.take("internalParameters", dict)
        commit = _commit(definition.take("resolvedDependencies", list))
        definition.end()
        builder, metadata = details.sub("builder"), details.sub("metadata")
        details.end()
        found = cls(
            commit,
            ref,
            text(builder, "id"),
            text(metadata, "invocationId"),
            *(parse_time(metadata.take(name, str), what=f"{FILE}.{name}") for name in ("startedOn", "finishedOn")),
        )
        builder.end()
        metadata.end()
        return found


def _commit(dependencies: list[Any]) -> str:
    digest: object = dependencies[0].get("digest") if dependencies and isinstance(dependencies[0], Mapping) else None
    commit = digest.get("gitCommit") if isinstance(digest, Mapping) else None
    if not isinstance(commit, str) or len(commit) not in (40, 64):
        raise FormatError(FILE, "resolvedDependencies does not begin with a git commit")
    return unhex(commit, len(commit) // 2, what=f"{FILE}: gitCommit").hex()
