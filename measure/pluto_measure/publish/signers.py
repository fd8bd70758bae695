"""Who says what of a release, and whether as many say it as a trust file wants. Pure.

    k of n      so many organisations signed the very bytes of release.json
    freshness   so many of them said so lately: by a time in a bundle, by the release's own date, or by a confirmation

Taking a signature or a confirmation away can only lower the outcome; one that disagrees is told, and refuses where too
few others signed. A revocation refuses always.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from pluto_measure.evidence import format_time
from pluto_measure.findings import Finding, Verdict, judge
from pluto_measure.publish.signature import Signature
from pluto_measure.publish.trust import ANY, Trust
from pluto_measure.wording import counted


def signers(signatures: Sequence[Signature]) -> tuple[str, ...]:
    """The organisations whose signatures count, sorted."""
    return tuple(sorted({one.organisation for one in signatures if one.worth == "counts" and one.organisation}))


def confirmed(signatures: Sequence[Signature], issued_at: datetime, at: datetime) -> Mapping[str, datetime]:
    """When each organisation whose signature counts last said that the release is good, as of `at`."""
    found: dict[str, datetime] = {}
    counting = signers(signatures)
    for one in signatures:
        said = one.confirmed_at(issued_at, at)
        if one.organisation in counting and said is not None and said <= at:
            found[one.organisation] = max(said, found.get(one.organisation, said))
    return found


def signature_findings(signatures: Sequence[Signature], k: int) -> Iterator[Finding]:
    """A signature that does not hold refuses only where too few others do: adding a file must not lower the outcome of
    what it does not touch, and each is told in either case. A revocation refuses always: that is what it is for."""
    names = signers(signatures)
    reached = len(names) >= k
    for one in signatures:
        text = one.text if one.text.startswith(one.file) else f"{one.file}: {one.text}"
        yield Finding(*_worth(one, reached=reached), text, None, one.signer or None)
    yield judge(
        "release.threshold",
        reached,
        f"signed by {', '.join(names) or 'nobody'}",
        otherwise=f"too few of the trusted organisations signed this release: {', '.join(names) or 'nobody'}",
        expected=k,
        actual=len(names),
    )


def _worth(one: Signature, *, reached: bool) -> tuple[str, Verdict]:
    """The check that a signature is a finding of, and its verdict."""
    bad: Verdict = "warning" if reached else "fail"
    match one.worth:
        case "counts" | "confirms":
            return "release.signature", "pass"
        case "disagrees":
            return "release.disagreement", bad
        case "revokes":
            return "release.revocation", "fail"
        case "invalid":
            return "release.signature", bad
        case _:
            return "release.signature", "warning"


def freshness(signatures: Sequence[Signature], issued_at: datetime, trust: Trust, at: datetime) -> Finding:
    """Whether as many as must sign it said so lately: whoever hides a revocation cannot make a confirmation."""
    age, k, check = trust.max_confirmation_age, trust.k, "release.freshness"
    if age == ANY:
        return Finding(check, "pass", "the trust file accepts confirmations of any age")
    found = confirmed(signatures, issued_at, at)
    fresh = sorted(name for name, said in found.items() if at - said <= timedelta(seconds=age))
    kth = sorted(found.values(), reverse=True)[k - 1 : k]
    return judge(
        check,
        len(fresh) >= k,
        f"lately confirmed by {', '.join(fresh)}",
        otherwise=f"the release is stale: {k} must have confirmed it within {duration(age)}, and "
        f"{', '.join(fresh) or 'nobody'} did; look for a newer release, or for newer signatures",
        expected=f"at most {duration(age)} ago",
        actual=format_time(kth[0]) if kth else None,
    )


def duration(seconds: int) -> str:
    """ "30 days", "36 hours", "90 seconds": in the largest unit that is exact."""
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds % size == 0:
            return counted(seconds // size, unit)
    return counted(seconds, "second")
