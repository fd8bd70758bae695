"""What a deployment file and the release that it names ask for: a machine, by content, and what it must measure.

Everything that decides is taken from the release by its digests, and the release is judged by the trust file first:
what nobody vouches for is refused before anything is copied.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from pluto_deploy.deployment import BareMetal, Deployment
from pluto_deploy.engine.kinds import CLOUDS, FIRMWARE, TDX, images_of, made_by, network_of, space_of, tee_of
from pluto_deploy.engine.policy import local_policy, mr_config_id, narrowed
from pluto_deploy.engine.profiles import of_cloud, of_host, refuse_other_vmm
from pluto_deploy.engine.scene import Generation
from pluto_image.artifact import Dist
from pluto_image.lock.lockfile import Lock
from pluto_measure.commands import files
from pluto_measure.commands.release import TRUST_LIMIT, opener
from pluto_measure.digests import Digests
from pluto_measure.errors import PlutoError, RefusedError, UsageError, VerificationError
from pluto_measure.findings import Finding, failures
from pluto_measure.launch import Launch
from pluto_measure.machine.platform import Platform
from pluto_measure.measurements import Measurements, measure
from pluto_measure.policy import Policy
from pluto_measure.publish import folder as releases
from pluto_measure.publish.judge import Demands, Files, Judgement, judge_release
from pluto_measure.publish.memory import Memory
from pluto_measure.publish.release import Release
from pluto_measure.publish.trust import ANY, Trust

__all__ = ["TDX", "Expected", "Rules", "Wish", "appraisable", "for_old", "rules", "tee_of", "wish"]

STATEMENT: Final = "release.json"
SMALL: Final = (STATEMENT, "launch.json", "measurements.json")  # what lies beside an image, to appraise it again
SIGNATURES: Final = "signatures/"
_OLDER: Final = "where you mean to go back, run the command again with --accept-older"
_POLICY_LIMIT: Final = 1 << 20
_USED: Final = (FIRMWARE, "lock.json", "launch.json", "measurements.json")


class UnacceptedError(PlutoError):
    """`findings`: those that refused or failed; `revoked`: the release, where somebody trusted revoked it."""

    def __init__(self, message: str, findings: list[Finding], revoked: Release | None = None) -> None:
        self.findings = [finding.to_json() for finding in findings]
        self._revoked = revoked
        older = [one.id for one in findings] == ["release.rollback"] and findings[0].text.startswith("a newer")
        super().__init__(message, hint=_OLDER if older else None)

    @property
    def revoked(self) -> Release | None:
        return self._revoked


class NotVerifiedError(UnacceptedError, RefusedError):
    """The release is authentic and not accepted."""


class ReleaseNotAuthenticError(UnacceptedError, VerificationError):
    """The release is not what its statement says."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Whose word counts, and what is accepted, as of `at`. `older`: accept a release older than one seen before,

    unless a release that was seen forbids it. `trust` None: nobody's signature is asked for.
    """

    at: datetime
    trust: Trust | None
    policy: Policy | None
    memory: Memory | None
    older: bool = False
    sigstore_root: Path | None = None


def for_old(given: Rules) -> Rules:
    """For a machine that is there already: its release may be older than one seen before, and nobody has to have
    confirmed it lately. A release grows stale while its machine runs, and that alone must not leave nothing to serve;
    what was revoked is refused all the same.
    """
    trust = None if given.trust is None else replace(given.trust, max_confirmation_age=ANY)
    return replace(given, older=True, trust=trust)


@dataclass(frozen=True, slots=True)
class Expected:
    """What one generation's machine must be: reference values, and the policy for this deployment alone."""

    generation: Generation
    platform: Platform
    references: Measurements
    policy: Policy
    judgement: Judgement | None


@dataclass(frozen=True, slots=True)
class Wish:
    """A deployment with its release, both read and found to fit."""

    deployment: Deployment
    dist: Dist
    launch: Launch
    expected: Expected
    lock: Lock
    small: Mapping[str, bytes]  # names to content: what travels with the image, so that others can appraise it
    image: Mapping[str, bytes]  # names to SHA-256: the large files that a machine starts from, as they were judged

    @property
    def generation(self) -> Generation:
        return self.expected.generation


def rules(
    deployment: Deployment, *, at: datetime, memory: Memory | None, older: bool, sigstore_root: Path | None = None
) -> Rules:
    """The files that the deployment names, read. FormatError with the file's name, UsageError."""
    trust, policy = None, None
    if deployment.trust is not None:
        data = files.read(deployment.trust, what="trust", limit=TRUST_LIMIT)
        with files.naming("trust", deployment.trust):
            trust = Trust.parse(data)
    if deployment.policy is not None:
        data = files.read(deployment.policy, what="policy", limit=_POLICY_LIMIT)
        with files.naming("policy", deployment.policy):
            policy = Policy.parse(data)
    return Rules(at, trust, policy, memory, older, sigstore_root)


