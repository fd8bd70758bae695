"""The policy of an audit: which vulnerabilities refuse an image, and which were looked at. Pure: TOML in, a value out.

Every field is required and "any" is written out; an unknown one is an error, so that a misspelt rule cannot vanish.
Without a policy file `STRICT` judges. Format: docs/formats/audit.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, Self

from pluto_image.audit.model import STATES, URGENCIES, State
from pluto_measure.errors import FormatError
from pluto_measure.evidence import format_time
from pluto_measure.formats.strict_json import Fields
from pluto_measure.toml import table

VERSION: Final = 1
ANY: Final = "any"
_WHAT: Final = "audit policy"
_LONGEST: Final = 10 * 366 * 86400
_MOST: Final = 1000  # acceptances
_ISSUE: Final = re.compile(r"(?:CVE|TEMP)-[0-9A-Za-z-]{1,32}", re.ASCII)
_SOURCE: Final = re.compile(r"[a-z0-9][a-z0-9+.-]{1,127}", re.ASCII)
Word = Literal["refuse", "accept"]

STRICT_TEXT: Final = """\
version = 1
maxTrackerAge = 172800 # two days
clockSkew = 300
accepted = []

[refuse]
fixable = ["high", "medium", "not yet assigned", "low", "end-of-life", "unimportant"]
open = ["high", "medium", "not yet assigned", "low", "end-of-life"]
noDsa = ["high", "medium", "not yet assigned", "low", "end-of-life"]
postponed = ["high", "medium", "not yet assigned", "low", "end-of-life"]
ignored = ["high", "medium", "not yet assigned", "low", "end-of-life"]
undetermined = ["high", "medium", "not yet assigned", "low", "end-of-life"]

[rebuilders]
bad = "refuse"
unknown = "accept"
"""
STRICT_WORDS: Final = (
    "no policy was given: refused is everything that a newer lock would fix, every other vulnerability that Debian "
    "does not call unimportant, packages that rebuilders could not make again, and tracker data older than two days"
)


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A vulnerability of one source that somebody looked at and lets through, for a time."""

    issue: str
    source: str
    reason: str
    until: datetime


@dataclass(frozen=True, slots=True)
class AuditPolicy:
    """What refuses. Durations in seconds; `refuse`: the urgencies that refuse, by state."""

    max_tracker_age: int | None  # None: any
    clock_skew: int  # how far the tracker's time may lie ahead
    refuse: Mapping[State, tuple[str, ...]]
    rebuilt_bad: Word
    rebuilt_unknown: Word
    accepted: tuple[Acceptance, ...]

    @classmethod
    def parse(cls, text: bytes | str) -> Self:
        """FormatError for anything unknown, missing or of the wrong kind."""
        fields = Fields(table(text, what=_WHAT), what=_WHAT)
        if (version := fields.take("version", int)) != VERSION:
            raise FormatError(_WHAT, f"version {version} is not known")
        refuse, rebuilders = fields.sub("refuse"), fields.sub("rebuilders")
        policy = cls(
            max_tracker_age=_age(fields),
            clock_skew=_seconds(fields.take("clockSkew", int), "clockSkew"),
            refuse={state: _urgencies(refuse, state) for state in STATES},
            rebuilt_bad=_word(rebuilders, "bad"),
            rebuilt_unknown=_word(rebuilders, "unknown"),
            accepted=_acceptances(fields.take("accepted", list)),
        )
        for part in (refuse, rebuilders, fields):
            part.end()
        return policy

    def to_json(self) -> dict[str, object]:
        """As programs read it."""
        return {
            "maxTrackerAge": ANY if self.max_tracker_age is None else self.max_tracker_age,
            "clockSkew": self.clock_skew,
            "refuse": {state: list(names) for state, names in self.refuse.items()},
            "rebuilders": {"bad": self.rebuilt_bad, "unknown": self.rebuilt_unknown},
            "accepted": [
                {"cve": one.issue, "source": one.source, "reason": one.reason, "until": format_time(one.until)}
                for one in self.accepted
            ],
        }


def _age(fields: Fields) -> int | None:
    value = fields.take("maxTrackerAge", int, str)
    if value == ANY:
        return None
    if isinstance(value, str):
        raise FormatError(_WHAT, f'maxTrackerAge must be "{ANY}" or a number of seconds')
    return _seconds(value, "maxTrackerAge")


def _seconds(value: int, name: str) -> int:
    if not 0 <= value <= _LONGEST:
        raise FormatError(_WHAT, f"{name} of {value} seconds is out of range")
    return value


def _urgencies(fields: Fields, state: str) -> tuple[str, ...]:
    values: list[Any] = fields.take(state, list)
    for value in values:
        if value not in URGENCIES:
            raise FormatError(
                fields.what, f"{state} has {str(value)[:40]!r}, which is not one of {', '.join(URGENCIES)}"
            )
    if len(set(values)) != len(values):
        raise FormatError(fields.what, f"{state} names an urgency twice")
    return tuple(values)


def _word(fields: Fields, name: str) -> Word:
    value = fields.take(name, str)
    if value not in ("refuse", "accept"):
        raise FormatError(fields.what, f'{name} is {value[:40]!r}, neither "refuse" nor "accept"')
    return value  # type: ignore[no-any-return]  # checked just before


def _acceptances(values: list[Any]) -> tuple[Acceptance, ...]:
    if len(values) > _MOST:
        raise FormatError(_WHAT, f"{len(values)} acceptances are more than {_MOST}")
    found = tuple(_acceptance(value, f"{_WHAT}.accepted[{place}]") for place, value in enumerate(values))
    if len({(one.issue, one.source) for one in found}) != len(found):
        raise FormatError(_WHAT, "accepted names a vulnerability of one source twice")
    return found


def _acceptance(value: object, what: str) -> Acceptance:
    fields = Fields(value, what=what)
    issue, source, reason = (fields.take(name, str) for name in ("cve", "source", "reason"))
    until = fields.take("until", datetime)
    fields.end()
    if not _ISSUE.fullmatch(issue) or not _SOURCE.fullmatch(source):
        raise FormatError(what, "cve or source cannot be a name")
    if not reason.strip() or not reason.isprintable():
        raise FormatError(what, "reason is empty, or has what cannot be printed")
    if until.tzinfo is None:
        raise FormatError(what, "until has no time zone; write 2027-01-01T00:00:00Z")
    return Acceptance(issue, source, reason.strip(), until.astimezone(UTC))


STRICT: Final = AuditPolicy.parse(STRICT_TEXT)
