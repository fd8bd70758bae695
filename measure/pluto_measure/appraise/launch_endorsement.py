"""Judge MRTD of a Google machine by launch endorsements: is it that of a firmware of Google's, a recent one. Pure.

An endorsement is given beside the evidence. Of several the one counts that the least speaks against, among those that
name the quote's MRTD; others say nothing of this machine. What it must name it for is the machine of the profile: its
size of memory, since old endorsements have an MRTD for each. Where a profile leaves MRTD to endorsement, the MRTDs of
an endorsement without fault are its values; MRTD that a profile computes stays what it is, and must be endorsed too.

It says nothing of RTMR[0], which the profile predicts from firmware and allowed ACPI tables, and nothing of the TDX
module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import Final

from pluto_measure.appraise.demands import age_words, duration
from pluto_measure.appraise.request import TdxInputs
from pluto_measure.collateral.endorsement_memory import EndorsementMemory
from pluto_measure.evidence import format_time
from pluto_measure.findings import Finding, NotAuthentic, failures, judge
from pluto_measure.formats import endorsement
from pluto_measure.formats.endorsement import EndorsedMrtd
from pluto_measure.measurements import Profile
from pluto_measure.policy import Policy
from pluto_measure.policy.launch_endorsement import STRICT_ENDORSEMENT, EndorsementPolicy
from pluto_measure.registers.rules import RegisterRule
from pluto_measure.verify.launch_endorsement import GOOGLE_TCB_ROOTS, VerifiedEndorsement, verify_endorsement

PLATFORM: Final = "gcp-tdx"


@dataclass(frozen=True, slots=True)
class Candidate:
    """An endorsement that was given. `verified` is None where it is not genuine, which `findings` say."""

    mrtds: tuple[EndorsedMrtd, ...]
    verified: VerifiedEndorsement | None
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndorsementRules:
    """By what endorsements are judged. `skew`: seconds; `memory` None: nobody remembers what was seen."""

    policy: EndorsementPolicy
    at: datetime
    skew: int
    memory: EndorsementMemory | None = None


def read_endorsements(given: Sequence[bytes], rules: EndorsementRules) -> tuple[Candidate, ...]:
    """Verify each. FormatError for bytes that are no endorsement."""
    return tuple(_candidate(data, rules) for data in given)


def _candidate(data: bytes, rules: EndorsementRules) -> Candidate:
    roots = GOOGLE_TCB_ROOTS | frozenset(rules.policy.insecure_roots)
    try:
        verified = verify_endorsement(data, at=rules.at, roots=roots)
    except NotAuthentic as error:
        return Candidate(endorsement.parse(data).mrtds, None, error.findings)
    return Candidate(verified.mrtds, verified, verified.findings)


def rules_of(policy: Policy, inputs: TdxInputs, at: datetime) -> EndorsementRules:
    """By what a verifier judges endorsements at the time `at`; the strict rules where its policy has none."""
    chosen = policy.endorsement or STRICT_ENDORSEMENT
    return EndorsementRules(policy=chosen, at=at, skew=policy.clock_skew, memory=inputs.endorsement_memory)


def endorser(
    mrtd: bytes, inputs: TdxInputs, policy: Policy, at: datetime
) -> Callable[[Profile], tuple[Profile, tuple[Finding, ...]]]:
    """`judge_mrtd` for every profile that a quote with this MRTD is compared with. Endorsements are verified once."""
    rules = rules_of(policy, inputs, at)
    read = cache(lambda: read_endorsements(inputs.endorsements, rules))
    return lambda profile: judge_mrtd(profile, mrtd, read() if profile.platform == PLATFORM else (), rules)


def judge_mrtd(
    profile: Profile, mrtd: bytes, candidates: Sequence[Candidate], rules: EndorsementRules
) -> tuple[Profile, tuple[Finding, ...]]:
    """The profile with what endorsements add to it, and every check of the endorsement that counts.

    A profile of another platform stays as it is, without findings. `mrtd`: of a quote that was verified.
    """
    if profile.platform != PLATFORM:
        return profile, ()
    about = [one for one in candidates if any(entry.mrtd == mrtd for entry in one.mrtds)]
    if not about:
        return profile, (_missing(mrtd, candidates, rules.policy),)
    memory = _memory_of(profile)
    judged = [(one, tuple(_findings(one, mrtd, memory, rules))) for one in about]
    chosen, found = min(judged, key=lambda entry: (entry[0].verified is None, len(failures(entry[1]))))
    if chosen.verified is None or failures(found):
        return profile, found
    return _with(profile, chosen.verified, memory, rules.policy), found


def genuine_of(candidates: Sequence[Candidate], mrtd: bytes) -> tuple[VerifiedEndorsement, ...]:
    """Google's own endorsements of this MRTD: what may be remembered once the evidence is accepted."""
    verified = [one.verified for one in candidates if one.verified is not None]
    return tuple(one for one in verified if one.root in GOOGLE_TCB_ROOTS and one.named(mrtd))