def wish(deployment: Deployment, given: Rules) -> Wish:
    """Read the release, judge it, and say what its machine must be. Writes nothing.

    UsageError, FormatError, NotVerifiedError, ReleaseNotAuthenticError.
    """
    if not deployment.release.is_dir():
        raise UsageError(f"release: there is no folder {deployment.release}")
    dist = Dist.open(deployment.release)
    images = images_of(deployment)
    used = (*_USED, *(name for name in images if name not in _USED))
    received = releases.read(deployment.release, hashed=used.__contains__)
    if given.trust is None:  # nobody signed: the build's own list of digests is all there is
        dist.check(used)
    small = {name: (dist.root / name).read_bytes() for name in SMALL}
    for name, data in small.items():  # what is used is what was judged, whoever writes to the folder meanwhile
        judged = received.statement == data if name == STATEMENT else received.digests[name] == Digests.of(data)
        if not judged:
            raise ReleaseNotAuthenticError(f"{name} changed while it was read", [])
    small |= dict(received.signatures)
    data = dist.lock.read_bytes()
    if received.digests["lock.json"] != Digests.of(data):
        raise ReleaseNotAuthenticError("lock.json changed while it was read", [])
    lock = Lock.parse(data)
    if lacking := [name for name in images if name not in received.digests]:
        raise UsageError(f"the release has no {lacking[0]}, which a deployment of kind {deployment.kind} starts from")
    image = {name: received.digests[name].sha256 for name in images}
    digest = hashlib.sha256(deployment.payload).digest()
    generation = Generation(
        release=hashlib.sha256(received.statement).hexdigest(),
        config=digest.hex(),
        tools="" if isinstance(deployment.platform, CLOUDS) else lock.tools_digest,
        profile="",
        cpus=deployment.cpus,
        memory=deployment.memory,
        tee=tee_of(deployment),
        network=network_of(deployment),
        platform=made_by(deployment),
    )
    firmware = received.digests[FIRMWARE]
    expected = appraisable(deployment, generation, received, small, given, firmware=firmware)
    refuse_other_vmm(lock, expected.platform)
    return Wish(deployment, dist, dist.launch, expected, lock, small, image)


def appraisable(
    deployment: Deployment,
    generation: Generation,
    received: Files,
    small: Mapping[str, bytes],
    given: Rules,
    *,
    firmware: Digests,
) -> Expected:
    """What a machine of this generation must be, from its release's small files. Its release is judged here.

    A generation whose `profile` is empty gets the one that fits.
    """
    judgement = _judged(received, given)
    launch = Launch.parse(small["launch.json"])
    if launch.flavour == "debug" and given.policy is not None and not given.policy.allow_debug:
        raise NotVerifiedError("the release is a debug build, which the policy does not allow", [])
    values = Measurements.parse(small["measurements.json"])
    config = bytes.fromhex(generation.config)
    if isinstance(deployment.platform, CLOUDS):
        name, platform, references = of_cloud(deployment, generation, values, launch)
    else:
        name, platform = of_host(deployment, generation, values, firmware)
        platform = replace(platform, mr_config_id=mr_config_id(config)) if generation.tee == TDX else platform
        references = measure(launch, replace(platform, mr_config_id=None), name)
    if judgement is not None:
        references = replace(references, vouched=judgement.vouched())
    if given.policy is None:
        policy = local_policy(config_digest=config, allow_debug=launch.flavour == "debug")
    else:
        machine = deployment.platform.machine if isinstance(deployment.platform, BareMetal) else None
        policy = narrowed(
            given.policy,
            platform=platform.kind,
            config_digest=config,
            machine=machine if generation.tee == TDX else None,
            space=space_of(deployment, generation, launch),
        )
    return Expected(replace(generation, profile=name), platform, references, policy, judgement)


def _judged(received: Files, given: Rules) -> Judgement | None:
    """None where nobody signed and that is allowed."""
    if given.trust is None:
        return None
    policy = given.policy
    sequence = None if policy is None or policy.minimum_sequence == "any" else policy.minimum_sequence
    demands = Demands(
        at=given.at,
        trust=given.trust,
        minimum_sequence=sequence,
        allow_debug=policy is None or policy.allow_debug,
        complete=None,
        memory=None if given.older else given.memory,
    )
    judgement = judge_release(received, demands, opener(given.sigstore_root))
    revoked = judgement.release if judgement.revoked else None
    if given.older and given.memory is not None and given.memory.forbids(judgement.release):
        text = "a release that was accepted before revokes this one, or says that only newer ones may run"
        raise NotVerifiedError(f"release.rollback: {text}", [Finding("release.rollback", "fail", text)], revoked)
    failed = failures(judgement.findings)
    if not failed:
        return judgement
    unsigned = not judgement.signatures and {finding.id for finding in failed} == {"release.threshold"}
    if unsigned and policy is not None and policy.allow_unsigned_reference:
        return None
    message = f"the release is not accepted: {'; '.join(f'{one.id}: {one.text}' for one in failed[:3])}"
    kind = ReleaseNotAuthenticError if judgement.exit_code == VerificationError.exit_code else NotVerifiedError
    raise kind(message, failed, revoked)
