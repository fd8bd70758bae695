"""What is asked of every kind of evidence: nonce, TLS key, platform, machine, age, configuration. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from pluto_measure.claims import AnyClaims
from pluto_measure.evidence import format_time
from pluto_measure.findings import Finding, judge
from pluto_measure.measurements import Measurements
from pluto_measure.policy import Policy

_DAY: Final = 86400  # seconds
_HOUR: Final = 3600


def nonce_finding(claimed: bytes, nonce: bytes | None) -> Finding:
    if nonce is None:
        text = "no nonce was given (--nonce), so the evidence may be old"
        return Finding("binding.nonce", "fail", text, None, claimed.hex())
    return judge(
        "binding.nonce",
        claimed == nonce,
        "the evidence was made for this nonce",
        otherwise="the evidence was made for another nonce",
        expected=nonce.hex(),
        actual=claimed.hex(),
    )


def outer_key_finding(digest: bytes, seen: bytes | None, policy: Policy) -> Finding:
    check, claimed = "binding.outer_key", digest.hex()
    if seen is None and policy.outer_key_digest == "any":
        return Finding(check, "warning", "nobody said which TLS key was seen; the policy accepts any", "any", claimed)
    if seen is None:
        text = "nobody said which TLS key was seen, so the evidence may be of another machine"
        return Finding(check, "fail", f"{text} (--tls-certificate or --key-digest)", None, claimed)
    return judge(
        check,
        digest == seen,
        "the machine that was quoted holds the TLS key that was seen",
        otherwise="the TLS key that was seen is not the quoted machine's: somebody stands in between",
        expected=seen.hex(),
        actual=claimed,
    )


def given_finding(policy: Policy | None) -> list[Finding]:
    """Says which policy applies, where nobody gave one."""
    if policy is not None:
        return []
    text = "no policy was given, so the strict one applies (pluto-measure policy prints it)"
    return [Finding("policy.given", "warning", text)]


def platform_finding(platform: str | None, policy: Policy, references: Sequence[Measurements]) -> Finding:
    """`platform` is None for a bare quote, which does not say it, where no profile could be compared."""
    check, allowed = "policy.platform", policy.platforms
    if platform is not None:
        return member_finding(check, platform, allowed, "platform")
    text = "a bare quote does not say its platform, and there is no profile that would"
    if not references:
        text = "not compared, as no reference values were given"
    return Finding(check, "fail", text, " ".join(allowed))


def member_finding(check: str, value: str, allowed: tuple[str, ...], what: str) -> Finding:
    text, otherwise = f"the policy allows this {what}", f"the policy does not allow this {what}"
    return judge(check, value in allowed, text, otherwise=otherwise, expected=" ".join(allowed), actual=value)


def machine_finding(names: Sequence[str], policy: Policy) -> Finding:
    """`names`: what the machine may be named by, strongest first."""
    actual = " ".join(names)
    if policy.machines == "any":
        return Finding("policy.machine", "pass", "the policy accepts any machine", "any", actual)
    return judge(
        "policy.machine",
        any(name in policy.machines for name in names),
        "the policy names this machine",
        otherwise="the policy does not name this machine",
        expected=" ".join(policy.machines),
        actual=actual,
    )


def age_finding(issued_at: datetime, policy: Policy, at: datetime, *, dated_by: str = "the machine") -> Finding:
    """`dated_by`: whose clock `issued_at` is of."""
    check, issued = "policy.evidence_age", format_time(issued_at)
    age = int((at - issued_at).total_seconds())
    if age < -policy.clock_skew:
        text = f"{dated_by} dates the evidence {age_words(-age, policy.clock_skew)} into the future"
        return Finding(check, "fail", text, f"at most {duration(policy.clock_skew)} ahead", issued)
    if policy.max_evidence_age == "any":
        return Finding(check, "pass", "the policy accepts evidence of any age", "any", issued)
    return judge(
        check,
        age <= policy.max_evidence_age,
        f"{dated_by} dates the evidence recently enough",
        otherwise=f"{dated_by} dates the evidence {age_words(age, policy.max_evidence_age)} ago",
        expected=f"at most {duration(policy.max_evidence_age)} old",
        actual=issued,
    )


def config_finding(claims: AnyClaims, policy: Policy) -> Finding:
    actual = claims.config_digest.hex()
    if policy.config_digest == "any":
        return Finding("policy.config_digest", "pass", "the policy accepts any run-time configuration", "any", actual)
    return judge(
        "policy.config_digest",
        claims.config_digest == policy.config_digest,
        "the run-time configuration is the one that the policy names",
        otherwise="the run-time configuration is not the one that the policy names",
        expected=policy.config_digest.hex(),
        actual=actual,
    )


def duration(seconds: int) -> str:
    """A duration for people, exactly: "30 days", "36 hours", "600 seconds", "2 days 1 second". Not negative."""
    return " ".join(_parts(seconds))


def age_words(seconds: int, limit: int) -> str:
    """An age in its largest unit alone, rounded down; exactly where that would hide that it is above the limit."""
    parts = _parts(seconds)
    unit = _DAY if seconds >= 2 * _DAY else _HOUR if seconds >= _HOUR else 1
    return parts[0] if seconds // unit * unit > limit or seconds <= limit else " ".join(parts)


def _parts(seconds: int) -> list[str]:
    """Days from two days on, then hours and seconds, without what is 0."""
    days, rest = divmod(seconds, _DAY) if seconds >= 2 * _DAY else (0, seconds)
    hours, rest = divmod(rest, _HOUR)
    counted = ((days, "day"), (hours, "hour"), (rest, "second"))
    return [f"{n} {name}" if n == 1 else f"{n} {name}s" for n, name in counted if n] or ["0 seconds"]
