"""The profile of a reference that evidence is nearest to, and whether the policy accepts that reference. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pluto_measure.claims import AnyClaims
from pluto_measure.evidence import Registers
from pluto_measure.findings import Finding, failures, judge
from pluto_measure.formats.eventlog import EventLog
from pluto_measure.measurements import Measurements, Profile
from pluto_measure.policy import Policy
from pluto_measure.publish.vouched import Vouched
from pluto_measure.registers.reference import first_difference


@dataclass(frozen=True, slots=True)
class Nearest:
    """A profile, and what comparing the evidence with it found."""

    reference: Measurements
    profile: Profile
    compared: tuple[Finding, ...]


def nearest(
    candidates: Sequence[tuple[Measurements, Profile]],
    against: Callable[[Measurements, Profile], tuple[Finding, ...]],
) -> Nearest | None:
    """The profile with the fewest failures; None where there is no profile. Signed ones first."""
    found = [Nearest(reference, profile, against(reference, profile)) for reference, profile in candidates]
    return min(found, key=lambda one: (len(failures(one.compared)), _standing(one.reference)), default=None)


def _standing(reference: Measurements) -> int:
    """Of references with the same registers the one counts first that a release vouches for."""
    if reference.vouched is None:
        return 1
    return 2 if failures(reference.vouched.findings) else 0


def nearest_findings(
    best: Nearest | None, references: Sequence[Measurements], platform: str | None, policy: Policy
) -> list[Finding]:
    """What the comparison found, and whether the policy accepts the reference; or that there is no profile."""
    if best is not None:
        return [*best.compared, *_reference(best.reference, policy)]
    given = "no reference values for this platform were given"
    text = given if references else "no reference values were given (--reference)"
    return [Finding("reference.profile", "fail", text, platform, None)]


def log_difference(best: Nearest | None, registers: Registers, log: EventLog | None) -> dict[str, object]:
    """The member `log` of an explanation: the first event that is not the predicted one, if there is one."""
    difference = None if best is None else first_difference(best.profile, registers, log)
    return {} if difference is None else {"log": difference.to_json()}


def chosen_profile(profile: Profile) -> Finding:
    return Finding("reference.profile", "pass", "the reference has a profile for this platform", None, profile.id)


def build_claim(claims: AnyClaims, reference: Measurements) -> Finding:
    return judge(
        "claims.build_id",
        claims.build_id.hex() == reference.build_id,
        "the machine names the build that the reference is for",
        otherwise="the machine names another build than the reference is for",
        expected=reference.build_id,
        actual=claims.build_id.hex(),
    )


def _reference(reference: Measurements, policy: Policy) -> list[Finding]:
    """Whether the policy accepts a reference of this flavour, and one that nobody signed."""
    debug = judge(
        "policy.debug",
        reference.flavour == "release" or policy.allow_debug,
        f"the policy allows the flavour {reference.flavour}",
        otherwise="this is a debug build, which the policy does not allow",
        expected="release",
        actual=reference.flavour,
    )
    if reference.vouched is None:
        return [debug, *_unsigned(policy)]
    return [debug, *_signed(reference.vouched, policy)]


def _unsigned(policy: Policy) -> Iterator[Finding]:
    text = "nobody signed the reference values; they are as good as the way they came"
    allowed = policy.allow_unsigned_reference
    yield Finding("policy.reference_signature", "warning" if allowed else "fail", text)
    if policy.minimum_sequence != "any":
        text = "reference values that nobody signed belong to no release, so nobody knows how old they are"
        yield Finding("policy.minimum_sequence", "fail", text, f"at least {policy.minimum_sequence}", None)


def _signed(release: Vouched, policy: Policy) -> Iterator[Finding]:
    """What judging the release found, then what the policy asks of it."""
    who = ", ".join(release.organisations) or "nobody"
    failed = failures(release.findings)
    yield judge(
        "policy.reference_signature",
        not failed,
        f"{release.name} release {release.sequence} ({release.channel}) vouches for the reference values: {who}",
        otherwise=f"the release that the reference values come from is refused: {failed[0].text if failed else ''}",
        expected=f"{release.wanted} organisations",
        actual=who,
    )
    yield from (finding for finding in release.findings if finding.verdict != "pass")
    if policy.minimum_sequence != "any":
        yield judge(
            "policy.minimum_sequence",
            release.sequence >= policy.minimum_sequence,
            "the release is not older than the policy asks for",
            otherwise="the release is older than the policy asks for",
            expected=f"at least {policy.minimum_sequence}",
            actual=release.sequence,
        )
