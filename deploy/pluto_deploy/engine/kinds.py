"""What a kind of deployment is to the engine: what protects its machine, and what that one starts from. Pure."""

from __future__ import annotations

import hashlib
from typing import Final

from pluto_deploy.azure.wanted import Azure
from pluto_deploy.deployment import BareMetal, Deployment, Local
from pluto_deploy.engine.policy import Space
from pluto_deploy.engine.scene import Generation
from pluto_deploy.google.wanted import GoogleSpace, GoogleTdx
from pluto_measure.formats.strict_json import canonical
from pluto_measure.launch import Launch

TDX: Final = "tdx"
SPACE: Final = "confidential-space"
FIRMWARE: Final = "firmware.fd"
CLOUDS: Final = (GoogleSpace, GoogleTdx, Azure)
_ADDRESS: Final = "address"


def tee_of(deployment: Deployment) -> str:
    """What protects its machine, as a generation names it."""
    match deployment.platform:
        case BareMetal(tee=tee):
            return tee
        case Local():
            return "insecure_none"
        case GoogleSpace():
            return SPACE
    return TDX


def images_of(deployment: Deployment) -> tuple[str, ...]:
    """The large files of a release that its machine starts from. A container is named by its digest in launch.json."""
    match deployment.platform:
        case GoogleSpace():
            return ()
        case GoogleTdx():
            return ("gcp.tar.gz",)
        case Azure():
            return ("disk.vhd",)
    return ("pluto.efi", FIRMWARE)


def made_by(deployment: Deployment) -> str:
    """SHA-256 in hex of what else of [platform] decides what a cloud makes; empty elsewhere."""
    platform = deployment.platform
    if not isinstance(platform, CLOUDS):
        return ""
    return hashlib.sha256(canonical({"kind": platform.kind, **platform.makes})).hexdigest()


def network_of(deployment: Deployment) -> str:
    """How clients are led to it, as a generation names it."""
    if isinstance(deployment.platform, BareMetal):
        return deployment.platform.network
    return "local" if isinstance(deployment.platform, Local) else _ADDRESS


def space_of(deployment: Deployment, generation: Generation, launch: Launch) -> Space | None:
    """What of a machine of Confidential Space is known: all, where it was made for this file."""
    platform = deployment.platform
    if not isinstance(platform, GoogleSpace):
        return None
    ours = generation.platform == made_by(deployment)
    container = launch.container.manifest_digest if launch.container is not None else ""
    return Space(
        project=platform.place.project,
        zone=platform.place.zone,
        account=platform.account if ours else None,
        restart=platform.restart if ours else None,
        reference=f"{platform.repository}/{deployment.name}@{container}" if ours else None,
        debug=ours and platform.is_debug,
    )
