"""What follows from a tracker, rebuilders and a policy for what is in an image. Pure; time is an argument.

Every check is done and has a finding; ids: docs/formats/audit.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from pluto_image.audit.model import STATES, URGENCIES, Component, Hit, Inside, Issue, Rebuilt, Source, State, Status
from pluto_image.audit.policy import AuditPolicy, Word
from pluto_image.audit.rebuilders import Rebuilds
from pluto_image.audit.tracker import NEVER, Tracker
from pluto_image.debian.relations import compare
from pluto_measure.evidence import format_time
from pluto_measure.findings import Finding, failures
from pluto_measure.wording import counted


@dataclass(frozen=True, slots=True)
class Sighting:
    """When the tracker's data was fetched, and how that is known: by us, by who ran us, by the file's own time."""

    at: datetime
    known_by: Literal["fetch", "option", "file"]


@dataclass(frozen=True, slots=True)
class Rebuild:
    """What rebuilders say of one package, and whether that refuses."""

    component: Component
    word: Rebuilt
    disputed: bool
    refused: bool


@dataclass(frozen=True, slots=True)
class Audit:
    """Everything that was found. `hits`: the refused ones first, then by source; accepted if nothing failed."""

    inside: Inside
    hits: tuple[Hit, ...]
    rebuilds: tuple[Rebuild, ...]
    findings: tuple[Finding, ...]

    @property
    def accepted(self) -> bool:
        return not failures(self.findings)

    def count(self, verdict: str) -> int:
        """How many vulnerabilities have this verdict."""
        return sum(hit.verdict == verdict for hit in self.hits)


def judge(
    inside: Inside, tracker: Tracker, rebuilds: Rebuilds | None, policy: AuditPolicy, seen: Sighting, now: datetime
) -> Audit:
    """All checks. `rebuilds` None: nobody was asked."""
    hits = tuple(_hits(inside.sources, tracker, policy, now))
    components = _components(inside.sources)
    words = tuple(_rebuild(one, rebuilds, policy) for one in components)
    findings = (
        _age(seen, policy, now),
        _known(inside.sources, tracker),
        *_behind(inside.sources, tracker),
        _refused(hits),
        *_expired(policy, now),
        *_unused(hits, policy),
        *_rebuilt(words, rebuilds, policy),
    )
    return Audit(inside, hits, words, findings)


def state_of(source: Source, issue: Issue) -> tuple[State, Status] | None:
    """In which state a vulnerability is in this version of a source; None where the version does not have it."""
    status = issue.releases.get(source.release)
    if status is None or status.fixed == NEVER:
        return None
    if status.status == "undetermined":
        return "undetermined", status
    if status.status == "open":
        return _waiting(status), status
    newest = list(status.repositories.values())
    if not status.fixed:  # no offered version has it, and what is newer than one of them has it no more
        has_it = not any(compare(source.compared, version) >= 0 for version in newest)
        return ("undetermined", status) if has_it else None
    if compare(source.compared, status.fixed) >= 0:
        return None
    is_offered = source.compared == source.version and any(compare(version, status.fixed) >= 0 for version in newest)
    return ("fixable" if is_offered else "open"), status


def _waiting(status: Status) -> State:
    if status.nodsa is None:
        return "open"
    return "noDsa" if status.reason == "" else status.reason


def _hits(sources: Iterable[Source], tracker: Tracker, policy: AuditPolicy, now: datetime) -> list[Hit]:
    found = []
    for source in sources:
        for issue in tracker.get(source.name, ()):
            if (known := state_of(source, issue)) is not None:
                found.append(_hit(source, issue, *known, policy, now))
    order = ("fail", "warning", "accepted")
    return sorted(
        found,
        key=lambda hit: (
            order.index(hit.verdict),
            hit.source.name,
            STATES.index(hit.state),
            URGENCIES.index(hit.urgency),
            hit.issue.id,
        ),
    )


def _hit(source: Source, issue: Issue, state: State, status: Status, policy: AuditPolicy, now: datetime) -> Hit:
    refuses = status.urgency in policy.refuse[state]
    plain = Hit(
        source, issue, state, status.urgency, status.fixed, status.nodsa or "", "fail" if refuses else "warning"
    )
    for one in policy.accepted:
        if (one.issue, one.source) == (issue.id, source.name):
            if now < one.until:
                return _with(plain, "accepted", one.reason)
            return _with(plain, plain.verdict, f"its acceptance ended at {format_time(one.until)}")
    return plain


def _with(hit: Hit, verdict: Literal["fail", "warning", "accepted"], why: str) -> Hit:
    return Hit(hit.source, hit.issue, hit.state, hit.urgency, hit.fixed, hit.nodsa, verdict, why)


def _age(seen: Sighting, policy: AuditPolicy, now: datetime) -> Finding:
    by = {"fetch": "fetched now", "option": "as --fetched-at says", "file": "by the file's own time"}[seen.known_by]
    when = f"the tracker's data is of {format_time(seen.at)}, {by}"
    actual = int((now - seen.at).total_seconds())
    if seen.at > now + timedelta(seconds=policy.clock_skew):
        return Finding(
            "tracker.age", "fail", f"{when}: that is in the future", expected=policy.clock_skew, actual=actual
        )
    limit = policy.max_tracker_age
    if limit is not None and actual > limit:
        text = f"{when}: {_days(actual)} old, and at most {_days(limit)} are accepted"
        return Finding("tracker.age", "fail", text, expected=limit, actual=actual)
    return Finding("tracker.age", "pass", when, expected=limit, actual=actual)


def _days(seconds: int) -> str:
    return f"{seconds / 86400:.1f} days" if seconds >= 86400 else counted(seconds // 3600, "hour")


def _known(sources: Sequence[Source], tracker: Tracker) -> Finding:
    """Data that never speaks of the release would find nothing in any image."""
    silent = sorted({source.release for source in sources} - _spoken_of(sources, tracker))
    if silent:
        text = f"the tracker's data says nothing of {', '.join(silent)}: it is not for this image, or not whole"
        return Finding("tracker.release", "fail", text, actual=silent[0])
    known = sum(source.name in tracker for source in sources)
    text = f"the tracker knows {known} of the {counted(len(sources), 'source package')} in the image"
    return Finding("tracker.release", "pass", text)


def _spoken_of(sources: Iterable[Source], tracker: Tracker) -> set[str]:
    return {name for one in sources for issue in tracker.get(one.name, ()) for name in issue.releases}


def _behind(sources: Iterable[Source], tracker: Tracker) -> Iterator[Finding]:
    """A version that is newer than all that the tracker knows: its data is older than the lock, whatever its date."""
    ahead = sorted({source.name for source in sources if _is_ahead(source, tracker.get(source.name, ()))})
    if ahead:
        text = f"newer in the image than in the tracker's data: {_listed(ahead)}: the data is older than the lock"
        yield Finding("tracker.behind", "warning", text, actual=ahead[0])


def _is_ahead(source: Source, issues: Iterable[Issue]) -> bool:
    known = [one.releases[source.release] for one in issues if source.release in one.releases]
    versions = [version for status in known for version in status.repositories.values()]
    return bool(versions) and all(compare(source.compared, version) > 0 for version in versions)


def _refused(hits: Sequence[Hit]) -> Finding:
    failed = [hit for hit in hits if hit.verdict == "fail"]
    if not failed:
        words = f"{_vulnerabilities(len(hits))} known, none of which the policy refuses"
        return Finding("cve.refused", "pass", words, actual=0)
    fixable = sum(hit.is_fixed_by_a_newer_lock for hit in failed)
    names = sorted({hit.source.name for hit in failed})
    verb = "is" if len(failed) == 1 else "are"
    text = f"{_vulnerabilities(len(failed))} {verb} refused, in {_listed(names)}; a newer lock would fix {fixable}"
    return Finding("cve.refused", "fail", text, expected=0, actual=len(failed))


def _vulnerabilities(number: int) -> str:
    return "1 vulnerability" if number == 1 else f"{number} vulnerabilities"


def _expired(policy: AuditPolicy, now: datetime) -> Iterator[Finding]:
    for one in policy.accepted:
        if one.until <= now:
            text = f"the acceptance of {one.issue} in {one.source} ended at {format_time(one.until)}"
            yield Finding("accepted.expired", "warning", text, actual=one.issue)


def _unused(hits: Sequence[Hit], policy: AuditPolicy) -> Iterator[Finding]:
    there = {(hit.issue.id, hit.source.name) for hit in hits}
    for one in policy.accepted:
        if (one.issue, one.source) not in there:
            text = f"{one.issue} in {one.source} is accepted, and the image does not have it"
            yield Finding("accepted.unused", "warning", text, actual=one.issue)


def _components(sources: Iterable[Source]) -> tuple[Component, ...]:
    """Each binary package once: a signed kernel is of two sources."""
    found = {one.name: one for source in sources for one in source.components}
    return tuple(found[name] for name in sorted(found))


def _rebuild(component: Component, rebuilds: Rebuilds | None, policy: AuditPolicy) -> Rebuild:
    word: Rebuilt = "unknown" if rebuilds is None else rebuilds.of(component)
    disputed = rebuilds is not None and rebuilds.is_disputed(component)
    verdicts: dict[Rebuilt, Word] = {"good": "accept", "bad": policy.rebuilt_bad, "unknown": policy.rebuilt_unknown}
    return Rebuild(component, word, disputed, verdicts[word] == "refuse")


def _rebuilt(words: Sequence[Rebuild], rebuilds: Rebuilds | None, policy: AuditPolicy) -> Iterator[Finding]:
    """One finding for what could not be made again, one for what nobody tried, or nobody was asked about."""
    bad, unknown = ([one for one in words if one.word == kind] for kind in ("bad", "unknown"))
    if bad:
        names = [one.component.name + (" (disputed)" if one.disputed else "") for one in bad]
        text = f"rebuilders could not make {counted(len(bad), 'package')} again: {_listed(names)}"
        yield Finding("rebuild.bad", _verdict(policy.rebuilt_bad), text, expected=0, actual=len(bad))
    elif rebuilds is not None:
        good = sum(one.word == "good" for one in words)
        yield Finding(
            "rebuild.bad", "pass", f"rebuilders made {good} of {counted(len(words), 'package')} again", actual=0
        )
    if rebuilds is None:
        text = "no rebuilder was asked whether the packages can be made again: give --rebuilders"
        yield Finding("rebuild.unknown", _verdict(policy.rebuilt_unknown), text, expected=0, actual=len(words))
    elif unknown:
        text = (
            f"no rebuilder has {counted(len(unknown), 'package')}: {_listed([one.component.name for one in unknown])}"
        )
        yield Finding("rebuild.unknown", _verdict(policy.rebuilt_unknown), text, expected=0, actual=len(unknown))


def _verdict(word: Word) -> Literal["fail", "warning"]:
    return "fail" if word == "refuse" else "warning"


def _listed(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
