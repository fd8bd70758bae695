"""What a token of Confidential Space must say: the platform, Google's image, the machine, and the container. Pure.

The first three are judged by the policy and by what is the same for all, the container by the reference, exactly.
Google Cloud, Confidential Space, "Attestation token claims".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pluto_measure.findings import Finding, judge
from pluto_measure.formats.confidential_space import (
    DEBUG,
    HARDENED,
    HARDWARE,
    SOFTWARE,
    SpaceClaims,
    SpaceContainer,
    SpaceInstance,
    SpaceReference,
)
from pluto_measure.policy.confidential_space import ConfidentialSpacePolicy
from pluto_measure.verify.confidential_space import shown

OEM_ID: Final = 11129  # Google's private enterprise number
_ATTESTER: Final = ("INTEL",)
_HOST_NAME: Final = "HOSTNAME"  # the launcher adds it
_NOBODY: Final = SpaceInstance("", "", "", "", "")
_NOTHING: Final = SpaceContainer("", "", "", "", (), {}, {}, ())


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceExpected:
    """The virtual machine that the verifier made, by Compute Engine's names."""

    project_id: str
    zone: str
    instance_id: str  # a decimal number that Compute Engine gives once
    instance_name: str

    def problem(self, actual: SpaceInstance) -> str | None:
        """The names that are another machine's; None: it is this one."""
        wrong = [name for name in self.__dataclass_fields__ if getattr(self, name) != getattr(actual, name)]
        return ", ".join(wrong) or None


def platform_findings(claims: SpaceClaims, rules: ConfidentialSpacePolicy) -> Iterator[Finding]:
    """Hardware and firmware, by Google's word."""
    yield _same(
        "space.hwmodel", claims.hardware, HARDWARE, "the hardware is Intel TDX", "the hardware is not Intel TDX"
    )
    yield judge(
        "space.attester_tcb",
        claims.attester_tcb == _ATTESTER,
        "the evidence that Google saw is rooted in Intel's hardware",
        otherwise="the evidence that Google saw is not rooted in Intel's hardware alone",
        expected=" ".join(_ATTESTER),
        actual=shown(" ".join(claims.attester_tcb)),
    )
    yield _tcb(claims, rules)
    yield judge(
        "space.secboot",
        claims.secure_boot is True,
        "the machine booted with Secure Boot",
        otherwise="the machine did not boot with Secure Boot",
        expected=True,
        actual=claims.secure_boot,
    )
    yield judge(
        "space.oemid",
        claims.oem_id == OEM_ID,
        "the machine is one of Google's",
        otherwise="the machine is not one of Google's",
        expected=OEM_ID,
        actual=claims.oem_id,
    )


def _tcb(claims: SpaceClaims, rules: ConfidentialSpacePolicy) -> Finding:
    check, actual = "space.tcb_status", shown(f"{claims.tcb_status or 'none'}, {claims.tcb_date or 'no date'}")
    if rules.tcb_statuses == "any":
        return Finding(check, "pass", "the policy accepts any state of the platform", "any", actual)
    return judge(
        check,
        claims.tcb_status in rules.tcb_statuses,
        "the policy accepts the platform's state, which is Google's word and not Intel's of today",
        otherwise="the policy does not accept the platform's state, by Google's word",
        expected=" ".join(rules.tcb_statuses),
        actual=actual,
    )


def image_findings(claims: SpaceClaims, rules: ConfidentialSpacePolicy, *, allow_debug: bool) -> Iterator[Finding]:
    """Google's own image, which runs the container."""
    text, otherwise = (
        "the machine runs Confidential Space",
        "the machine does not run a Confidential Space that Google knows",
    )
    yield _same("space.swname", claims.software, SOFTWARE, text, otherwise)
    yield _version(claims, rules)
    is_debug = claims.debug == DEBUG and allow_debug
    if is_debug:
        text = "allowDebug: this is Google's debug image, whose operator sees and changes everything"
        yield Finding("space.dbgstat", "warning", text, HARDENED, claims.debug)
    else:
        text, otherwise = (
            "the image gives its operator no way in",
            "the image is not hardened: its operator has a way in",
        )
        yield _same("space.dbgstat", claims.debug, HARDENED, text, otherwise)
    yield _support(claims, rules, is_debug=is_debug)
    yield _monitoring(claims, rules)


def _version(claims: SpaceClaims, rules: ConfidentialSpacePolicy) -> Finding:
    version = claims.software_versions[0] if len(claims.software_versions) == 1 else ""
    digits = version.removeprefix("20") if len(version) == 8 else version  # with or without the century
    is_version = len(digits) == 6 and digits.isascii() and digits.isdigit()
    return judge(
        "space.swversion",
        is_version and digits >= rules.minimum_version,
        "the image of Google's is not older than the policy asks for",
        otherwise="the image of Google's is older than the policy asks for, or does not say its version",
        expected=f"at least {rules.minimum_version}",
        actual=shown(" ".join(claims.software_versions)),
    )


