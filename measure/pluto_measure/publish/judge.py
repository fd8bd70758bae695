"""Whether a release is accepted: its files against its statement, its signatures against a trust file. Pure.

Every check runs and gives a finding; docs/formats/release.md lists their ids. `NOT_AUTHENTIC` says which of them mean
that something was forged or damaged, rather than refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pluto_measure.digests import Digests
from pluto_measure.errors import FormatError
from pluto_measure.event_text import safe
from pluto_measure.evidence import format_time
from pluto_measure.findings import Finding, failures, judge
from pluto_measure.measurements import Measurements
from pluto_measure.publish.dissent import sources
from pluto_measure.publish.memory import Memory
from pluto_measure.publish.platforms import described
from pluto_measure.publish.provenance import Provenance
from pluto_measure.publish.release import FILE, Release
from pluto_measure.publish.signature import OpenBundle, Signature, appraise, first_difference
from pluto_measure.publish.signers import confirmed, freshness, signature_findings, signers
from pluto_measure.publish.statement import Statement
from pluto_measure.publish.trust import Trust
from pluto_measure.publish.vouched import Vouched
from pluto_measure.registers.rules import SOURCES

NOT_AUTHENTIC: Final = frozenset(
    {
        "release.artifact",
        "release.digest_list",
        "release.disagreement",
        "release.extra",
        "release.measurements",
        "release.provenance",
        "release.signature",
    }
)
_MEASUREMENTS: Final = "measurements.json"


@dataclass(frozen=True, slots=True)
class Files:
    """What was received. `digests`: of every file but release.json, SHA256SUMS, signatures and what is not released
    as such (inputs.tar, provenance.json); None where a file is not hashed because only its name is known.
    """

    statement: bytes
    signatures: tuple[tuple[str, bytes], ...]
    digests: Mapping[str, Digests]
    sums: Mapping[str, str] | None = None
    measurements: bytes | None = None
    provenance: bytes | None = None


@dataclass(frozen=True, slots=True)
class Demands:
    """What the verifier asks for. `complete`: every file of the statement must be here; None: not of interest."""

    at: datetime
    trust: Trust
    minimum_sequence: int | None
    allow_debug: bool
    complete: bool | None
    memory: Memory | None


@dataclass(frozen=True, slots=True)
class Judgement:
    """The release, who signed it, and every finding."""

    release: Release
    statement: str  # SHA-256 of release.json in hex
    artifacts: Mapping[str, Digests]  # as the statement lists them
    signatures: tuple[Signature, ...]
    findings: tuple[Finding, ...]
    trust: Trust
    at: datetime

    @property
    def wanted(self) -> int:
        """How many organisations must have signed it."""
        return self.trust.k

    @property
    def accepted(self) -> bool:
        return not failures(self.findings)

    @property
    def exit_code(self) -> int:
        """0 accepted, 4 not authentic, 5 refused (design §9)."""
        failed = {finding.id for finding in failures(self.findings)}
        return 4 if failed & NOT_AUTHENTIC else 5 if failed else 0

    @property
    def organisations(self) -> tuple[str, ...]:
        """Who signed these very bytes, by the trust file's names, sorted."""
        return signers(self.signatures)

    @property
    def confirmed(self) -> Mapping[str, datetime]:
        """When each of them last said that the release is good."""
        return confirmed(self.signatures, self.release.facts.validity.issued_at, self.at)

    @property
    def disagreeing(self) -> tuple[Signature, ...]:
        """Signatures of trusted organisations over something else for the same release."""
        return tuple(one for one in self.signatures if one.worth == "disagrees")

    @property
    def revoked(self) -> bool:
        """Whether somebody whom the trust file names revoked it."""
        return any(one.worth == "revokes" for one in self.signatures)

    def vouched(self) -> Vouched:
        """The same, to be kept beside the reference values that it is about."""
        facts = self.release.facts
        return Vouched(
            self.release.name,
            facts.place.channel,
            facts.place.sequence,
            self.statement,
            self.organisations,
            self.wanted,
            facts.td,
            facts.tcb,
            self.findings,
        )


def judge_release(files: Files, demands: Demands, open_bundle: OpenBundle) -> Judgement:
    """Every check. FormatError where release.json itself cannot be read."""
    statement = Statement.parse(files.statement, what=FILE)
    release = Release.parse(statement)
    signatures = tuple(
        appraise(name, data, files.statement, demands.trust, open_bundle) for name, data in files.signatures
    )
    digest = hashlib.sha256(files.statement).hexdigest()
    findings = (
        *signature_findings(signatures, demands.trust.k),
        *_artifacts(statement, files, complete=demands.complete),
        *_consistent(statement, release, files),
        *_time(release, demands.at),
        freshness(signatures, release.facts.validity.issued_at, demands.trust, demands.at),
        _flavour(release, allow_debug=demands.allow_debug),
        *_sequence(release, digest, demands),
    )
    artifacts = {one.name: one.digests for one in statement.subjects}
    return Judgement(release, digest, artifacts, signatures, findings, demands.trust, demands.at)


