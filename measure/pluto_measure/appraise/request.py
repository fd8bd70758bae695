"""What a verifier brings to a TDX quote beside policy, references, time and nonce. Pure values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pluto_measure.formats.collateral import Collateral


@dataclass(frozen=True, slots=True, kw_only=True)
class TdxInputs:
    """Each is None where the verifier does not have it; a finding says so.

    collateral   by which the quote is judged
    early        Intel's next set, which will count in a while: it can only warn
    rollbacks    what of the collateral is older than once seen, in words; None: nobody remembers what was seen
    report_data  REPORTDATA (64 bytes) that a bare quote must carry; an envelope's follows from its claims
    log          the event log of a bare quote (any form that replay reads); an envelope has its own
    """

    collateral: Collateral | None = None
    early: Collateral | None = None
    rollbacks: tuple[str, ...] | None = None
    report_data: bytes | None = None
    log: bytes | None = None


NOTHING: Final = TdxInputs()
