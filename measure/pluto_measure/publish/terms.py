"""What a release asks of the trust domain and of the platform that it runs on: the publisher's words. Pure; strict.

A verifier's policy decides; these terms can only ask for more. Sources: Intel TDX module ABI, TDATTRIBUTES and XFAM (64
bits each); Intel's TCB statuses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Self

from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields
from pluto_measure.masked import Masked

# Statuses that can be accepted; Revoked and TCB_NOT_SUPPORTED are not among them.
STATUSES: Final = (
    "UpToDate",
    "SWHardeningNeeded",
    "ConfigurationNeeded",
    "ConfigurationAndSWHardeningNeeded",
    "OutOfDate",
    "OutOfDateConfigurationNeeded",
    "TDRelaunchAdvised",
    "TDRelaunchAdvisedConfigurationNeeded",
)
_MR_SEAM: Final = "any-signed-by-intel"
_ZERO: Final = "zero"


@dataclass(frozen=True, slots=True)
class TdTerms:
    """What the TD report must say: attributes and XFAM under masks; no service TD; a module that Intel signed."""

    attributes: Masked
    xfam: Masked

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Reads `td`. FormatError."""
        terms = cls(Masked.parse(fields.sub("attributes")), Masked.parse(fields.sub("xfam")))
        for name, only in (("mrSeam", _MR_SEAM), ("mrServiceTd", _ZERO)):
            if (said := fields.take(name, str)) != only:
                raise FormatError(fields.what, f"{name} is {said[:40]!r}, and only {only!r} is known")
        fields.end()
        return terms

    def to_json(self) -> dict[str, object]:
        return {
            "attributes": self.attributes.to_json(),
            "xfam": self.xfam.to_json(),
            "mrSeam": _MR_SEAM,
            "mrServiceTd": _ZERO,
        }


@dataclass(frozen=True, slots=True)
class TcbTerms:
    """The platform states that the publisher means the release to run on; `minimum_evaluation_number` of Intel's."""

    accepted_statuses: tuple[str, ...]
    accepted_advisories: tuple[str, ...]
    minimum_evaluation_number: int
    grace_days: int
    max_collateral_age_days: int

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Reads `tcbPolicy`. FormatError."""
        statuses, advisories = fields.take("acceptedStatuses", list), fields.take("acceptedAdvisories", list)
        terms = cls(
            _texts(statuses, fields.what),
            _texts(advisories, fields.what),
            *(_natural(fields, name) for name in ("minimumEvaluationNumber", "graceDays", "maxCollateralAgeDays")),
        )
        fields.end()
        if unknown := [status for status in terms.accepted_statuses if status not in STATUSES]:
            raise FormatError(fields.what, f"status {unknown[0][:40]!r} is not one of Intel's that can be accepted")
        if not terms.accepted_statuses:
            raise FormatError(fields.what, "acceptedStatuses is empty, so the release could run nowhere")
        return terms

    def to_json(self) -> dict[str, object]:
        return {
            "acceptedStatuses": list(self.accepted_statuses),
            "acceptedAdvisories": list(self.accepted_advisories),
            "minimumEvaluationNumber": self.minimum_evaluation_number,
            "graceDays": self.grace_days,
            "maxCollateralAgeDays": self.max_collateral_age_days,
        }


def _texts(values: list[Any], what: str) -> tuple[str, ...]:
    if not all(isinstance(value, str) and value for value in values) or len(set(values)) != len(values):
        raise FormatError(what, "must hold texts, each once")
    return tuple(values)


def _natural(fields: Fields, name: str) -> int:
    value: int = fields.take(name, int)
    if not 0 <= value < 2**31:
        raise FormatError(fields.what, f"{name} {value} is out of range")
    return value
