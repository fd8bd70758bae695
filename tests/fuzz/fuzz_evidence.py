"""Any bytes are refused, or accepted with the very registers and claims that the attestation key signed.

From bytes to verdict, envelopes and bare quotes; only FormatError may be raised. What nobody signed (epoch, time, order
of members, bytes after a quote, which event a log gives its digest) may change.
"""

from __future__ import annotations

import dataclasses
import json

from pluto_measure.appraise import verify_evidence
from pluto_measure.errors import FormatError
from simulators import policies, trust_domains
from simulators.intel import NOW, TD15, world
from simulators.tpm_quotes import Machine, reference_of, tpm_evidence
from simulators.trust_domains import NONCE, OUTER_KEY, TrustDomain

# Accepts both kinds, whoever vouches, so that as much as can be is left to the signatures.
_POLICY = dataclasses.replace(
    policies.POLICY,
    platforms=("qemu-vtpm", "qemu-tdx"),
    evidence_types=("tpm", "tdx"),
    max_evidence_age="any",
    clock_skew=0,
    tdx=trust_domains.POLICY.tdx,
)
_BARE_POLICY = dataclasses.replace(_POLICY, outer_key_digest="any", config_digest="any")
_TPM = Machine().evidence(NONCE)
_TD, _NEWER = TrustDomain(), TrustDomain(world=world(version=5, kind=TD15))
_CLAIMS = (_TPM.claims, _TD.claims())
_REGISTERS = (tpm_evidence(_TPM).quote.registers, {"sha384": _TD.registers()})
_REFERENCES = [reference_of(), trust_domains.REFERENCE]
_LOG = _TD.log_bytes()
_INPUTS = _TD.inputs()
_BARE = _TD.inputs(report_data=_TD.claims().binding(), log=_LOG)


def target(data: bytes) -> None:
    try:
        appraisal = verify_evidence(data, _REFERENCES, _POLICY, NOW, NONCE, OUTER_KEY, _INPUTS)
        bare = verify_evidence(data, _REFERENCES, _BARE_POLICY, NOW, None, None, _BARE)
    except FormatError:
        return
    assert appraisal.exit_code in (0, 4, 5)
    if appraisal.accepted:
        assert appraisal.claims in _CLAIMS
        assert appraisal.registers in _REGISTERS
    if bare.accepted:
        assert bare.claims is None
        assert bare.registers == _REGISTERS[1]


def seeds() -> list[bytes]:
    quote = _TD.quote()
    return [
        _TPM.to_text().encode(),
        _TD.envelope().to_text().encode(),
        quote,
        _NEWER.quote(),
        quote.hex().encode(),
        json.dumps(list(quote)).encode(),
    ]


def _begin() -> None:
    """The seeds that are ours are accepted: a target that refuses everything would find nothing."""
    for seed in seeds()[:2]:
        assert verify_evidence(seed, _REFERENCES, _POLICY, NOW, NONCE, OUTER_KEY, _INPUTS).accepted
    for seed in seeds()[2:]:
        assert verify_evidence(seed, _REFERENCES, _BARE_POLICY, NOW, None, None, _BARE).accepted


_begin()
