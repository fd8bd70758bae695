"""An audit as text for people: the verdict, why, then every vulnerability by source, the refused ones first. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from pluto_image.audit.document import Asked, Subject, is_affected
from pluto_image.audit.judge import Audit
from pluto_image.audit.model import Hit, Source
from pluto_measure.evidence import format_time
from pluto_measure.wording import counted, printable

STATES: Final = {
    "fixable": "a newer lock fixes it",
    "open": "no fix yet",
    "noDsa": "no fix yet; Debian plans no advisory of its own",
    "postponed": "no fix yet; Debian postponed it",
    "ignored": "Debian will not fix it",
    "undetermined": "nobody has looked yet",
}
_MARKS: Final = {"pass": "ok  ", "warning": "note", "fail": "FAIL", "accepted": "ok  "}
_MOST: Final = 40  # vulnerabilities of one source
_FILES: Final = 3
_WIDTH: Final = 96


def text(subject: Subject, asked: Asked, audit: Audit) -> str:
    """The text."""
    word = "accepted" if audit.accepted else "REFUSED"
    lines = [
        f"{word}: {subject.name} {subject.version} ({subject.flavour})",
        f"  build id  {subject.build_id}",
        f"  as of     {format_time(asked.at)}",
        f"  tracker   {asked.tracker}, SHA-256 {asked.sha256}",
        f"  policy    {asked.policy_file or 'none given: the strict one'}",
    ]
    lines += [f"  {_MARKS[one.verdict]} {one.id}: {one.text}" for one in audit.findings]
    if asked.running is not None:
        lines.append(f"  {runs(asked, audit)}")
    for source, hits in groupby(audit.hits, key=lambda hit: (hit.verdict, hit.source)):
        lines += ["", *_of(source[1], list(hits))]
    if audit.inside.uncovered:
        lines += ["", f"not in the tracker: {', '.join(audit.inside.uncovered)}"]
    return printable("\n".join(lines)) + "\n"


def runs(asked: Asked, audit: Audit) -> str:
    """Whether what runs is affected, in one line; nothing where nobody asked."""
    if asked.running is None:
        return ""
    file, _, matches = asked.running
    if not matches:
        return f"what runs by {file} was not audited"
    word = "affected" if is_affected(audit) else "not affected by what the policy refuses"
    return f"what runs by {file} is {word}"


def fix(hit: Hit) -> str:
    """What can be done about a vulnerability, in a few words."""
    version = f"fixed in {hit.fixed}; " if hit.fixed else ""
    return version + STATES[hit.state]


def where(source: Source, most: int = _FILES) -> Iterator[str]:
    """Of each package, what is in the image."""
    for one in source.components:
        more = len(one.paths) - most
        yield f"{one.name}: {', '.join(one.paths[:most])}" + (
            f" and {counted(more, 'further file')}" if more > 0 else ""
        )


def _of(source: Source, hits: Sequence[Hit]) -> Iterator[str]:
    yield f"{source.name} {source.version}"
    yield from (f"     {line}" for line in where(source))
    for hit in hits[:_MOST]:
        why = f" ({hit.why})" if hit.why else ""
        yield f"  {_MARKS[hit.verdict]} {hit.issue.id} {hit.urgency}: {fix(hit)}{why}"
        if hit.issue.description:
            said = " ".join(hit.issue.description.split())
            yield "       " + (said if len(said) <= _WIDTH else f"{said[: _WIDTH - 1]}…")
    if len(hits) > _MOST:
        yield f"       and {len(hits) - _MOST} more; --json has them all"
