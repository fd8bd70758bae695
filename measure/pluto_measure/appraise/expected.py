"""What a verifier expects evidence to be for: one type for each purpose, with what he knows of its claims. Pure.

Configuration and build are no part of it: the policy and the reference judge those for every purpose. How old evidence
may be is the policy's word too, which alone bounds how long evidence without a nonce of the verifier's speaks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pluto_measure.appraise import demands
from pluto_measure.claims import AnyClaims, ChannelClaims, Claims, KeyClaims, SessionClaims
from pluto_measure.findings import Finding, judge
from pluto_measure.policy import Policy


@dataclass(frozen=True, slots=True)
class NodeExpected:
    """`nonce`: what the verifier sent; `outer_key_digest`: of the TLS key that he saw. None is refused by a finding."""

    nonce: bytes | None
    outer_key_digest: bytes | None
    purpose = "node"

    def findings(self, claims: AnyClaims, policy: Policy) -> Iterator[Finding]:
        if isinstance(claims, Claims):
            yield demands.nonce_finding(claims.nonce, self.nonce)
            yield demands.outer_key_finding(claims.outer_key_digest, self.outer_key_digest, policy)
        else:
            yield _other_purpose(self.purpose, claims)


@dataclass(frozen=True, slots=True)
class ChannelExpected:
    """The key that signed the session, and its epoch. `outer_key_digest`: of the outer TLS key that the client saw."""

    channel_key: bytes
    epoch: int
    outer_key_digest: bytes | None
    purpose = "channel"

    def findings(self, claims: AnyClaims, policy: Policy) -> Iterator[Finding]:
        if isinstance(claims, ChannelClaims):
            yield _purpose(claims)
            yield _channel_key(claims.channel_key, self.channel_key)
            yield judge(
                "binding.epoch",
                claims.epoch == self.epoch,
                "the evidence is of the epoch that the session names",
                otherwise="the evidence is of another epoch than the session names",
                expected=self.epoch,
                actual=claims.epoch,
            )
            yield demands.outer_key_finding(claims.outer_key_digest, self.outer_key_digest, policy)
        else:
            yield _other_purpose(self.purpose, claims)


@dataclass(frozen=True, slots=True)
class SessionExpected:
    """`ekm` and `nonce` of the client's own session, 32 bytes each, and the key that signed it."""

    ekm: bytes
    nonce: bytes
    channel_key: bytes
    purpose = "session"

    def findings(self, claims: AnyClaims, policy: Policy) -> Iterator[Finding]:
        if isinstance(claims, SessionClaims):
            yield _purpose(claims)
            yield demands.nonce_finding(claims.nonce, self.nonce)
            yield _channel_key(claims.channel_key, self.channel_key)
        else:
            yield _other_purpose(self.purpose, claims)


@dataclass(frozen=True, slots=True)
class KeyExpected:
    """The key that signed a statement: SEC1, compressed, 33 bytes."""

    statement_key: bytes
    purpose = "key"

    def findings(self, claims: AnyClaims, policy: Policy) -> Iterator[Finding]:
        if isinstance(claims, KeyClaims):
            yield _purpose(claims)
            yield judge(
                "binding.statement_key",
                claims.statement_key == self.statement_key,
                "the machine that was quoted holds the key that signed the statement",
                otherwise="the quoted machine holds another key than the one that signed the statement",
                expected=self.statement_key.hex(),
                actual=claims.statement_key.hex(),
            )
        else:
            yield _other_purpose(self.purpose, claims)


Expected = NodeExpected | ChannelExpected | SessionExpected | KeyExpected


def opened(claims: AnyClaims, expected: Expected) -> AnyClaims | Finding:
    """The claims, a session's opened with the verifier's EKM; the finding that refuses where that cannot be done."""
    if not isinstance(claims, SessionClaims):
        return claims
    check, claimed = "binding.ekm", claims.ekm_digest.hex()
    if not isinstance(expected, SessionExpected):
        text = "evidence of one session can be checked by who has its exported keying material alone"
        return Finding(check, "fail", text, expected.purpose, claimed)
    try:
        return claims.opened(expected.ekm)
    except ValueError:
        return Finding(check, "fail", "the evidence was made for another session", None, claimed)


def unnamed(expected: Expected, policy: Policy) -> Iterator[Finding]:
    """A bare quote has no claims: it names no nonce, no TLS key and no purpose."""
    if not isinstance(expected, NodeExpected):
        text = "a bare quote does not say what it is for; say which REPORTDATA it must carry (--report-data)"
        yield Finding("binding.purpose", "fail", text, expected.purpose)
        return
    if expected.nonce is not None:
        text = "a bare quote has no claims that could name a nonce; say which REPORTDATA it must carry (--report-data)"
        yield Finding("binding.nonce", "fail", text, expected.nonce.hex())
    if policy.outer_key_digest == "any" and expected.outer_key_digest is None:
        yield Finding("binding.outer_key", "warning", "a bare quote names no TLS key; the policy accepts any", "any")
    elif expected.outer_key_digest is None:
        text = 'a bare quote names no TLS key, so it may be of another machine (outerKeyDigest = "any" accepts that)'
        yield Finding("binding.outer_key", "fail", text)
    else:
        text = "a bare quote names no TLS key, so it cannot be compared with the one that was seen"
        yield Finding("binding.outer_key", "fail", text, expected.outer_key_digest.hex())


def _purpose(claims: AnyClaims) -> Finding:
    text = "the evidence is for the purpose that was asked for"
    return Finding("binding.purpose", "pass", text, claims.purpose, claims.purpose)


def _other_purpose(expected: str, claims: AnyClaims) -> Finding:
    text = f"the evidence is for the purpose {claims.purpose}, not {expected}"
    return Finding("binding.purpose", "fail", text, expected, claims.purpose)


def _channel_key(claimed: bytes, seen: bytes) -> Finding:
    return judge(
        "binding.channel_key",
        claimed == seen,
        "the machine that was quoted holds the key that signed the session",
        otherwise="the quoted machine holds another key than the one that signed the session",
        expected=seen.hex(),
        actual=claimed.hex(),
    )