def _support(claims: SpaceClaims, rules: ConfidentialSpacePolicy, *, is_debug: bool) -> Finding:
    check, actual = "space.support_attributes", shown(" ".join(claims.support))
    if rules.support == "any":
        return Finding(check, "pass", "the policy accepts an image that Google does not support", "any", actual)
    if is_debug and not claims.support:
        text = "allowDebug: nothing is said of the support for debug images"
        return Finding(check, "warning", text, rules.support, actual)
    return judge(
        check,
        rules.support in claims.support,
        f"the image is {rules.support}, by Google's word of today",
        otherwise=f"the image is not {rules.support}, by Google's word of today",
        expected=rules.support,
        actual=actual,
    )


def _monitoring(claims: SpaceClaims, rules: ConfidentialSpacePolicy) -> Finding:
    check, said = "space.monitoring", claims.monitoring
    actual = None if said is None else shown(" ".join(sorted(name for name, value in said.items() if value)) or "off")
    if rules.monitoring == "any":
        return Finding(check, "pass", "the policy lets the operator monitor the container", "any", actual)
    return judge(
        check,
        said is not None and not any(said.values()),
        "the operator does not monitor the container",
        otherwise="the operator monitors the container, or the token does not say",
        expected="off",
        actual=actual,
    )


def machine_findings(
    claims: SpaceClaims, rules: ConfidentialSpacePolicy, expected: InstanceExpected | None
) -> Iterator[Finding]:
    """Whose machine it is, and which."""
    found = claims.instance or _NOBODY
    actual = shown(instance_name(found))
    if expected is None:
        text = "nobody said which virtual machine it must be; the policy says which projects, zones and machines count"
        yield Finding("space.instance", "pass", text, None, actual)
    else:
        wrong = expected.problem(found)
        yield judge(
            "space.instance",
            wrong is None,
            "this is the virtual machine that was asked for",
            otherwise=f"another virtual machine answers: {wrong} differ",
            expected=f"{expected.project_id}/{expected.zone}/{expected.instance_name} ({expected.instance_id})",
            actual=actual,
        )
    yield _listed("space.project", (found.project_id,), rules.projects, "project")
    yield _listed("space.zone", (found.zone,), rules.zones, "zone")
    yield _listed("space.service_accounts", claims.service_accounts, rules.service_accounts, "service account")


def instance_name(instance: SpaceInstance) -> str:
    """For people: project, zone, name and number."""
    return f"{instance.project_id}/{instance.zone}/{instance.instance_name} ({instance.instance_id})"


def _listed(check: str, values: Sequence[str], allowed: tuple[str, ...] | str, what: str) -> Finding:
    actual = shown(" ".join(values))
    if isinstance(allowed, str):
        return Finding(check, "pass", f"the policy accepts any {what}", "any", actual)
    return judge(
        check,
        all(value in allowed for value in values),
        f"the policy names every {what} of the machine",
        otherwise=f"the policy does not name every {what} of the machine",
        expected=" ".join(allowed),
        actual=actual,
    )


def container_findings(claims: SpaceClaims, reference: SpaceReference) -> tuple[Finding, ...]:
    """The container against the reference: every member exactly. What the operator overrode is refused."""
    found = claims.container or _NOTHING
    names = ("image_digest", "image_id", "args", "cmd_override", "env_override")
    same = [_exact(name, getattr(found, name), getattr(reference, name)) for name in names]
    host = (claims.instance or _NOBODY).instance_name
    return (*same, _env(found.env, reference.env, host))


def source_finding(claims: SpaceClaims, rules: ConfidentialSpacePolicy) -> Finding:
    """Where the container came from."""
    found = (claims.container or _NOTHING).image_reference
    return _listed("container.image_reference", (found,), rules.image_references, "source of the container")


def restart_finding(claims: SpaceClaims, rules: ConfidentialSpacePolicy) -> Finding:
    """What the launcher does when the notary ends: the policy's, and the reference's where it has one."""
    found = (claims.container or _NOTHING).restart_policy
    return _listed("container.restart_policy", (found,), rules.restart_policies, "restart policy")


def _exact(name: str, actual: object, expected: object) -> Finding:
    return judge(
        f"container.{name}",
        actual == expected,
        f"{name} is that of the reference",
        otherwise=f"{name} is not that of the reference",
        expected=_spelled(expected),
        actual=_spelled(actual),
    )


def _env(actual: Mapping[str, str], reference: Mapping[str, str], host: str) -> Finding:
    """The reference's variables, and the machine's own name, which the launcher adds."""
    wanted = {**reference, _HOST_NAME: host} if _HOST_NAME in actual else dict(reference)
    wrong = sorted(name for name in wanted.keys() | actual.keys() if wanted.get(name) != actual.get(name))
    return judge(
        "container.env",
        not wrong,
        "env is that of the reference, with the machine's name",
        otherwise=f"env is not that of the reference: {shown(', '.join(wrong))}",
        expected=_spelled(wanted),
        actual=_spelled(actual),
    )


def _spelled(value: object) -> str:
    """A value as a finding shows it."""
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, Mapping):
        return shown(" ".join(f"{name}={value[name]}" for name in sorted(value)) or "none")
    assert isinstance(value, tuple), "claims hold texts, lists and objects"
    return shown(" ".join(value) or "none")


def _same(check: str, actual: str, expected: str, text: str, otherwise: str) -> Finding:
    return judge(check, actual == expected, text, otherwise=otherwise, expected=expected, actual=shown(actual))
