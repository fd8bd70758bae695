"""What a release engineer says of a release: its place in a channel, its validity, its terms. Pure; strict.

`Facts` is release.toml as a value; the same members stand in the predicate of release.json, which
`pluto_measure.publish.release` reads with what is here. Format: docs/formats/release.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Self

from pluto_measure.errors import FormatError
from pluto_measure.evidence import format_time, parse_time
from pluto_measure.formats.strict_json import Fields
from pluto_measure.publish.terms import TcbTerms, TdTerms
from pluto_measure.toml import table

FILE: Final = "release.toml"
VERSION: Final = 1
_WORD: Final = re.compile(r"[a-z0-9][a-z0-9.+~-]{0,63}", re.ASCII)
_LARGEST: Final = 2**53 - 1
_MOST: Final = 1000


@dataclass(frozen=True, slots=True)
class Revoked:
    """An earlier release of the channel that must not run any more, and why."""

    sequence: int
    reason: str

    @classmethod
    def parse(cls, value: object, what: str) -> Self:
        fields = Fields(value, what=f"{what}.revokes[]")
        revoked = cls(count(fields, "sequence"), text(fields, "reason"))
        fields.end()
        if not revoked.reason:
            raise FormatError(what, f"revokes gives no reason for {revoked.sequence}")
        return revoked


@dataclass(frozen=True, slots=True)
class Place:
    """Where a release stands in its channel. `supersedes`: the sequence before this one, None for the first."""

    channel: str
    sequence: int
    minimum_sequence: int
    supersedes: int | None
    revokes: tuple[Revoked, ...]

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Takes its members from release.toml (where `supersedes` may be left out) or from the predicate."""
        what = fields.what
        place = cls(
            channel=word(fields, "channel"),
            sequence=count(fields, "sequence"),
            minimum_sequence=count(fields, "minimumSequence"),
            supersedes=fields.get("supersedes", None, int, type(None)),
            revokes=tuple(Revoked.parse(value, what) for value in few(fields, "revokes")),
        )
        sequence, before = place.sequence, place.supersedes
        if place.minimum_sequence > sequence:
            raise FormatError(what, f"minimumSequence {place.minimum_sequence} is above this release's own {sequence}")
        if before is not None and not 1 <= before < sequence:
            raise FormatError(what, f"supersedes {before} is not a sequence before {sequence}")
        if any(one.sequence >= sequence for one in place.revokes):
            raise FormatError(what, f"revokes names a sequence that is not before {sequence}")
        return place

    def to_json(self) -> dict[str, object]:
        return {
            "channel": self.channel,
            "sequence": self.sequence,
            "minimumSequence": self.minimum_sequence,
            "supersedes": self.supersedes,
            "revokes": [{"sequence": one.sequence, "reason": one.reason} for one in self.revokes],
        }


@dataclass(frozen=True, slots=True)
class Validity:
    """From when until when the publisher stands by a release."""

    issued_at: datetime
    not_after: datetime

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Takes its two members. FormatError where they are in the wrong order."""
        validity = cls(_time(fields, "issuedAt"), _time(fields, "notAfter"))
        if validity.not_after <= validity.issued_at:
            raise FormatError(fields.what, "notAfter is not after issuedAt")
        return validity

    def to_json(self) -> dict[str, object]:
        return {"issuedAt": format_time(self.issued_at), "notAfter": format_time(self.not_after)}


@dataclass(frozen=True, slots=True)
class Facts:
    """All of release.toml."""

    place: Place
    validity: Validity
    repository: str
    repository_id: str
    td: TdTerms
    tcb: TcbTerms

    @classmethod
    def parse(cls, data: bytes | str) -> Self:
        """release.toml. FormatError for anything unknown, missing or at odds with itself."""
        fields = Fields(table(data, what=FILE), what=FILE)
        known_version(fields)
        source = fields.sub("source")
        facts = cls(
            Place.parse(fields),
            Validity.parse(fields),
            text(source, "repository"),
            text(source, "repositoryId"),
            TdTerms.parse(fields.sub("td")),
            TcbTerms.parse(fields.sub("tcbPolicy")),
        )
        source.end()
        fields.end()
        return facts


def known_version(fields: Fields) -> None:
    """Take `version`. FormatError for another one."""
    if (version := fields.take("version", int)) != VERSION:
        raise FormatError(fields.what, f"version {version} is not known")


def count(fields: Fields, name: str) -> int:
    """Take a number from 1 on."""
    value: int = fields.take(name, int)
    if not 1 <= value <= _LARGEST:
        raise FormatError(fields.what, f"{name} {value} is not between 1 and 2^53")
    return value


def text(fields: Fields, name: str) -> str:
    """Take a line of text, which may be empty."""
    value: str = fields.take(name, str)
    if len(value) > 300 or not value.isprintable() or value != value.strip():
        raise FormatError(fields.what, f"{name} is no short plain text")
    return value


def word(fields: Fields, name: str) -> str:
    """Take a name or version in lower case."""
    value: str = fields.take(name, str)
    if _WORD.fullmatch(value) is None:
        raise FormatError(fields.what, f"{name} {value[:80]!r} is malformed")
    return value


def few(fields: Fields, name: str) -> list[Any]:
    """Take a list of bounded length."""
    values: list[Any] = fields.take(name, list)
    if len(values) > _MOST:
        raise FormatError(fields.what, f"{len(values)} {name} are more than {_MOST}")
    return values


def _time(fields: Fields, name: str) -> datetime:
    value = fields.take(name, str, datetime)
    if not isinstance(value, datetime):
        return parse_time(value, what=f"{fields.what}.{name}")
    if value.tzinfo is None:  # TOML has times of its own
        raise FormatError(fields.what, f"{name} has no time zone, such as the Z of UTC")
    try:
        return value.astimezone(UTC).replace(microsecond=0)
    except OverflowError as error:
        raise FormatError(fields.what, f"{name} is no year from 1 to 9999 in UTC") from error
