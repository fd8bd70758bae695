"""The page of `pluto-image audit --html`: what is known of a build, for people. Pure.

It shows what was judged and decides nothing; the template is audit.html. Long lists are cut so that it stays small; the
document of `--json` has everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pluto_image.audit.document import Asked, Subject
from pluto_image.audit.judge import Audit
from pluto_image.audit.model import Component, Hit, Source
from pluto_image.audit.text import fix, runs
from pluto_image.pages import render
from pluto_measure.evidence import format_time

SHOWN: Final = 250  # vulnerabilities on the page
_FILES: Final = 12  # of one package
_DESCRIPTION: Final = 160  # characters
_WORDS: Final = {
    "fail": ("bad", "✗", "refused"),
    "warning": ("warn", "!", "let through"),
    "accepted": ("good", "✓", "accepted"),
}
_CHECKS: Final = {"fail": ("bad", "✗", "refused"), "warning": ("warn", "!", "warning"), "pass": ("good", "✓", "passed")}
_KNOWN_BY: Final = {"fetch": "fetched from Debian", "option": "by --fetched-at", "file": "by the file's own time"}


@dataclass(frozen=True, slots=True)
class Row:
    """One vulnerability, as the page shows it."""

    id: str
    kind: str
    mark: str
    word: str
    urgency: str
    scope: str
    fix: str
    why: str
    description: str


@dataclass(frozen=True, slots=True)
class Files:
    """What of a package is in the image; `more`: how many files are not shown."""

    name: str
    version: str
    paths: tuple[str, ...]
    more: int


@dataclass(frozen=True, slots=True)
class Block:
    """One source package with what is known of it; `hidden`: how many vulnerabilities are not shown."""

    name: str
    version: str
    refused: int
    total: int
    packages: tuple[Files, ...]
    rows: tuple[Row, ...]
    hidden: int


def page(subject: Subject, asked: Asked, audit: Audit, *, command: str) -> str:
    """The page. `command` is what made it."""
    checks = [(one, *_CHECKS[one.verdict]) for one in audit.findings]
    return render.page(
        "audit.html",
        styles=("audit.css",),
        subject=subject,
        asked=asked,
        at=format_time(asked.at),
        fetched=f"{format_time(asked.seen.at)}, {_KNOWN_BY[asked.seen.known_by]}",
        accepted=audit.accepted,
        counts={name: audit.count(name) for name in ("fail", "warning", "accepted")},
        checks=checks,
        runs=runs(asked, audit),
        matches=asked.running is not None and asked.running[2],
        blocks=_blocks(audit.hits),
        rebuilt=[one for one in audit.rebuilds if one.word == "bad"],
        good=sum(one.word == "good" for one in audit.rebuilds),
        unknown=sum(one.word == "unknown" for one in audit.rebuilds),
        rules=asked.policy,
        outside=audit.inside.outside,
        uncovered=audit.inside.uncovered,
        command=command,
    )


def _blocks(hits: Sequence[Hit]) -> list[Block]:
    """By source, those with something refused first; what does not fit on the page is counted."""
    grouped: dict[Source, list[Hit]] = {}
    for hit in hits:
        grouped.setdefault(hit.source, []).append(hit)
    found, left = [], SHOWN
    for source, some in grouped.items():
        shown = some[: max(left, 0)]
        left -= len(shown)
        refused = sum(hit.verdict == "fail" for hit in some)
        rows, packages = tuple(map(_row, shown)), tuple(map(_files, source.components))
        found.append(Block(source.name, source.version, refused, len(some), packages, rows, len(some) - len(shown)))
    return found


def _row(hit: Hit) -> Row:
    said = " ".join(hit.issue.description.split())
    cut = said if len(said) <= _DESCRIPTION else f"{said[: _DESCRIPTION - 1]}…"
    return Row(hit.issue.id, *_WORDS[hit.verdict], hit.urgency, hit.issue.scope, fix(hit), hit.why, cut)


def _files(one: Component) -> Files:
    return Files(one.name, one.version, one.paths[:_FILES], max(0, len(one.paths) - _FILES))
