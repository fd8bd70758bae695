"""Policies that accept what simulators make, as values and as their author writes them. For tests alone.

`POLICY` and `TEXT` accept what `simulators.tpm_quotes` signs, `TDX_POLICY` and `TDX_TEXT` what `simulators.intel` does:
they spell the pretend Intel's root as `insecure_roots`.
"""

from __future__ import annotations

import hashlib

from pluto_measure.masked import Masked
from pluto_measure.policy import Policy, TdxPolicy
from simulators.intel import Authority

POLICY = Policy(
    platforms=("qemu-vtpm",),
    evidence_types=("tpm",),
    insecure_software_tpm=True,
    ak_trust=(),
    machines="any",
    allow_debug=False,
    allow_unsigned_reference=True,
    minimum_sequence="any",
    max_evidence_age=600,
    clock_skew=60,
    config_digest=hashlib.sha256(b"").digest(),
    outer_key_digest="required",
)
TEXT = """\
version = 1
platforms = ["qemu-vtpm"]
evidenceTypes = ["tpm"]
insecure_software_tpm = true
akTrust = []
machines = "any"
allowDebug = false
allowUnsignedReference = true
minimumSequence = "any"
maxEvidenceAge = 600
clockSkew = 60
configDigest = "any"
outerKeyDigest = "required"
"""

ROOT = hashlib.sha256(Authority.make().root_der).digest()
TDX_POLICY = Policy(
    platforms=("qemu-tdx",),
    evidence_types=("tdx",),
    insecure_software_tpm=False,
    ak_trust=(),
    machines="any",
    allow_debug=False,
    allow_unsigned_reference=True,
    minimum_sequence="any",
    max_evidence_age=600,
    clock_skew=60,
    config_digest="any",
    outer_key_digest="any",
    tdx=TdxPolicy(
        insecure_roots=(ROOT,),
        report_data="required",
        mr_seam="any",
        mr_config_id="any",
        mr_owner=(bytes(48),),
        mr_owner_config=(bytes(48),),
        mr_service_td=(bytes(48),),
        sept_ve_disable="required",
        allow_migratable=False,
        allowed_attributes=(),
        xfam=Masked(0x3, 0xFFFFFFFFFFF9241B),
        accepted_statuses=("UpToDate",),
        accepted_advisories=(),
        rejected_advisories=(),
        platform_grace=0,
        minimum_evaluation_number=0,
        max_collateral_age=2592000,
        collateral_grace=0,
        not_before="required",
        collateral_memory="any",
        dynamic_platform="any",
        cached_keys="any",
        smt="any",
    ),
)
TDX_TEXT = f"""\
version = 1
platforms = ["qemu-tdx"]
evidenceTypes = ["tdx"]
insecure_software_tpm = false
akTrust = []
machines = "any"
allowDebug = false
allowUnsignedReference = true
minimumSequence = "any"
maxEvidenceAge = 600
clockSkew = 60
configDigest = "any"
outerKeyDigest = "any"

[td]
insecure_roots = ["{ROOT.hex()}"]
reportData = "required"
mrSeam = "any"
mrConfigId = "any"
mrOwner = "zero"
mrOwnerConfig = "zero"
mrServiceTd = "zero"
septVeDisable = "required"
allowMigratable = false
allowedAttributes = []
xfam = {{ value = "0x3", mask = "0xfffffffffff9241b" }}

[tcb]
acceptedStatuses = ["UpToDate"]
acceptedAdvisories = []
rejectedAdvisories = []
platformGrace = 0
minimumEvaluationNumber = 0
maxCollateralAge = 2592000
collateralGrace = 0
notBefore = "required"
collateralMemory = "any"
dynamicPlatform = "any"
cachedKeys = "any"
smt = "any"
"""


def changed(text: str, **values: str) -> str:
    """A policy's text with the lines of these fields changed; each must be there once."""
    lines = text.splitlines()
    for name, value in values.items():
        (at,) = (index for index, line in enumerate(lines) if line.startswith(f"{name} = "))
        lines[at] = f"{name} = {value}"
    return "\n".join(lines) + "\n"
