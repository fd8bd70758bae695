"""Envelopes of every purpose, of a pretend TPM or a pretend trust domain, and the claims in them. For tests alone."""

from __future__ import annotations

from typing import Final

from pluto_measure.claims import AnyClaims, ChannelClaims, Claims, KeyClaims, SessionClaims
from pluto_measure.evidence import Envelope, TdxEvidence, TpmEvidence, TpmQuote, tpm_extra_data
from simulators.tpm_quotes import Machine, attest_of, log_of, public_of, registers_of, sign
from simulators.trust_domains import CONFIG, OUTER_KEY, TrustDomain

EKM: Final = b"\x0e" * 32
NONCE: Final = b"\x5a" * 32
CHANNEL_KEY: Final = b"\xc4" * 32
# The generator of secp256k1: a point that everybody knows.
STATEMENT_KEY: Final = bytes.fromhex("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")
EPOCH: Final = 7


def every_purpose(build_id: bytes, config: bytes = CONFIG, outer_key: bytes = OUTER_KEY) -> dict[str, AnyClaims]:
    """Claims of each purpose, a session's opened."""
    return {
        "node": Claims("node", NONCE, config, outer_key, build_id),
        "channel": ChannelClaims(CHANNEL_KEY, config, EPOCH, outer_key, build_id),
        "session": SessionClaims.of(EKM, NONCE, CHANNEL_KEY, config, build_id),
        "key": KeyClaims(STATEMENT_KEY, config, build_id),
    }


def tpm_envelope(machine: Machine, claims: AnyClaims, *, said: AnyClaims | None = None) -> Envelope:
    """TPM evidence for `claims`; `said` stands beside it instead."""
    registers = machine.registers or registers_of(machine.events)
    public = public_of(machine.key)
    attest = attest_of(public, registers, tpm_extra_data(claims.binding())).marshal()
    quote = TpmQuote(attest, sign(machine.key, attest), registers)
    log = log_of(machine.events) if machine.log is None else machine.log
    evidence = TpmEvidence(quote, public.marshal(), machine.certificates, log)
    return Envelope(machine.platform, _epoch(claims), machine.issued_at, evidence, said or claims)


def tdx_envelope(domain: TrustDomain, claims: AnyClaims, *, said: AnyClaims | None = None) -> Envelope:
    """The trust domain's evidence for `claims`; `said` stands beside it instead."""
    evidence = TdxEvidence(domain.quoted(claims.binding()).quote, domain.log_bytes())
    return Envelope(domain.named or domain.kind, _epoch(claims), domain.issued_at, evidence, said or claims)


def _epoch(claims: AnyClaims) -> int:
    return claims.epoch if isinstance(claims, ChannelClaims) else EPOCH
