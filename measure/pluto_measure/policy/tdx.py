"""The part of a policy for TDX quotes: [td] judges the trust domain, [tcb] the platform under it. Pure.

[td] is about what a TD report says (Intel TDX module ABI 348551, tables of ATTRIBUTES and XFAM), [tcb] about Intel's
verdict and the collateral that it was reached by. What Intel's own policies call grace periods, evaluation numbers and
advisories means the same here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, Self

from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields
from pluto_measure.masked import Masked
from pluto_measure.policy.fields import (
    Any_,
    Choice,
    choice,
    digests,
    names,
    number,
    registers_or_any,
    required,
    seconds,
    seconds_or_any,
)
from pluto_measure.publish.terms import STATUSES

# Attributes of a trust domain that a policy may allow by name: bit numbers. DEBUG, SEPT_VE_DISABLE and MIGRATABLE have
# fields of their own; the rest of bits 0 to 7 puts the TD under test, and bits without a name are never allowed.
ATTRIBUTES: Final[Mapping[str, int]] = {"ICSSD": 16, "LASS": 27, "PKS": 30, "KL": 31, "TPA": 62, "PERFMON": 63}
# A misspelt advisory would reject nothing, so its form is checked.
_ADVISORY: Final = re.compile(r"INTEL-[A-Z]+-[0-9]{5,9}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Advisory:
    """An advisory whose consequences the policy's author accepts until a time."""

    id: str
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TdxPolicy:
    """What is accepted of a trust domain and its platform. Durations in seconds."""

    # [td]
    insecure_roots: tuple[bytes, ...]  # SHA-256 of the DER of further roots, of hardware that is no product of Intel's
    report_data: Literal["required", "any"]  # whether the verifier must say what a bare quote is bound to
    mr_seam: tuple[bytes, ...] | Any_
    mr_config_id: tuple[bytes, ...] | Any_
    mr_owner: tuple[bytes, ...] | Any_
    mr_owner_config: tuple[bytes, ...] | Any_
    mr_service_td: tuple[bytes, ...] | Any_
    sept_ve_disable: Literal["required", "any"]
    allow_migratable: bool
    allowed_attributes: tuple[str, ...]
    xfam: Masked
    # [tcb]
    accepted_statuses: tuple[str, ...]
    accepted_advisories: tuple[Advisory, ...]
    rejected_advisories: tuple[str, ...]
    platform_grace: int  # how long after its TCB date a platform may be out of date
    minimum_evaluation_number: int
    max_collateral_age: int | Any_
    collateral_grace: int  # how long after its next update is due collateral is still used
    not_before: Literal["required", "any"]  # whether certificates must have begun
    collateral_memory: Literal["required", "any"]  # whether older collateral than once seen must be ruled out
    dynamic_platform: Choice
    cached_keys: Choice
    smt: Choice

    @classmethod
    def parse(cls, td: Fields, tcb: Fields) -> Self:
        """From the tables [td] and [tcb]. FormatError."""
        policy = cls(
            insecure_roots=digests(td.take("insecure_roots", list), td.what, "insecure_roots"),
            report_data=required(td, "reportData"),
            mr_seam=registers_or_any(td, "mrSeam", zero=False),
            mr_config_id=registers_or_any(td, "mrConfigId", zero=True),
            mr_owner=registers_or_any(td, "mrOwner", zero=True),
            mr_owner_config=registers_or_any(td, "mrOwnerConfig", zero=True),
            mr_service_td=registers_or_any(td, "mrServiceTd", zero=True),
            sept_ve_disable=required(td, "septVeDisable"),
            allow_migratable=td.take("allowMigratable", bool),
            allowed_attributes=names(td, "allowedAttributes", tuple(ATTRIBUTES), empty=True),
            xfam=Masked.parse(td.sub("xfam")),
            accepted_statuses=names(tcb, "acceptedStatuses", STATUSES),
            accepted_advisories=_advisories(tcb),
            rejected_advisories=tuple(
                _advisory(item, tcb.what, "rejectedAdvisories") for item in tcb.take("rejectedAdvisories", list)
            ),
            platform_grace=seconds(tcb, "platformGrace"),
            minimum_evaluation_number=number(tcb, "minimumEvaluationNumber"),
            max_collateral_age=seconds_or_any(tcb, "maxCollateralAge"),
            collateral_grace=seconds(tcb, "collateralGrace"),
            not_before=required(tcb, "notBefore"),
            collateral_memory=required(tcb, "collateralMemory"),
            dynamic_platform=choice(tcb, "dynamicPlatform"),
            cached_keys=choice(tcb, "cachedKeys"),
            smt=choice(tcb, "smt"),
        )
        td.end()
        tcb.end()
        return policy


def _advisories(table: Fields) -> tuple[Advisory, ...]:
    found = []
    for value in table.take("acceptedAdvisories", list):
        fields = Fields(value, what=f"{table.what}.acceptedAdvisories[]")
        until = fields.take("until")
        if not isinstance(until, datetime) or until.tzinfo is None:
            raise FormatError(fields.what, "until must be a time with a zone, such as 2027-01-01T00:00:00Z")
        try:
            until = until.astimezone(UTC)
        except OverflowError as error:  # before the first or after the last year, in UTC
            raise FormatError(fields.what, f"until {until} is out of range") from error
        found.append(Advisory(_advisory(fields.take("id"), fields.what, "id"), until))
        fields.end()
    if len({advisory.id for advisory in found}) != len(found):
        raise FormatError(table.what, "acceptedAdvisories names something twice")
    return tuple(found)


def _advisory(value: Any, what: str, name: str) -> str:
    if not isinstance(value, str) or not _ADVISORY.fullmatch(value):
        raise FormatError(what, f"{name} has {value!r}, which is no advisory such as INTEL-SA-01192")
    return value