def _artifacts(statement: Statement, files: Files, *, complete: bool | None) -> Iterator[Finding]:
    listed = {subject.name: subject.digests for subject in statement.subjects}
    wrong = [name for name in sorted(listed) if name in files.digests and files.digests[name] != listed[name]]
    for name in wrong:
        text, theirs, ours = f"{name} is not the file that the release is about", files.digests[name], listed[name]
        kind = "sha256" if theirs.sha256 != ours.sha256 else "sha384"
        yield Finding("release.artifact", "fail", text, ours[kind].hex(), theirs[kind].hex())
    here = [name for name in listed if name in files.digests]
    if not wrong:
        yield judge(
            "release.artifact",
            bool(here),
            f"all {len(here)} files that are here have the digests of the statement",
            otherwise="none of the released files is here, so nothing was compared",
        )
    for name in sorted(set(files.digests) - set(listed)):
        yield Finding("release.extra", "fail", f"{name} is not part of the release", None, name)
    missing = sorted(set(listed) - set(files.digests))
    if missing and complete is not None:
        text = f"{len(missing)} of {len(listed)} files are not here and were not looked at, such as {missing[0]}"
        yield Finding("release.missing", "fail" if complete else "warning", text, len(listed), len(here))
    if files.sums is not None:
        yield _digest_list(listed, files.statement, files.sums)


def _digest_list(listed: Mapping[str, Digests], statement: bytes, sums: Mapping[str, str]) -> Finding:
    expected = {name: digests.sha256.hex() for name, digests in listed.items()}
    expected[FILE] = hashlib.sha256(statement).hexdigest()
    odd = next((name for name in sorted({*expected, *sums}) if expected.get(name) != sums.get(name)), None)
    return judge(
        "release.digest_list",
        odd is None,
        "SHA256SUMS lists the same digests as the statement",
        otherwise=f"SHA256SUMS says something else of {odd} than the statement",
        expected=expected.get(odd or ""),
        actual=sums.get(odd or ""),
    )


def _consistent(statement: Statement, release: Release, files: Files) -> Iterator[Finding]:
    """What the statement says of registers is what measurements.json says; the provenance is of the same files."""
    if files.measurements is not None:
        yield _measurements(release, files.measurements)
    if files.provenance is not None:
        yield _provenance(statement, release, files.provenance)


def _measurements(release: Release, data: bytes) -> Finding:
    said = {"buildId": release.build_id, "flavour": release.flavour, "platforms": list(release.platforms)}
    try:
        values = Measurements.parse(data)
        platforms = [described(one) for one in values.profiles]
    except FormatError as error:
        return Finding("release.measurements", "fail", safe(str(error)))
    ours = {"buildId": values.build_id, "flavour": values.flavour, "platforms": platforms}
    difference = first_difference(said, ours)
    return judge(
        "release.measurements",
        not difference,
        f"the statement has the registers of measurements.json: {_by_source(release)}",
        otherwise=f"the statement and {_MEASUREMENTS} differ: {difference}",
    )


def _by_source(release: Release) -> str:
    """How many registers a rebuild confirms, and how many it copies from the sources."""
    platforms = sources(release.platforms).values()
    number = {name: sum(len(one.get(name, ())) for one in platforms) for name in SOURCES}
    rest = f"{number['observed']} observed and {number['endorsed']} endorsed, which a rebuild copies"
    return f"{number['computed']} computed, which a rebuild confirms; {rest}"


def _provenance(statement: Statement, release: Release, data: bytes) -> Finding:
    """Its content is whoever made it's word; what is checked is that it is about this release."""
    try:
        told = Statement.parse(data, what="provenance.json")
        provenance = Provenance.parse(told)
    except FormatError as error:
        return Finding("release.provenance", "fail", safe(str(error)))
    theirs, ours = ({(one.name, one.digests) for one in about.subjects} for about in (told, statement))
    others = sorted(name for name, _ in theirs ^ ours)
    expected = provenance.statement(release, told.subjects)
    difference = first_difference(told.to_json(), expected.to_json())
    problem = f"is about other files than the release: {others[0]}" if others else f"does not fit it: {difference}"
    text = f"says, unsigned, that {provenance.builder} built commit {provenance.commit} ({provenance.ref})"
    return judge(
        "release.provenance",
        not others and not difference,
        text,
        otherwise=f"provenance.json {problem}",
        actual=provenance.commit,
    )


def _time(release: Release, at: datetime) -> Iterator[Finding]:
    issued, until = release.facts.validity.issued_at, release.facts.validity.not_after
    yield judge(
        "release.issued",
        issued <= at,
        "the release was issued before now",
        otherwise="the release is dated into the future",
        expected=f"not before {format_time(issued)}",
        actual=format_time(at),
    )
    yield judge(
        "release.validity",
        at <= until,
        "the release is still valid",
        otherwise="the release is no longer valid: look for a newer one",
        expected=f"not after {format_time(until)}",
        actual=format_time(at),
    )


def _flavour(release: Release, *, allow_debug: bool) -> Finding:
    return judge(
        "release.flavour",
        release.flavour == "release" or allow_debug,
        f"the flavour {release.flavour} is allowed",
        otherwise="this is a debug build, whose machine its owner can look into",
        expected="release",
        actual=release.flavour,
    )


def _sequence(release: Release, digest: str, demands: Demands) -> Iterator[Finding]:
    facts = release.facts
    if demands.minimum_sequence is not None:
        yield judge(
            "release.sequence",
            facts.place.sequence >= demands.minimum_sequence,
            "the release is not older than was asked for",
            otherwise="the release is older than was asked for",
            expected=f"at least {demands.minimum_sequence}",
            actual=facts.place.sequence,
        )
    if demands.memory is None:
        text = "the memory of releases was not asked, so one that is older than once seen is not noticed"
        yield Finding("release.rollback", "warning", text)
    else:
        yield demands.memory.finding(release, digest)
