"""The operator's policy, narrowed to one deployment: its platform, its configuration, its machine. Pure.

Narrowing never accepts more. Where the policy and the deployment exclude each other, nothing could ever be accepted,
and that is said before anything is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from pluto_measure.errors import UsageError
from pluto_measure.policy import Any_, Policy, TdxPolicy
from pluto_measure.policy.confidential_space import ConfidentialSpacePolicy

# What the machines of a kind prove themselves by.
EVIDENCE: Final[Mapping[str, str]] = {
    "qemu-vtpm": "tpm",
    "qemu-tdx": "tdx",
    "gcp-tdx": "tdx",
    "azure-tdx": "azure",
    "gcp-confidential-space": "confidential-space",
}
REGISTER: Final = 48  # bytes of MRCONFIGID
MAX_AGE: Final = 300  # seconds; evidence is made when we ask for it
CLOCK_SKEW: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """What a machine of Confidential Space must be. None: not known, as it was made for another file.

    reference  where its container came from, with its digest
    debug      whether Google's image is one for debugging
    """

    project: str
    zone: str
    account: str | None
    restart: str | None
    reference: str | None
    debug: bool


def local_policy(*, config_digest: bytes, allow_debug: bool) -> Policy:
    """What `local` accepts: its own software TPM, the configuration that it gave, the reference that it computed."""
    return Policy(
        platforms=("qemu-vtpm",),
        evidence_types=("tpm",),
        insecure_software_tpm=True,
        ak_trust=(),
        machines="any",
        allow_debug=allow_debug,
        allow_unsigned_reference=True,
        minimum_sequence="any",
        max_evidence_age=MAX_AGE,
        clock_skew=CLOCK_SKEW,
        config_digest=config_digest,
        outer_key_digest="required",
    )


def mr_config_id(config_digest: bytes) -> bytes:
    """MRCONFIGID of a trust domain with this run-time configuration: its SHA-256, and zeros up to 48 bytes."""
    return config_digest.ljust(REGISTER, b"\0")


def narrowed(
    policy: Policy, *, platform: str, config_digest: bytes, machine: str | None, space: Space | None = None
) -> Policy:
    """The policy for this deployment alone. `platform` as in evidence; `machine` None: any that the policy names;

    `space`: what the file says of a machine of Confidential Space. UsageError where nothing that the deployment asks
    for can be accepted.
    """
    if platform not in policy.platforms:
        raise UsageError(f"the policy does not accept the platform {platform}, only {', '.join(policy.platforms)}")
    kind = EVIDENCE[platform]
    if kind not in policy.evidence_types:
        raise UsageError(f"the policy does not accept evidence of type {kind}")
    if kind == "tpm" and not policy.insecure_software_tpm:
        raise UsageError(
            "the machine has a software TPM, which the policy does not accept",
            hint="write insecure_software_tpm = true in a policy for trying out",
        )
    if policy.config_digest not in ("any", config_digest):
        raise UsageError(
            f"the policy's configDigest is not that of this deployment's configuration, which is {config_digest.hex()}"
        )
    if machine is not None and policy.machines != "any" and machine not in policy.machines:
        raise UsageError(f"the policy does not name the machine {machine}")
    return replace(
        policy,
        platforms=(platform,),
        evidence_types=(kind,),
        config_digest=config_digest,
        machines=policy.machines if machine is None else (machine,),
        outer_key_digest="required",
        tdx=_trust_domain(policy.tdx, platform, config_digest) if kind in ("tdx", "azure") else None,
        azure=policy.azure if kind == "azure" else None,
        endorsement=policy.endorsement if platform == "gcp-tdx" else None,
        confidential_space=_space(policy, space) if kind == "confidential-space" else None,
    )


def _space(policy: Policy, space: Space | None) -> ConfidentialSpacePolicy | None:
    """Google's token names all of these, so each can be held to what the file asks for."""
    rules = policy.confidential_space
    if rules is None or space is None:
        return rules
    if space.debug and not policy.allow_debug:
        raise UsageError("platform.image is a debug image, which the policy does not allow")
    return replace(
        rules,
        projects=_only("projects", rules.projects, space.project),
        zones=_only("zones", rules.zones, space.zone),
        service_accounts=_only("serviceAccounts", rules.service_accounts, space.account),
        restart_policies=_only("restartPolicies", rules.restart_policies, space.restart),
        image_references=_only("imageReferences", rules.image_references, space.reference),
    )


def _only(name: str, allowed: tuple[str, ...] | Any_, wanted: str | None) -> tuple[str, ...] | Any_:
    if wanted is None:
        return allowed
    if allowed != "any" and wanted not in allowed:
        raise UsageError(f"the policy's {name} does not name {wanted}, which the deployment asks for")
    return (wanted,)


def _trust_domain(rules: TdxPolicy | None, platform: str, config_digest: bytes) -> TdxPolicy | None:
    if rules is None or platform != "qemu-tdx":
        return rules  # a cloud writes MRCONFIGID as it likes; there the claims alone say which configuration it is
    wanted = mr_config_id(config_digest)
    if rules.mr_config_id != "any" and wanted not in rules.mr_config_id:
        raise UsageError("the policy's mrConfigId excludes this deployment's configuration", hint=_HINT)
    return replace(rules, mr_config_id=(wanted,))


_HINT: Final = "write mrConfigId = \"any\": the deployment demands its own, and run 'pluto-deploy plan' again"
