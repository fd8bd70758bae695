"""Any text is refused, or accepted with the very registers and claims that the attestation key signed.

From bytes to verdict; only FormatError may be raised. What nobody signed (epoch, time, order of members) may change.
"""

from __future__ import annotations

import dataclasses

from pluto_measure.appraise import verify_evidence
from pluto_measure.errors import FormatError
from simulators import policies
from simulators.tpm_quotes import NOW, Machine, reference_of

_POLICY = dataclasses.replace(policies.POLICY, max_evidence_age="any", clock_skew=0)
_GENUINE = Machine().evidence(b"nonce")
_REFERENCES = [reference_of()]


def target(data: bytes) -> None:
    try:
        appraisal = verify_evidence(data, _REFERENCES, _POLICY, NOW, b"nonce", bytes(range(32)))
    except FormatError:
        return
    if appraisal.accepted:
        assert appraisal.registers == _GENUINE.quote.registers
        assert appraisal.claims == _GENUINE.claims


def seeds() -> list[bytes]:
    return [_GENUINE.to_text().encode()]