def _missing(mrtd: bytes, candidates: Sequence[Candidate], policy: EndorsementPolicy) -> Finding:
    check = "endorsement.given"
    none = "no launch endorsement was given (--endorsement, --state)"
    text = f"none of {len(candidates)} launch endorsements names this MRTD" if candidates else none
    if policy.launch_endorsement == "any":
        return Finding(check, "warning", f"{text}; the reference values alone say what MRTD may be", "any", mrtd.hex())
    return Finding(check, "fail", f"{text}, so nothing says whose firmware this is", None, mrtd.hex())


def _memory_of(profile: Profile) -> int | None:
    """The machine's memory in bytes, as its platform file has it."""
    value = profile.inputs.get("memory")
    return value if isinstance(value, int) else None


def _findings(one: Candidate, mrtd: bytes, memory: int | None, rules: EndorsementRules) -> Iterator[Finding]:
    yield Finding("endorsement.given", "pass", "a launch endorsement names this MRTD", None, mrtd.hex())
    yield from one.findings
    if (verified := one.verified) is None:
        return
    policy = rules.policy
    if verified.root not in GOOGLE_TCB_ROOTS:
        text = "insecure_roots: the endorsement is not Google's, so whoever holds that root says what firmware is good"
        yield Finding("endorsement.insecure_root", "warning", text, None, verified.root.hex())
    named = verified.named(mrtd)
    yield _shape(named, memory)
    yield _early([entry for entry in named if _fits(entry, memory)] or named, policy)
    yield _svn(verified, policy)
    yield _made(verified, rules)
    yield _age(verified, rules)
    yield _firmware(verified, policy)
    yield _rollback(verified, mrtd, rules)


def _shape(named: Sequence[EndorsedMrtd], memory: int | None) -> Finding:
    sizes = sorted({entry.ram_gib for entry in named})
    have = None if memory is None else f"{memory / (1 << 30):g} GiB"
    return judge(
        "endorsement.memory_size",
        any(_fits(entry, memory) for entry in named),
        "the endorsement names this MRTD for the machine's memory",
        otherwise="the endorsement names this MRTD for machines with another size of memory",
        expected=", ".join("any" if size == 0 else f"{size} GiB" for size in sizes),
        actual=have,
    )


def _fits(entry: EndorsedMrtd, memory: int | None) -> bool:
    return entry.ram_gib == 0 or (memory is not None and entry.ram_gib << 30 == memory)


def _early(named: Sequence[EndorsedMrtd], policy: EndorsementPolicy) -> Finding:
    check, actual = "endorsement.early_accept", " ".join(sorted({_word(entry.early_accept) for entry in named}))
    if policy.early_accept == "any":
        text = "the policy leaves open whether the firmware accepts all memory itself"
        return Finding(check, "pass", text, "any", actual)
    return judge(
        check,
        any(entry.early_accept == policy.early_accept for entry in named),
        "the firmware accepts memory as the policy says",
        otherwise="the firmware accepts memory otherwise than the policy says",
        expected=_word(policy.early_accept),
        actual=actual,
    )


