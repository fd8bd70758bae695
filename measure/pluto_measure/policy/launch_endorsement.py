"""The part of a policy for Google's launch endorsements: the table [endorsement], which judges MRTD. Pure.

A policy that names the platform `gcp-tdx` has it, and no other. Every field is required and "any" is written out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal, Self

from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields
from pluto_measure.policy.fields import ANY, Any_, choice, digests, number, registers_or_any, required, seconds_or_any


@dataclass(frozen=True, slots=True, kw_only=True)
class EndorsementPolicy:
    """Which endorsements of a firmware are good enough. Durations in seconds, digests in bytes."""

    insecure_roots: tuple[bytes, ...]  # SHA-256 of the DER of further roots, which are not Google's
    launch_endorsement: Literal["required", "any"]  # whether a genuine endorsement must name the quote's MRTD
    minimum_svn: int  # Google's security version of the firmware
    minimum_timestamp: datetime | Any_  # when the endorsement must have been made at the earliest
    max_endorsement_age: int | Any_  # of the endorsement
    early_accept: bool | Any_  # whether the firmware accepts all memory before the system starts
    firmware: tuple[bytes, ...] | Any_  # SHA-384 of the firmware files that are accepted
    endorsement_memory: Literal["required", "any"]  # whether an older endorsement than once seen must be ruled out

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """From the table [endorsement]. FormatError."""
        policy = cls(
            insecure_roots=digests(fields.take("insecure_roots", list), fields.what, "insecure_roots"),
            launch_endorsement=required(fields, "launchEndorsement"),
            minimum_svn=number(fields, "minimumSvn"),
            minimum_timestamp=_time_or_any(fields, "minimumTimestamp"),
            max_endorsement_age=seconds_or_any(fields, "maxEndorsementAge"),
            early_accept=choice(fields, "earlyAccept"),
            firmware=registers_or_any(fields, "firmware", zero=False),
            endorsement_memory=required(fields, "endorsementMemory"),
        )
        fields.end()
        return policy


STRICT_ENDORSEMENT_TEXT: Final = """
[endorsement]
insecure_roots = [] # SHA-256 of roots that are not Google's
launchEndorsement = "required" # a genuine endorsement of Google's names MRTD
minimumSvn = 0 # Google's security version of the firmware; raise it when a bulletin says so
minimumTimestamp = "any" # or a time: endorsements that are older are refused
maxEndorsementAge = "any" # seconds; a machine keeps its firmware until it is stopped
earlyAccept = "any" # whether the firmware accepts all memory itself
firmware = "any" # or a list of SHA-384 of firmware files
endorsementMemory = "any" # "required": refuse where no --state rules out an older endorsement than once seen
"""
STRICT_ENDORSEMENT: Final = EndorsementPolicy(
    insecure_roots=(),
    launch_endorsement="required",
    minimum_svn=0,
    minimum_timestamp="any",
    max_endorsement_age="any",
    early_accept="any",
    firmware="any",
    endorsement_memory="any",
)


def _time_or_any(fields: Fields, name: str) -> datetime | Any_:
    value = fields.take(name)
    if value == ANY:
        return "any"
    if not isinstance(value, datetime) or value.tzinfo is None:
        problem = f'{name} must be "any" or a time with a zone, such as 2026-11-20T12:00:00Z'
        raise FormatError(fields.what, problem)
    try:
        return value.astimezone(UTC)
    except OverflowError as error:  # before the first or after the last year, in UTC
        raise FormatError(fields.what, f"{name} {value} is out of range") from error
