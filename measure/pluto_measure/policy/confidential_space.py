"""The part of a policy for Confidential Space: [confidentialSpace] judges what Google says in a token. Pure.

What a token must say in any case is no field: Google is the issuer, Intel TDX the hardware, Confidential Space the
software, Secure Boot is on. The container is the reference's; the machine, age and debug are fields of every policy.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields
from pluto_measure.policy.fields import ANY, Any_, digests, names, seconds
from pluto_measure.publish.terms import STATUSES
from pluto_measure.toml import table

FORMS: Final = ("pki", "oidc")
SUPPORT: Final = ("LATEST", "STABLE", "USABLE")
RESTARTS: Final = ("Never", "OnFailure", "Always")
TABLE: Final = "confidentialSpace"
TEXT: Final = """\
[confidentialSpace]
insecure_roots = [] # SHA-256 of roots that are not Google's
forms = ["pki"] # tokens with their chain; "oidc": also those whose key somebody fetched from Google
maxKeyAge = 86400 # seconds since those keys were fetched
minimumVersion = "250300" # of Google's image; the first with TDX
support = "STABLE" # or "LATEST", "USABLE": what Google says of the image today
tcbStatuses = ["UpToDate"] # of the platform, by Google's word
monitoring = "off" # the operator does not see how much memory is in use
restartPolicies = "any" # or some of "Never", "OnFailure", "Always": a restarted notary has new keys and a new token
imageReferences = "any" # where the container came from; its digest is compared in any case
serviceAccounts = "any" # as whom the machine acts towards Google
projects = "any" # project ids
zones = "any"
"""
_VERSION: Final = re.compile(r"[0-9]{6}", re.ASCII)
_PROJECT: Final = re.compile(r"([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]", re.ASCII)
_ZONE: Final = re.compile(r"[a-z]+-[a-z]+[0-9]+-[a-z]", re.ASCII)
_ACCOUNT: Final = re.compile(r"[A-Za-z0-9._+-]+@[a-z0-9.-]+", re.ASCII)
_REFERENCE: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._:/@-]{0,511}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfidentialSpacePolicy:
    """What is accepted of a token and of the machine that it speaks of. Durations in seconds."""

    insecure_roots: tuple[bytes, ...]  # SHA-256 of the DER of further roots
    forms: tuple[str, ...]
    max_key_age: int  # of the key set that tokens of the form `oidc` are checked with
    minimum_version: str  # six digits: year, month, number
    support: str | Any_
    tcb_statuses: tuple[str, ...] | Any_
    monitoring: Literal["off", "any"]
    restart_policies: tuple[str, ...] | Any_
    image_references: tuple[str, ...] | Any_
    service_accounts: tuple[str, ...] | Any_  # all that the token names must be among them
    projects: tuple[str, ...] | Any_
    zones: tuple[str, ...] | Any_

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """From the table [confidentialSpace]. FormatError."""
        policy = cls(
            insecure_roots=digests(fields.take("insecure_roots", list), fields.what, "insecure_roots"),
            forms=names(fields, "forms", FORMS),
            max_key_age=seconds(fields, "maxKeyAge"),
            minimum_version=_matching(fields.take("minimumVersion", str), fields, "minimumVersion", _VERSION),
            support=_one_of(fields, "support", (*SUPPORT, ANY)),
            tcb_statuses=_known(fields, "tcbStatuses", STATUSES),
            monitoring="any" if _one_of(fields, "monitoring", ("off", ANY)) == ANY else "off",
            restart_policies=_known(fields, "restartPolicies", RESTARTS),
            image_references=_patterned(fields, "imageReferences", _REFERENCE),
            service_accounts=_patterned(fields, "serviceAccounts", _ACCOUNT, empty=True),
            projects=_patterned(fields, "projects", _PROJECT),
            zones=_patterned(fields, "zones", _ZONE),
        )
        fields.end()
        return policy


def _one_of(fields: Fields, name: str, known: tuple[str, ...]) -> str:
    value: str = fields.take(name, str)
    if value not in known:
        raise FormatError(fields.what, f"{name} is {value[:80]!r}, not one of {', '.join(known)}")
    return value


def _known(fields: Fields, name: str, known: tuple[str, ...]) -> tuple[str, ...] | Any_:
    def checked(value: Any) -> str:
        if value not in known:
            raise FormatError(fields.what, f"{name} has {value!r}, which is not one of {', '.join(known)}")
        return str(value)

    return _or_any(fields, name, checked)


def _matching(value: Any, fields: Fields, name: str, form: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not form.fullmatch(value):
        raise FormatError(fields.what, f"{name} has {str(value)[:80]!r}, which is none")
    return value


def _patterned(fields: Fields, name: str, form: re.Pattern[str], *, empty: bool = False) -> tuple[str, ...] | Any_:
    return _or_any(fields, name, lambda value: _matching(value, fields, name, form), empty=empty)


def _or_any(fields: Fields, name: str, checked: Callable[[Any], str], *, empty: bool = False) -> tuple[str, ...] | Any_:
    value = fields.take(name, list, str)
    if value == ANY:
        return "any"
    if isinstance(value, str) or not (value or empty):
        raise FormatError(fields.what, f'{name} must be "any" or a list{"" if empty else " that is not empty"}')
    found = tuple(checked(item) for item in value)
    if len(set(found)) != len(found):
        raise FormatError(fields.what, f"{name} names something twice")
    return found


def _strict() -> ConfidentialSpacePolicy:
    return ConfidentialSpacePolicy.parse(Fields(table(TEXT, what="policy"), what="policy").sub(TABLE))


STRICT_CONFIDENTIAL_SPACE: Final = _strict()
