"""The operator's policy, narrowed to one deployment: its platform, its configuration, its machine. Pure.

Narrowing never accepts more. Where the policy and the deployment exclude each other, nothing could ever be accepted,
and that is said before anything is done.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from pluto_measure.errors import UsageError
from pluto_measure.policy import Policy, TdxPolicy

REGISTER: Final = 48  # bytes of MRCONFIGID
MAX_AGE: Final = 300  # seconds; evidence is made when we ask for it
CLOCK_SKEW: Final = 60


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


def narrowed(policy: Policy, *, platform: str, config_digest: bytes, machine: str | None) -> Policy:
    """The policy for this deployment alone. `platform` as in evidence; `machine` None: any that the policy names.

    UsageError where nothing that the deployment asks for can be accepted.
    """
    if platform not in policy.platforms:
        raise UsageError(f"the policy does not accept the platform {platform}, only {', '.join(policy.platforms)}")
    kind = "tdx" if platform == "qemu-tdx" else "tpm"
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
        tdx=None if policy.tdx is None or kind != "tdx" else _trust_domain(policy.tdx, config_digest),
    )


def _trust_domain(rules: TdxPolicy, config_digest: bytes) -> TdxPolicy:
    wanted = mr_config_id(config_digest)
    if rules.mr_config_id != "any" and wanted not in rules.mr_config_id:
        raise UsageError("the policy's mrConfigId excludes this deployment's configuration", hint=_HINT)
    return replace(rules, mr_config_id=(wanted,))


_HINT: Final = "write mrConfigId = \"any\": the deployment demands its own, and run 'pluto-deploy plan' again"
