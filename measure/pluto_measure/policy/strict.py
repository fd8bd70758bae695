"""The strict policy: what applies where nobody gave one, and what people start from. Pure.

`text()` writes a policy with every field and the reason beside it; `STRICT` is what it says. Made for a release, it
names the release's own platforms and no other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Final

from pluto_measure.errors import RefusedError
from pluto_measure.masked import Masked
from pluto_measure.measurements import Measurements
from pluto_measure.policy import ANY, Policy, azure, confidential_space
from pluto_measure.policy.launch_endorsement import STRICT_ENDORSEMENT_TEXT, EndorsementPolicy
from pluto_measure.policy.tdx import Advisory, TdxPolicy

# What the machines of a kind prove themselves by.
_EVIDENCE: Final = {
    "qemu-tdx": "tdx",
    "gcp-tdx": "tdx",
    "azure-tdx": "azure",
    "gcp-confidential-space": "confidential-space",
    "qemu-vtpm": "tpm",
}
_TDX_PLATFORMS: Final = tuple(name for name, kind in _EVIDENCE.items() if kind == "tdx")

_Part = TdxPolicy | azure.AzurePolicy | EndorsementPolicy | confidential_space.ConfidentialSpacePolicy

_HEAD: Final = """\
# Which evidence is accepted. Every field is required and "any" is spelled out: docs/formats/policy.md
version = 1
platforms = [{platforms}] # an attacker picks the weakest, so name few
evidenceTypes = [{types}]
machines = {machines} # {others}
allowDebug = false
allowUnsignedReference = {unsigned} # whether reference values count that nobody signed
minimumSequence = "any" # or a number: older releases of the channel are refused
maxEvidenceAge = 600 # seconds, by the machine's own clock
clockSkew = 60
configDigest = {config} # SHA-256 of the run-time configuration
outerKeyDigest = "required" # the verifier says which TLS key it saw
insecure_software_tpm = false
akTrust = [] # SHA-256 of roots that vouch for TPMs
"""
_OTHERS: Final = 'or ["ppid:…", "platformInstance:…"]: quotes of other machines are refused then'
_TDX: Final = """
[td]
insecure_roots = [] # SHA-256 of roots of pre-production hardware
reportData = "required" # the verifier says what a bare quote is bound to
mrSeam = "any" # any TDX module that Intel signs
mrConfigId = "any"
mrOwner = "zero"
mrOwnerConfig = "zero"
mrServiceTd = "zero" # no service TD, so no migration
septVeDisable = "required" # the host cannot inject #VE on private memory
allowMigratable = false
allowedAttributes = [] # of ICSSD, LASS, PKS, KL, TPA, PERFMON
xfam = { value = "0x3", mask = "0xfffffffffff9241b" } # x87 and SSE on, nothing that is not known

