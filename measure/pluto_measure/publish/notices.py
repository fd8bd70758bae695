"""What is said of a release after it was signed: that it is still good, or that it must not run any more. Pure.

    confirmation   "still good at T, until U": by its signer, again and again; read strictly, as it raises trust
    revocation     "must not run, because": read loosely, as it lowers trust; one trusted organisation suffices

Both are in-toto statements about one subject, the release's own release.json, by both digests. Neither is a signature
of the release, so neither counts towards k. Format: docs/formats/signatures.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self

from pluto_measure.digests import Digests
from pluto_measure.errors import FormatError
from pluto_measure.evidence import format_time, parse_time
from pluto_measure.formats.strict_json import Fields
from pluto_measure.publish.facts import count, known_version, text, word
from pluto_measure.publish.release import FILE, Release
from pluto_measure.publish.statement import Statement, of

CONFIRMATION: Final = "https://pluto-tee.org/confirmation/v1"
REVOCATION: Final = "https://pluto-tee.org/revocation/v1"
_REVOCATIONS: Final = REVOCATION.rpartition("/")[0] + "/"
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Confirmation:
    """That a release was still good at `confirmed_at`, and may be taken for good until `until`, both included."""

    name: str
    channel: str
    sequence: int
    confirmed_at: datetime
    until: datetime

    @classmethod
    def parse(cls, statement: Statement) -> Self:
        """FormatError for another predicate, anything unknown or missing, and times in the wrong order."""
        what = "confirmation"
        if statement.predicate_type != CONFIRMATION:
            raise FormatError(what, f"predicateType {statement.predicate_type[:80]!r} is not {CONFIRMATION}")
        fields = Fields(statement.predicate, what=what)
        known_version(fields)
        found = cls(
            word(fields, "name"),
            word(fields, "channel"),
            count(fields, "sequence"),
            *(parse_time(fields.take(name, str), what=f"{what}.{name}") for name in ("confirmedAt", "until")),
        )
        fields.end()
        if found.until <= found.confirmed_at:
            raise FormatError(what, "until is not after confirmedAt")
        return found

    def statement(self, subject: Digests) -> Statement:
        """The statement about the release.json of these digests."""
        return of(
            {FILE: subject},
            CONFIRMATION,
            {
                "version": _VERSION,
                "name": self.name,
                "channel": self.channel,
                "sequence": self.sequence,
                "confirmedAt": format_time(self.confirmed_at),
                "until": format_time(self.until),
            },
        )


def confirmation(release: Release, at: datetime, until: datetime) -> Confirmation:
    """What confirms a release. FormatError for times that would say nothing, or more than the release itself does."""
    if until <= at:
        raise FormatError("confirmation", f"until {format_time(until)} is not after now, {format_time(at)}")
    issued, end = release.facts.validity.issued_at, release.facts.validity.not_after
    if at < issued:
        raise FormatError("confirmation", f"the release is dated {format_time(issued)}, which is after now")
    if until > end:
        raise FormatError("confirmation", f"the release itself is valid until {format_time(end)}, and not longer")
    place = release.facts.place
    return Confirmation(release.name, place.channel, place.sequence, at, until)


def revocation(release: Release, subject: Digests, at: datetime, reason: str) -> Statement:
    """The statement that revokes a release. FormatError for a reason that tells nobody anything."""
    place = release.facts.place
    said = {
        "version": _VERSION,
        "name": release.name,
        "channel": place.channel,
        "sequence": place.sequence,
        "revokedAt": format_time(at),
        "reason": text(Fields({"reason": reason}, what="revocation"), "reason"),
    }
    if not reason:
        raise FormatError("revocation", "reason is empty")
    return of({FILE: subject}, REVOCATION, said)


def revokes(statement: Any, release_sha256: str) -> str | None:
    """The reason for which a statement, as JSON, revokes the release.json of this digest; None if it does not.

    Of whatever version: what a trusted organisation says in a newer form must not pass for nothing.
    """
    kind = statement.get("predicateType") if isinstance(statement, dict) else None
    if not isinstance(kind, str) or not kind.startswith(_REVOCATIONS):
        return None
    subjects = statement.get("subject")
    digests = [one.get("digest") for one in subjects if isinstance(one, dict)] if isinstance(subjects, list) else []
    if not any(isinstance(one, dict) and one.get("sha256") == release_sha256 for one in digests):
        return None
    predicate = statement.get("predicate")
    reason = predicate.get("reason") if isinstance(predicate, dict) else None
    return reason if isinstance(reason, str) and reason else "no reason is given"


def confirms(statement: Statement, subject: Digests) -> bool:
    """Whether a confirmation is about the release.json of these digests, and about nothing else."""
    return [(one.name, one.digests) for one in statement.subjects] == [(FILE, subject)]
