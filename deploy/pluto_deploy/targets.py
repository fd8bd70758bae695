"""Opens the target of a deployment, whatever its kind, and only what that kind needs. Thin IO."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from pluto_deploy.azure.wanted import Azure
from pluto_deploy.deployment import BareMetal, Deployment, Local
from pluto_deploy.engine.target import Address, Target, Telling
from pluto_deploy.engine.wish import Wish
from pluto_deploy.google.wanted import GoogleSpace, GoogleTdx
from pluto_deploy.local.target import LocalTarget
from pluto_image.lock.lockfile import Lock
from pluto_image.tools import ToolsTree
from pluto_measure.progress import Progress

if TYPE_CHECKING:
    from pluto_measure.appraise import SpaceInputs


def key_of(deployment: Deployment) -> str:
    """Names a deployment among all of this computer's: deployments in two places may have one name."""
    match deployment.platform:
        case Local():
            return f"local-{deployment.name}"
        case BareMetal(login=login):
            where = f"{login.host} {login.port or 22}"
        case GoogleSpace(place=place) | GoogleTdx(place=place):
            where = f"{place.project} {place.zone}"
        case Azure(subscription=subscription, group=group):
            where = f"{subscription} {group.lower()}"
    return f"{deployment.kind}-{deployment.name}-{sha256(where.encode()).hexdigest()[:12]}"


@contextmanager
def opened(
    deployment: Deployment,
    asked: Wish | None,
    progress: Progress,
    *,
    state: Path,
    root: Path,
    tools: Callable[[Lock], ToolsTree],
) -> Iterator[Target]:
    """The target. `state`: this computer's folder, `root`: where machines on this computer are."""
    platform = deployment.platform
    if isinstance(platform, Local):
        yield LocalTarget(
            root=root,
            wish=asked,
            tools=tools,
            progress=progress,
            port=deployment.network.ports[0],
            accelerator=platform.accelerator,
            timeout=deployment.timeout,
        )
    elif isinstance(platform, BareMetal):
        from pluto_deploy.metal import connection  # only hosts are reached by SSH
        from pluto_deploy.metal.target import MetalTarget

        progress.doing(f"connecting to {platform.login}")
        with connection.opened(platform.login) as door:
            yield MetalTarget(door, deployment, asked, tools, progress)
    else:
        with _cloud(platform, deployment, asked, progress, state) as target:
            yield target


def _cloud(
    platform: GoogleSpace | GoogleTdx | Azure,
    deployment: Deployment,
    asked: Wish | None,
    progress: Progress,
    state: Path,
) -> AbstractContextManager[Target]:
    key = key_of(deployment)
    if isinstance(platform, Azure):
        from pluto_deploy.azure import opening as azure  # each cloud's own, as only one of them is asked

        return azure.opened(platform, deployment, asked, progress, state=state, key=key)
    from pluto_deploy.google import opening as google

    return google.opened(platform, deployment, asked, progress, state=state, key=key)


def space_of(target: Target, google_keys: Path | None) -> Callable[[Address], SpaceInputs] | None:
    """What a token from an address is judged by: it must be of the machine that has this address now."""
    if not isinstance(target, Telling):
        return None

    def inputs(address: Address) -> SpaceInputs:
        from pluto_measure.appraise.space_claims import InstanceExpected  # only tokens need it
        from pluto_measure.commands.cloud_options import space_inputs

        who = target.who(address)
        instance = InstanceExpected(
            project_id=who.project, zone=who.zone, instance_id=who.instance_id, instance_name=who.name
        )
        return replace(space_inputs(google_keys), instance=instance)

    return inputs