def _word(value: bool) -> str:
    return "true" if value else "false"


def _svn(verified: VerifiedEndorsement, policy: EndorsementPolicy) -> Finding:
    return judge(
        "endorsement.svn",
        verified.svn >= policy.minimum_svn,
        "the firmware's security version is high enough",
        otherwise="the firmware's security version is lower than the policy asks for",
        expected=f"at least {policy.minimum_svn}",
        actual=verified.svn,
    )


def _made(verified: VerifiedEndorsement, rules: EndorsementRules) -> Finding:
    check, made, floor = "endorsement.timestamp", format_time(verified.timestamp), rules.policy.minimum_timestamp
    if (ahead := (verified.timestamp - rules.at).total_seconds()) > rules.skew:
        text = f"the endorsement is dated {age_words(int(ahead), rules.skew)} into the future"
        return Finding(check, "fail", text, f"at most {duration(rules.skew)} ahead", made)
    if floor == "any":
        return Finding(check, "pass", "the policy accepts endorsements of any time", "any", made)
    return judge(
        check,
        verified.timestamp >= floor,
        "the endorsement is not older than the policy asks for",
        otherwise="the endorsement is older than the policy asks for",
        expected=f"not before {format_time(floor)}",
        actual=made,
    )


def _age(verified: VerifiedEndorsement, rules: EndorsementRules) -> Finding:
    check, limit = "endorsement.age", rules.policy.max_endorsement_age
    age = max(int((rules.at - verified.timestamp).total_seconds()), 0)
    words = age_words(age, age if limit == "any" else limit)
    if limit == "any":
        return Finding(check, "pass", "the policy accepts endorsements of any age", "any", words)
    return judge(
        check,
        age <= limit,
        "the endorsement is recent enough",
        otherwise="the endorsement is older than the policy allows",
        expected=f"at most {duration(limit)} old",
        actual=words,
    )


def _firmware(verified: VerifiedEndorsement, policy: EndorsementPolicy) -> Finding:
    check, actual = "endorsement.firmware", verified.firmware_digest.hex()
    if policy.firmware == "any":
        return Finding(check, "pass", "the policy accepts any firmware that is endorsed", "any", actual)
    return judge(
        check,
        verified.firmware_digest in policy.firmware,
        "the policy names this firmware",
        otherwise="the policy does not name this firmware",
        expected=" ".join(value.hex() for value in policy.firmware),
        actual=actual,
    )


def _rollback(verified: VerifiedEndorsement, mrtd: bytes, rules: EndorsementRules) -> Finding:
    check = "endorsement.rollback"
    if rules.memory is None:
        text = "nobody remembers which endorsements were seen before, so older ones cannot be told (--state DIR)"
        return Finding(check, "warning" if rules.policy.endorsement_memory == "any" else "fail", text)
    older = rules.memory.older(verified, mrtd)
    return judge(
        check,
        not older,
        "no newer endorsement was seen before",
        otherwise=f"older than once seen: {'; '.join(older)}",
    )


def _with(profile: Profile, verified: VerifiedEndorsement, memory: int | None, policy: EndorsementPolicy) -> Profile:
    """The profile whose MRTD may be what is endorsed for its machine, where it leaves that to endorsement."""
    rule = profile.registers["mrtd"]
    if (rule.match, rule.source) != ("oneOf", "endorsed"):
        return profile
    named = [e.mrtd for e in verified.mrtds if _fits(e, memory) and policy.early_accept in ("any", e.early_accept)]
    known = [value["sha384"] for value in rule.values]
    values = tuple({"sha384": value} for value in dict.fromkeys([*known, *named]))
    registers = {**profile.registers, "mrtd": RegisterRule("oneOf", values, "endorsed")}
    return replace(profile, registers=registers)
