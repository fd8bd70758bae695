"""An audit as one JSON document. Pure. Format: docs/formats/audit.md, schemas/audit.json."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pluto_image.audit.judge import Audit, Rebuild, Sighting
from pluto_image.audit.model import Hit, Source
from pluto_image.audit.policy import AuditPolicy
from pluto_image.audit.running import Running
from pluto_measure.evidence import format_time

VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Subject:
    """What was audited. `name` and `version` are the recipe's; `path` is what was typed."""

    path: str
    name: str
    version: str
    build_id: str
    flavour: str


@dataclass(frozen=True, slots=True)
class Asked:
    """By what it was judged. `tracker`: a URL or a file; `sha256`: of its data, in hex; `policy_file`: "" for none.

    `running`: the file that says what runs, what it says, and whether that is what was audited.
    """

    at: datetime
    tracker: str
    sha256: str
    seen: Sighting
    policy: AuditPolicy
    policy_file: str
    rebuilders: tuple[str, ...]
    running: tuple[str, Running, bool] | None


def document(subject: Subject, asked: Asked, audit: Audit) -> dict[str, object]:
    """The document."""
    with_hits = sorted({hit.source for hit in audit.hits}, key=lambda one: (one.name, one.version, one.release))
    return {
        "version": VERSION,
        "accepted": audit.accepted,
        "at": format_time(asked.at),
        "release": {
            "path": subject.path,
            "name": subject.name,
            "version": subject.version,
            "buildId": subject.build_id,
            "flavour": subject.flavour,
        },
        "tracker": {
            "from": asked.tracker,
            "sha256": asked.sha256,
            "fetchedAt": format_time(asked.seen.at),
            "knownBy": asked.seen.known_by,
        },
        "policy": {"file": asked.policy_file or None, **asked.policy.to_json()},
        "counts": {
            "sources": len(audit.inside.sources),
            "refused": audit.count("fail"),
            "warnings": audit.count("warning"),
            "accepted": audit.count("accepted"),
            "fixedByNewerLock": sum(hit.is_fixed_by_a_newer_lock for hit in audit.hits),
        },
        "findings": [finding.to_json() for finding in audit.findings],
        "cves": [_hit(hit) for hit in audit.hits],
        "sources": [_source(one) for one in with_hits],
        "rebuilders": {"from": list(asked.rebuilders), "packages": [_rebuild(one) for one in audit.rebuilds]},
        "outside": list(audit.inside.outside),
        "uncovered": list(audit.inside.uncovered),
        "running": _running(asked, audit),
    }


def is_affected(audit: Audit) -> bool:
    """Whether the image has a vulnerability that the policy refuses."""
    return audit.count("fail") > 0


def _hit(hit: Hit) -> dict[str, object]:
    return {
        "id": hit.issue.id,
        "source": hit.source.name,
        "installed": hit.source.version,
        "fixed": hit.fixed or None,
        "state": hit.state,
        "urgency": hit.urgency,
        "fixedByNewerLock": hit.is_fixed_by_a_newer_lock,
        "scope": hit.issue.scope or None,
        "debianBug": hit.issue.bug,
        "nodsa": hit.nodsa or None,
        "description": hit.issue.description or None,
        "verdict": hit.verdict,
        "why": hit.why or None,
    }


def _source(one: Source) -> dict[str, object]:
    packages = [
        {"name": part.name, "version": part.version, "architecture": part.architecture, "files": list(part.paths)}
        for part in one.components
    ]
    return {"name": one.name, "version": one.version, "release": one.release, "packages": packages}


def _rebuild(one: Rebuild) -> dict[str, object]:
    return {
        "name": one.component.name,
        "version": one.component.version,
        "architecture": one.component.architecture,
        "status": one.word,
        "disputed": one.disputed,
        "refused": one.refused,
    }


def _running(asked: Asked, audit: Audit) -> dict[str, object] | None:
    if asked.running is None:
        return None
    file, running, matches = asked.running
    return {
        "file": file,
        "kind": running.kind,
        "builds": list(running.builds),
        "releases": list(running.releases),
        "matches": matches,
        "affected": is_affected(audit) if matches else None,
    }
