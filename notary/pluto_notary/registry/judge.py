"""Whether a registrar signs that a key fits, and until when. Pure: evidence, files and the clock are arguments.

    1. The policy accepts nothing that is for development: debug builds, roots of pretend hardware, TPMs of software.
    2. The evidence is genuine and is of this key; policy and reference values accept it now.
    3. `last_second`: no certificate and no document by which it was judged has run out by then.
    4. The same evidence is accepted as of that second too, for releases and graces end as well.

The registry on the chain bounds the time again, by the block's own time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from pluto_measure.appraise import Appraisal, KeyExpected, TdxInputs, parse_evidence, quote_of, verify_expected
from pluto_measure.errors import RefusedError, VerificationError
from pluto_measure.evidence import Envelope, TokenEvidence, format_time
from pluto_measure.formats.confidential_space import SpaceClaims
from pluto_measure.formats.jwt import Jwt
from pluto_measure.policy import Policy
from pluto_measure.policy.strict import STRICT
from pluto_measure.verify.intel_pki import INTEL_ROOTS
from pluto_measure.verify.quote import verify_quote
from pluto_notary.registry.claims import LONGEST, KeyFits
from pluto_notary.registry.shown import ShownKey
from pluto_notary.statement.judge import Brought

# A chain's time may lag behind ours by so much, and what it finds too far ahead is lost.
_LAG: Final = 3600
_HOUR: Final = 3600


class NotFitError(RefusedError):
    """The key's evidence was refused. `findings`: those that refused."""

    def __init__(self, message: str, found: Appraisal, *, hint: str | None = None) -> None:
        self.findings = [finding.to_json() for finding in found.failures]
        super().__init__(f"{message}: {_names(found)}", hint=hint)


class NotAuthenticError(VerificationError):
    """What was shown is evidence of nothing. `findings`: those that failed."""

    def __init__(self, found: Appraisal) -> None:
        self.findings = [finding.to_json() for finding in found.failures]
        super().__init__(f"the key's evidence is not authentic: {_names(found)}")


def check_policy(policy: Policy | None) -> None:
    """RefusedError for a policy that accepts what proves nothing to a stranger."""
    if loose := [*_loose(policy or STRICT)]:
        raise RefusedError(f"no registrar signs by a policy that has {', '.join(loose)}")


def fit_key(
    shown: ShownKey,
    policy: Policy | None,
    at: datetime,
    *,
    brought: Callable[[datetime], Brought],
    until: datetime | None = None,
) -> tuple[KeyFits, Appraisal]:
    """What to sign of a key at the time `at` (aware), and the appraisal that says so. `brought`: by what, for a time.

    `until`: sign for this time, as other registrars do. RefusedError, VerificationError, FormatError.
    """
    check_policy(policy)
    now = brought(at)
    found = _appraised(shown, policy, at, now)
    if not found.accepted:
        raise _refusal(found)
    last = last_second(shown, policy or STRICT, at, now.tdx)
    end = last if until is None else until
    if end <= at:
        raise RefusedError(f"there is no time left: the evidence is good until {format_time(last)}")
    if end > last:
        raise RefusedError(f"nobody can say what the key is worth until {format_time(end)}, only {format_time(last)}")
    # How old evidence will be by then says nothing: the key stays where it was made.
    lasting = replace(policy or STRICT, max_evidence_age="any")
    later = _appraised(shown, lasting, end, brought(end))
    if not later.accepted:
        text = f"the key's evidence is accepted now, and not until {format_time(end)}"
        raise NotFitError(text, later, hint="--until an earlier time")
    return KeyFits(shown.account, shown.claims.build_id, int(end.timestamp())), found


def last_second(shown: ShownKey, policy: Policy, at: datetime, tdx: TdxInputs) -> datetime:
    """Until when what the evidence was judged by holds, at most as long as the registry takes.

    A full hour if there is one before the end, so that registrars who ask at different times say the same.
    """
    end = min(at + timedelta(seconds=LONGEST - _LAG), *_ends(shown, policy, tdx))
    seconds = int(end.timestamp())
    whole = seconds - seconds % _HOUR
    return datetime.fromtimestamp(whole if whole > at.timestamp() else seconds, UTC)


def _ends(shown: ShownKey, policy: Policy, tdx: TdxInputs) -> Iterator[datetime]:
    parsed = parse_evidence(shown.envelope)
    if isinstance(parsed, Envelope) and isinstance(parsed.evidence, TokenEvidence):
        yield SpaceClaims.parse(Jwt.parse(parsed.evidence.token).payload).expires_at
    quote, rules = quote_of(parsed), policy.tdx
    if quote is None:
        return
    if tdx.collateral is None or rules is None:
        raise RefusedError("nothing that was given says until when the platform's word holds (--collateral, --state)")
    for window in verify_quote(quote, tdx.collateral, INTEL_ROOTS).windows:
        yield window.end
        if window.kind == "document" and rules.max_collateral_age != "any":
            yield window.begin + timedelta(seconds=rules.max_collateral_age)


def _appraised(shown: ShownKey, policy: Policy | None, at: datetime, brought: Brought) -> Appraisal:
    expected = KeyExpected(shown.public)
    return verify_expected(
        shown.envelope, expected, brought.references, policy, at, brought.tdx, brought.space
    )  # fmt: skip


def _refusal(found: Appraisal) -> Exception:
    if not found.authentic and not found.undecided:
        return NotAuthenticError(found)
    return NotFitError("the key's evidence is refused", found)


def _loose(policy: Policy) -> Iterator[str]:
    if policy.allow_debug:
        yield "allowDebug"
    if policy.insecure_software_tpm:
        yield "insecure_software_tpm"
    for part in (policy.tdx, policy.endorsement, policy.confidential_space):
        if part is not None and part.insecure_roots:
            yield "insecure_roots"


def _names(found: Appraisal) -> str:
    failed = found.failures
    more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
    return f"{failed[0].id}: {failed[0].text}{more}"
