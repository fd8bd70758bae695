"""Who vouches for reference values: the outcome of judging a signed release, kept beside its values. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from pluto_measure.findings import Finding
from pluto_measure.publish.terms import TcbTerms, TdTerms


@dataclass(frozen=True, slots=True)
class Vouched:
    """A release and the organisations that signed it; `findings` has every check, failed ones too.

    `statement`: SHA-256 of release.json in hex. `wanted`: how many organisations the trust file asks for.
    """

    name: str
    channel: str
    sequence: int
    statement: str
    organisations: tuple[str, ...]
    wanted: int
    td: TdTerms
    tcb: TcbTerms
    findings: tuple[Finding, ...]