[tcb]
acceptedStatuses = ["UpToDate"]
acceptedAdvisories = [] # { id = "INTEL-SA-01192", until = 2027-01-01T00:00:00Z }
rejectedAdvisories = []
platformGrace = 0 # seconds from the TCB date for which out of date is accepted
minimumEvaluationNumber = 0
maxCollateralAge = 2592000 # seconds from the oldest issue date
collateralGrace = 0 # seconds from the next update
notBefore = "required"
collateralMemory = "any" # "required": refuse where no --state rules out older collateral than once seen
dynamicPlatform = "any" # servers with several sockets are dynamic
cachedKeys = "any"
smt = "any"
"""


def text(
    platforms: Sequence[str] = _TDX_PLATFORMS,
    *,
    unsigned: bool = False,
    machines: Sequence[str] | None = None,
    config_digest: bytes | None = None,
) -> str:
    """A strict policy for these platforms. Not given means "any", in words."""
    types = sorted({_EVIDENCE[name] for name in platforms})
    head = _HEAD.format(
        platforms=_quoted(platforms),
        types=_quoted(types),
        machines='"any"' if machines is None else f"[{_quoted(machines)}]",
        others=_OTHERS if machines is None else "no other machine",
        unsigned="true" if unsigned else "false",
        config='"any"' if config_digest is None else f'"{config_digest.hex()}"',
    )
    google = STRICT_ENDORSEMENT_TEXT if "gcp-tdx" in platforms else ""
    space = "\n" + confidential_space.TEXT if "confidential-space" in types else ""
    quotes = _TDX if {"tdx", "azure"} & set(types) else ""
    paravisor = "\n" + azure.TEXT if "azure" in types else ""
    return head + quotes + google + paravisor + space


def platforms_of(references: Sequence[Measurements]) -> tuple[str, ...]:
    """The platforms of reference values whose evidence is verified here. RefusedError for a debug build or none."""
    for reference in references:
        if reference.flavour != "release":
            raise RefusedError(
                f"build {reference.build_id} is a {reference.flavour} build, which no strict policy accepts"
            )
    named = {profile.platform for reference in references for profile in reference.profiles}
    found = tuple(name for name in _EVIDENCE if name in named)
    if not found:
        raise RefusedError(
            f"the reference values have no profile for {', '.join(_EVIDENCE)}: nothing could be accepted"
        )
    return found


def _quoted(values: Sequence[str]) -> str:
    return ", ".join(f'"{value}"' for value in values)


STRICT: Final = Policy.parse(text())


def left_open(policy: Policy) -> tuple[str, ...]:
    """What a policy accepts that the strict one does not, a sentence each."""
    found = [(name, why) for name, why in _WEAKER.items() if _is_wide(getattr(policy, name))]
    for name in ("max_evidence_age", "clock_skew"):
        if (theirs := getattr(policy, name)) != ANY and theirs > (ours := getattr(STRICT, name)):
            found.append((name, f"{theirs} s where the strict policy has {ours} s"))
    for name in ("platforms", "evidence_types", "ak_trust"):
        if more := [item for item in getattr(policy, name) if item not in getattr(STRICT, name)]:
            found.append((name, f"the strict policy does not have {', '.join(map(_spell, more))}"))
    found += [
        *_of_part(STRICT.tdx, policy.tdx),
        *_of_part(azure.STRICT_AZURE, policy.azure),
        *_of_part(STRICT.endorsement, policy.endorsement),
        *_of_part(confidential_space.STRICT_CONFIDENTIAL_SPACE, policy.confidential_space),
    ]
    return tuple(f"{_written(name)}: {why}" for name, why in found)


def _of_part(ours: _Part | None, theirs: _Part | None) -> Iterator[tuple[str, str]]:
    """The same of a part of the policy, which only some policies have."""
    for name in () if theirs is None or ours is None else (item.name for item in fields(theirs)):
        one, other = getattr(ours, name), getattr(theirs, name)
        if one != other and not _is_stricter(name, one, other):
            yield name, f"{_spell(other)} where the strict policy has {_spell(one)}"


def _written(name: str) -> str:
    """A field's name as a policy has it."""
    first, *rest = name.split("_")
    return name if first == "insecure" else first + "".join(word.capitalize() for word in rest)


def _is_wide(value: object) -> bool:
    return value is True or value == ANY


_WEAKER: Final = {
    "insecure_software_tpm": "whoever runs the machine can forge its evidence",
    "allow_debug": "a debug build, or a trust domain whose memory its host reads, is accepted",
    "allow_unsigned_reference": "reference values count that nobody signed",
    "max_evidence_age": "evidence of any age is accepted",
    "outer_key_digest": "evidence may be relayed from another machine",
}
# Fields of which more is stricter: a floor, and what is refused in any case.
_FLOORS: Final = ("minimum_evaluation_number", "rejected_advisories", "minimum_svn")


def _is_stricter(name: str, ours: object, theirs: object) -> bool:
    """Whether another value than the strict policy's can only refuse more."""
    if ours == ANY or name in _FLOORS:
        return True
    if name == "minimum_version":
        return str(theirs) >= str(ours)
    match ours, theirs:
        case Masked(value, mask), Masked():
            return theirs.mask & mask == mask and theirs.value & mask == value
        case int(), int() if name in ("max_collateral_age", "max_key_age"):
            return theirs <= ours
    return False


def _spell(value: object) -> str:
    match value:
        case tuple():
            return "[" + ", ".join(_spell(item) for item in value) + "]"
        case bytes():
            return value.hex()
        case Masked():
            return f"{value.value:#x} under {value.mask:#x}"
        case Advisory():
            return f"{value.id} until {value.until:%Y-%m-%dT%H:%M:%SZ}"
    return str(value)
