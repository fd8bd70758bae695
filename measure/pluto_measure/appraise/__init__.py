"""Do we accept this evidence? Policy, freshness and reference values against what verification left standing. Pure.

`verify_evidence` is the whole way from bytes to a verdict; time, nonce, collateral and the TLS key that was seen are
arguments. `verify_expected` is the same for evidence of any purpose. Every check runs and every finding is reported;
what is not given is refused, never skipped.
"""

from __future__ import annotations

from pluto_measure.appraise.appraisal import Appraisal
from pluto_measure.appraise.expected import ChannelExpected, Expected, KeyExpected, NodeExpected, SessionExpected
from pluto_measure.appraise.request import NO_SPACE, NOTHING, SpaceInputs, TdxInputs
from pluto_measure.appraise.way import parse_evidence, quote_of, verify_evidence, verify_expected

__all__ = [
    "NOTHING",
    "NO_SPACE",
    "Appraisal",
    "ChannelExpected",
    "Expected",
    "KeyExpected",
    "NodeExpected",
    "SessionExpected",
    "SpaceInputs",
    "TdxInputs",
    "parse_evidence",
    "quote_of",
    "verify_evidence",
    "verify_expected",
]
